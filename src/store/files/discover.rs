//! The identities that lie in folders, in the layouts that common tools use.
//!
//! An entry of an `[[identity_dir]]` is an identity if it is one of these; its name is that of the
//! folder's configuration, a slash, and `NAME`.
//!
//! - `NAME/fullchain.pem` with `NAME/privkey.pem`, as certbot has it;
//! - `NAME/tls.crt` with `NAME/tls.key`, as a Kubernetes secret is mounted; such a pair may also
//!   lie in the folder itself, where its name is `tls`;
//! - `NAME.pem`, with certificate and key in one file.
//!
//! What begins with a dot is passed over: Kubernetes keeps the files behind its links there.

use std::{
    ffi::OsStr,
    fs::{self, DirEntry, FileType},
    io,
    path::{Path, PathBuf},
};

use super::parallel;
use crate::{
    config::{Config, IdentityDir, IdentityFiles},
    facts::Problem,
};

/// The most entries of one folder that are looked at.
const MOST_ENTRIES: usize = 65_536;

/// File names of a certificate chain and its key that lie side by side.
const PAIRS: [(&str, &str); 2] = [("fullchain.pem", "privkey.pem"), ("tls.crt", "tls.key")];

/// What lies in the identity folders of a configuration.
#[derive(Debug, Default)]
pub(crate) struct Discovered {
    /// The identities by name, each name once.
    pub(crate) identities: Vec<IdentityFiles>,
    /// The folders in which identities may turn up: those of the configuration and, as a folder's
    /// entry may be there before its files are, each folder in them.
    pub(crate) folders: Vec<PathBuf>,
    /// The files of identities that are missing or lead elsewhere.
    pub(crate) links: Vec<PathBuf>,
    /// Entries that are folders without a certificate or key, by the names of the identities that
    /// they would be.
    pub(crate) hollow: Vec<(String, Problem)>,
    /// The folders of whose content nothing is known.
    pub(crate) lost: Vec<String>,
    /// What is wrong.
    pub(crate) problems: Vec<Problem>,
    /// What is odd.
    pub(crate) warnings: Vec<Problem>,
}

/// Why a folder's content is not known.
#[derive(Debug, thiserror::Error)]
enum DirFault {
    #[error("the folder cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the folder has more than {MOST_ENTRIES} entries")]
    TooMany,
    /// A folder that was not mounted looks like this.
    #[error(
        "the folder holds no identity: neither NAME/fullchain.pem with NAME/privkey.pem, nor \
         NAME/tls.crt with NAME/tls.key, nor NAME.pem"
    )]
    Empty,
    /// Every file in it would pass for an identity of its own, and a broken one.
    #[error(
        "the folder is itself one identity, as certbot keeps it, and holds none: name its \
         fullchain.pem and privkey.pem in an [[identity]], or the folder above in `path`"
    )]
    Lineage,
}

/// Looks into all identity folders of a configuration.
pub(crate) fn discover(config: &Config) -> Discovered {
    let mut all = Discovered::default();
    for dir in &config.identity_dirs {
        all.folders.push(dir.path.clone());
        match look_into(dir, &mut all) {
            Ok(found) => all.add(dir, found),
            Err(fault) => {
                all.problems.push(about(dir, &dir.path, &fault));
                all.lost.push(dir.name.clone());
            }
        }
    }
    all
}

impl Discovered {
    /// Takes the identities of a folder; of two with one name, the first.
    fn add(&mut self, dir: &IdentityDir, found: Vec<IdentityFiles>) {
        for files in found {
            match self.identities.last() {
                Some(last) if last.name == files.name => {
                    let reason = format!(
                        "{} has the same name, and is the one that is served",
                        last.cert.display()
                    );
                    self.problems.push(about(dir, &files.cert, &reason));
                }
                _ => self.identities.push(files),
            }
        }
    }
}

fn look_into(dir: &IdentityDir, all: &mut Discovered) -> Result<Vec<IdentityFiles>, DirFault> {
    let mut seen = Vec::new();
    for entry in fs::read_dir(&dir.path)? {
        seen.extend(Seen::of(&entry?));
        if seen.len() > MOST_ENTRIES {
            return Err(DirFault::TooMany);
        }
    }
    if is_lineage(&dir.path) {
        return Err(DirFault::Lineage);
    }
    seen.sort_by(|one, other| one.path.as_os_str().cmp(other.path.as_os_str()));
    let entries = parallel::map(&seen, |_, it| Entry::of(it));
    let folders = entries.iter().filter_map(|(folder, _)| folder.clone());
    all.folders.extend(folders);
    let mut found = Vec::new();
    let own = pair_in(&dir.path).filter(|pair| pair.cert.ends_with(PAIRS[1].0));
    found.extend(own.map(|pair| files(dir, "tls", pair, &mut all.links)));
    for (Seen { path, .. }, (_, entry)) in seen.iter().zip(entries) {
        match entry {
            Entry::Identity { name, pair } => found.push(files(dir, &name, pair, &mut all.links)),
            Entry::NoName => {
                let reason = "its name is not plain UTF-8 text; it is passed over";
                all.warnings.push(about(dir, path, &reason));
            }
            Entry::EmptyFolder => {
                let reason = "the folder holds neither fullchain.pem nor tls.crt";
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                all.hollow
                    .push((format!("{}/{name}", dir.name), about(dir, path, &reason)));
            }
            Entry::Other => {}
        }
    }
    if found.is_empty() {
        return Err(DirFault::Empty);
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// An entry that is not hidden.
struct Seen {
    path: PathBuf,
    /// What it is, as its folder says, without a look at the entry itself.
    kind: Option<FileType>,
}

impl Seen {
    fn of(entry: &DirEntry) -> Option<Self> {
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        (!hidden).then(|| Self {
            path: entry.path(),
            kind: entry.file_type().ok(),
        })
    }

    /// Returns whether it is a folder or a symbolic link to one.
    fn is_dir(&self) -> bool {
        match self.kind {
            Some(kind) if !kind.is_symlink() => kind.is_dir(),
            _ => self.path.is_dir(),
        }
    }
}

/// What an entry of an identity folder is.
enum Entry {
    Identity {
        name: String,
        pair: Pair,
    },
    /// It would be one, but its name cannot be written in a message.
    NoName,
    /// A folder without anything that looks like a certificate.
    EmptyFolder,
    Other,
}

impl Entry {
    /// Tells what an entry is, and the path of the folder that it is, if so.
    fn of(seen: &Seen) -> (Option<PathBuf>, Self) {
        let path = seen.path.as_path();
        if seen.is_dir() {
            let entry = match pair_in(path) {
                Some(pair) => Self::identity(path.file_name(), pair),
                None => Self::EmptyFolder,
            };
            (Some(path.to_owned()), entry)
        } else if path.extension().is_some_and(|it| it == "pem") {
            let pair = Pair {
                cert: path.to_owned(),
                key: path.to_owned(),
                is_plain: seen.kind.is_some_and(|it| it.is_file()),
            };
            (None, Self::identity(path.file_stem(), pair))
        } else {
            (None, Self::Other)
        }
    }

    fn identity(name: Option<&OsStr>, pair: Pair) -> Self {
        // A line break in a name would forge lines of the log.
        let plain = |name: &&str| !name.chars().any(char::is_control);
        match name.and_then(|name| name.to_str()).filter(plain) {
            Some(name) => Self::Identity {
                name: name.to_owned(),
                pair,
            },
            None => Self::NoName,
        }
    }
}

/// The files of an identity.
struct Pair {
    cert: PathBuf,
    key: PathBuf,
    /// Whether both lie in their folder, and not behind links.
    is_plain: bool,
}

/// Returns a pair of which at least one file is there; a link that leads nowhere is there, too.
fn pair_in(folder: &Path) -> Option<Pair> {
    let mut half = None;
    for (cert, key) in PAIRS {
        let (cert, key) = (folder.join(cert), folder.join(key));
        let kinds = [&cert, &key].map(|it| it.symlink_metadata().map(|it| it.file_type()).ok());
        let pair = Pair {
            cert,
            key,
            is_plain: kinds.iter().flatten().all(FileType::is_file),
        };
        match kinds {
            [Some(_), Some(_)] => return Some(pair),
            [None, None] => {}
            _ => half = half.or(Some(pair)),
        }
    }
    half
}

/// Returns whether a folder is what certbot keeps for one certificate.
fn is_lineage(folder: &Path) -> bool {
    let [(cert, key), _] = PAIRS;
    folder.join(cert).exists() && folder.join(key).exists()
}

fn files(dir: &IdentityDir, name: &str, pair: Pair, links: &mut Vec<PathBuf>) -> IdentityFiles {
    let Pair {
        cert,
        key,
        is_plain,
    } = pair;
    if !is_plain {
        links.extend([cert.clone(), key.clone()]);
    }
    IdentityFiles::pem(format!("{}/{name}", dir.name), cert, key)
}

fn about(dir: &IdentityDir, path: &Path, reason: &impl ToString) -> Problem {
    Problem {
        subject: format!("identity_dir \"{}\"", dir.name),
        file: Some(path.display().to_string()),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Looks into a folder with these files, and links from names to targets.
    fn look(names: &[&str], links: &[(&str, &str)]) -> (Vec<(String, String, String)>, Discovered) {
        let root = tempfile::tempdir().unwrap();
        for name in names {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        for (name, target) in links {
            symlink(target, root.path().join(name)).unwrap();
        }
        let mut config = crate::tls::testing::config(vec![]);
        config.identity_dirs.push(IdentityDir {
            name: "live".to_owned(),
            path: root.path().to_owned(),
        });
        let found = discover(&config);
        let within = |path: &Path| {
            let inner = path.strip_prefix(root.path()).unwrap();
            inner.display().to_string()
        };
        let identities = found.identities.iter();
        let shown = identities
            .map(|it| (it.name.clone(), within(&it.cert), within(&it.key)))
            .collect();
        (shown, found)
    }

    fn identity(name: &str, cert: &str, key: &str) -> (String, String, String) {
        (name.to_owned(), cert.to_owned(), key.to_owned())
    }

    #[test]
    fn the_layouts_of_common_tools_are_known() {
        let (identities, found) = look(
            &[
                "README",
                "b.example/fullchain.pem",
                "b.example/privkey.pem",
                "b.example/cert.pem",
                "a.example/tls.crt",
                "a.example/tls.key",
                "c.example.pem",
                ".hidden/fullchain.pem",
            ],
            &[],
        );
        assert_eq!(
            identities,
            [
                identity("live/a.example", "a.example/tls.crt", "a.example/tls.key"),
                identity(
                    "live/b.example",
                    "b.example/fullchain.pem",
                    "b.example/privkey.pem"
                ),
                identity("live/c.example", "c.example.pem", "c.example.pem"),
            ]
        );
        assert!(found.problems.is_empty() && found.warnings.is_empty());
    }

    #[test]
    fn a_mounted_secret_is_one_identity() {
        let links = [
            ("..data", "..2026_1"),
            ("tls.crt", "..data/tls.crt"),
            ("tls.key", "..data/tls.key"),
        ];
        let (identities, _) = look(&["..2026_1/tls.crt", "..2026_1/tls.key"], &links);
        assert_eq!(identities, [identity("live/tls", "tls.crt", "tls.key")]);
    }

    #[test]
    fn half_a_pair_is_an_identity_whose_files_are_missed() {
        let (identities, _) = look(&["a/privkey.pem"], &[("b.pem", "nowhere")]);
        assert_eq!(
            identities,
            [
                identity("live/a", "a/fullchain.pem", "a/privkey.pem"),
                identity("live/b", "b.pem", "b.pem"),
            ]
        );
    }

    #[test]
    fn a_folder_without_identities_is_lost_and_not_empty() {
        for names in [&[][..], &["README"], &["folder/README"]] {
            let (_, found) = look(names, &[]);
            assert_eq!(found.lost, ["live"]);
            let reason = found.problems[0].to_string();
            assert!(reason.contains("holds no identity"), "{reason}");
        }
    }

    #[test]
    fn a_folder_that_is_itself_what_certbot_keeps_for_a_certificate_is_told_what_to_do() {
        let all = [
            "README",
            "cert.pem",
            "chain.pem",
            "fullchain.pem",
            "privkey.pem",
        ];
        let (identities, found) = look(&all, &[]);
        assert!(identities.is_empty());
        assert_eq!(found.lost, ["live"]);
        let reason = found.problems[0].to_string();
        assert!(reason.contains("or the folder above in `path`"), "{reason}");
        let (identities, found) = look(&["fullchain.pem", "b.pem"], &[]);
        assert_eq!(identities.len(), 2);
        assert!(found.problems.is_empty());
    }

    #[test]
    fn of_two_with_one_name_the_first_is_served() {
        let (identities, found) = look(&["a.pem", "a/tls.crt", "a/tls.key"], &[]);
        assert_eq!(identities.len(), 1);
        let reason = found.problems[0].to_string();
        assert!(reason.contains("has the same name"), "{reason}");
    }

    #[test]
    fn an_empty_folder_among_others_is_odd() {
        let (identities, found) = look(&["a.pem", "b/README"], &[]);
        assert_eq!(identities.len(), 1);
        let (name, reason) = &found.hollow[0];
        assert_eq!(name, "live/b");
        assert!(reason.reason.contains("neither fullchain.pem"), "{reason}");
    }
}
