//! Which folders to watch for which names, so that no way of changing a file goes unnoticed.
//!
//! A configured path is followed as the kernel does: component by component, and each symbolic link
//! by its own target. Everything that is looked up on the way can be exchanged: a link, by making
//! another of its name in the same folder; a folder, by renaming; the file itself. So each name that
//! is a link, a file or missing is watched in the folder that holds it, and each folder on the way is
//! watched itself.

use std::{
    collections::{HashMap, HashSet},
    ffi::{OsStr, OsString},
    fs,
    path::{Component, Path, PathBuf},
};

/// Symbolic links that are followed for one path; the kernel gives up as early.
const MAX_LINKS: usize = 40;

/// What matters in a folder, beside the folder itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Names {
    /// These entries; none if the folder is only on the way to others.
    Only(HashSet<OsString>),
    /// All entries, because the folder itself is configured.
    All,
}

impl Names {
    /// Whether anything in the folder matters.
    pub(super) fn any(&self) -> bool {
        match self {
            Self::Only(names) => !names.is_empty(),
            Self::All => true,
        }
    }

    /// Whether an entry of this name matters.
    pub(super) fn hold(&self, name: &OsStr) -> bool {
        match self {
            Self::Only(names) => names.contains(name),
            Self::All => true,
        }
    }

    /// Adds what matters to others in the same folder.
    pub(super) fn join(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Only(names), Self::Only(more)) => names.extend(more.iter().cloned()),
            (Self::All, _) => {}
            (Self::Only(_), Self::All) => *self = Self::All,
        }
    }
}

/// Folders, free of symbolic links, and what matters in each.
pub(super) type Folders = HashMap<PathBuf, Names>;

/// Returns what to watch for `paths`, which are absolute. Blocks.
pub(super) fn folders(paths: &[PathBuf]) -> Folders {
    let mut hops = Hops::default();
    for path in paths {
        hops.follow(path);
    }
    hops.folders
}

#[derive(Debug, Default)]
struct Hops {
    folders: Folders,
    /// The real paths of the folders that were followed.
    known: HashMap<PathBuf, PathBuf>,
}

/// Where a path leads.
enum End {
    /// To a folder.
    Folder(PathBuf),
    /// To something else, or nowhere.
    Other,
}

impl Hops {
    fn follow(&mut self, path: &Path) {
        let Some((parent, name)) = path.parent().zip(path.file_name()) else {
            return;
        };
        let folder = match self.known.get(parent) {
            Some(folder) => folder.clone(),
            None => match self.walk(PathBuf::from("/"), names(parent)) {
                End::Folder(folder) => {
                    self.known.insert(parent.to_owned(), folder.clone());
                    folder
                }
                End::Other => return,
            },
        };
        if let End::Folder(folder) = self.walk(folder, vec![name.to_owned()]) {
            self.folders.insert(folder, Names::All);
        }
    }

    /// Looks up names from a folder on; `rest` holds them in reverse order.
    fn walk(&mut self, mut folder: PathBuf, mut rest: Vec<OsString>) -> End {
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                folder.pop();
                continue;
            }
            let next = folder.join(&name);
            if self.folders.contains_key(&next) {
                folder = next;
                continue;
            }
            let kind = fs::symlink_metadata(&next).map(|about| about.file_type());
            match kind {
                Ok(kind) if kind.is_dir() => {
                    self.watch(&next, None);
                    folder = next;
                }
                Ok(kind) if kind.is_symlink() && links < MAX_LINKS => {
                    self.watch(&folder, Some(name));
                    let Ok(target) = fs::read_link(&next) else {
                        return End::Other;
                    };
                    links += 1;
                    if target.is_absolute() {
                        folder = PathBuf::from("/");
                    }
                    rest.extend(names(&target));
                }
                _ => {
                    self.watch(&folder, Some(name));
                    return End::Other;
                }
            }
        }
        End::Folder(folder)
    }

    fn watch(&mut self, folder: &Path, name: Option<OsString>) {
        if !self.folders.contains_key(folder) {
            let nothing = Names::Only(HashSet::new());
            self.folders.insert(folder.to_owned(), nothing);
        }
        if let (Some(Names::Only(names)), Some(name)) = (self.folders.get_mut(folder), name) {
            names.insert(name);
        }
    }
}

/// Returns the names of a path in reverse order.
fn names(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        os::unix::fs::symlink,
    };

    use proptest::prelude::*;

    use super::*;

    /// The names that matter, by their folders.
    type Table = BTreeMap<String, BTreeSet<String>>;

    /// A folder without symbolic links on the way to it.
    struct Place(
        #[expect(dead_code, reason = "it goes with its owner")] tempfile::TempDir,
        PathBuf,
    );

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().canonicalize().unwrap();
            Self(folder, path)
        }

        fn at(&self, name: &str) -> PathBuf {
            self.1.join(name)
        }

        /// Returns the names that matter in each folder below this place.
        fn watched(&self, path: &str) -> Table {
            let within = |(folder, names): (PathBuf, Names)| {
                let folder = folder.strip_prefix(&self.1).ok()?.to_str()?.to_owned();
                let names = match names {
                    Names::Only(names) => names
                        .into_iter()
                        .map(|name| name.into_string().unwrap())
                        .collect(),
                    Names::All => BTreeSet::from(["*".to_owned()]),
                };
                Some((folder, names))
            };
            folders(&[self.at(path)])
                .into_iter()
                .filter_map(within)
                .collect()
        }
    }

    fn expect(table: &[(&str, &[&str])]) -> Table {
        let row = |(folder, names): &(&str, &[&str])| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            ((*folder).to_owned(), names)
        };
        table.iter().map(row).collect()
    }

    #[test]
    fn a_file_is_watched_in_its_folder_and_the_folders_for_themselves() {
        let place = Place::new();
        fs::create_dir_all(place.at("a/b")).unwrap();
        fs::write(place.at("a/b/file"), "").unwrap();
        let expected = expect(&[("", &[]), ("a", &[]), ("a/b", &["file"])]);
        assert_eq!(place.watched("a/b/file"), expected);
    }

    #[test]
    fn what_is_not_there_is_waited_for_where_the_way_ends() {
        let place = Place::new();
        fs::create_dir(place.at("a")).unwrap();
        let expected = expect(&[("", &[]), ("a", &["b"])]);
        assert_eq!(place.watched("a/b/c/file"), expected);
    }

    #[test]
    fn every_hop_of_a_mounted_secret_is_watched() {
        let place = Place::new();
        fs::create_dir_all(place.at("volume/..2026_01")).unwrap();
        fs::write(place.at("volume/..2026_01/tls.crt"), "").unwrap();
        symlink("..2026_01", place.at("volume/..data")).unwrap();
        symlink("..data/tls.crt", place.at("volume/tls.crt")).unwrap();
        let expected = expect(&[
            ("", &[]),
            ("volume", &["..data", "tls.crt"]),
            ("volume/..2026_01", &["tls.crt"]),
        ]);
        assert_eq!(place.watched("volume/tls.crt"), expected);
    }

    #[test]
    fn links_up_and_links_to_nowhere_are_followed() {
        let place = Place::new();
        fs::create_dir_all(place.at("live/db")).unwrap();
        fs::create_dir_all(place.at("archive")).unwrap();
        symlink("../../archive/db/cert1.pem", place.at("live/db/cert.pem")).unwrap();
        let expected = expect(&[
            ("", &[]),
            ("archive", &["db"]),
            ("live", &[]),
            ("live/db", &["cert.pem"]),
        ]);
        assert_eq!(place.watched("live/db/cert.pem"), expected);
    }

    #[test]
    fn everything_in_a_configured_folder_matters() {
        let place = Place::new();
        fs::create_dir(place.at("all")).unwrap();
        symlink("all", place.at("link")).unwrap();
        let expected = expect(&[("", &["link"]), ("all", &["*"])]);
        assert_eq!(place.watched("link"), expected);
        let both = folders(&[place.at("all/file"), place.at("link")]);
        assert_eq!(both[&place.at("all")], Names::All);
        let both = folders(&[place.at("link"), place.at("all/file")]);
        assert_eq!(both[&place.at("all")], Names::All);
    }

    const NAMES: [&str; 3] = ["a", "b", "c"];

    /// Makes a folder's entries; each is a number that says what it is. Returns their paths.
    fn plant(folder: &Path, entries: &[usize], targets: &[String], made: &mut Vec<PathBuf>) {
        for (name, entry) in NAMES.iter().zip(entries) {
            let path = folder.join(name);
            match entry {
                0 => continue,
                1 => fs::write(&path, "").unwrap(),
                2 => fs::create_dir(&path).unwrap(),
                link => symlink(&targets[link % targets.len()], &path).unwrap(),
            }
            made.push(path);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Any entry that changes where the path leads when it is removed is watched.
        #[test]
        fn nothing_on_the_way_goes_unnoticed(
            top in prop::array::uniform3(0_usize..20),
            below in prop::array::uniform9(0_usize..20),
            path in prop::sample::select(&["a", "a/b", "b/c", "c/a/b", "a/../b/c"][..]),
        ) {
            let place = Place::new();
            let mut targets: Vec<String> = ["a", "../b", "b/a", "./c/../a", "a/b", "c", ".."]
                .map(str::to_owned)
                .to_vec();
            targets.extend([place.at("b"), place.at("c/b")].map(|it| it.display().to_string()));
            let mut made = Vec::new();
            plant(&place.1, &top, &targets, &mut made);
            let folders_made: Vec<_> = made
                .iter()
                .filter(|it| it.symlink_metadata().unwrap().is_dir())
                .cloned()
                .collect();
            for (folder, entries) in folders_made.iter().zip(below.chunks(3)) {
                plant(folder, entries, &targets, &mut made);
            }
            let path = place.at(path);
            let watched = folders(std::slice::from_ref(&path));
            let before = path.canonicalize().ok();
            let away = place.at("away");
            for entry in &made {
                fs::rename(entry, &away).unwrap();
                let after = path.canonicalize().ok();
                fs::rename(&away, entry).unwrap();
                if before != after {
                    let name = entry.file_name().unwrap();
                    let holder = watched.get(entry.parent().unwrap());
                    let by_name = holder.is_some_and(|names| names.hold(name));
                    prop_assert!(by_name || watched.contains_key(entry), "{entry:?} {watched:?}");
                }
            }
        }
    }

    #[test]
    fn links_in_a_circle_end() {
        let place = Place::new();
        symlink("b", place.at("a")).unwrap();
        symlink("a", place.at("b")).unwrap();
        assert_eq!(place.watched("a"), expect(&[("", &["a", "b"])]));
        symlink("self/self", place.at("self")).unwrap();
        assert_eq!(place.watched("self"), expect(&[("", &["self"])]));
    }
}
