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
    fs::{self, DirEntry},
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

/// Returns the folders in which identities may turn up: a folder's entry may be there before its
/// files are.
pub(crate) fn searched(config: &Config) -> impl Iterator<Item = PathBuf> {
    config.identity_dirs.iter().flat_map(|dir| {
        let entries = fs::read_dir(&dir.path).into_iter().flatten().flatten();
        let paths = entries.filter_map(|entry| visible(&entry));
        let folders = paths.take(MOST_ENTRIES).filter(|path| path.is_dir());
        std::iter::once(dir.path.clone()).chain(folders)
    })
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
    let mut paths = Vec::new();
    for entry in fs::read_dir(&dir.path)? {
        paths.extend(visible(&entry?));
        if paths.len() > MOST_ENTRIES {
            return Err(DirFault::TooMany);
        }
    }
    if is_lineage(&dir.path) {
        return Err(DirFault::Lineage);
    }
    paths.sort();
    let entries = parallel::map(&paths, |_, path| Entry::of(path));
    let mut found: Vec<IdentityFiles> = pair_in(&dir.path)
        .map(|(cert, key)| files(dir, "tls", cert, key))
        .filter(|files| files.cert.ends_with(PAIRS[1].0))
        .into_iter()
        .collect();
    for (path, entry) in paths.iter().zip(entries) {
        match entry {
            Entry::Identity { name, cert, key } => found.push(files(dir, &name, cert, key)),
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

/// Returns the path of an entry that is not hidden.
fn visible(entry: &DirEntry) -> Option<PathBuf> {
    let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
    (!hidden).then(|| entry.path())
}

/// What an entry of an identity folder is.
enum Entry {
    Identity {
        name: String,
        cert: PathBuf,
        key: PathBuf,
    },
    /// It would be one, but its name cannot be told to anybody.
    NoName,
    /// A folder without anything that looks like a certificate.
    EmptyFolder,
    Other,
}

impl Entry {
    fn of(path: &Path) -> Self {
        if path.is_dir() {
            match pair_in(path) {
                Some((cert, key)) => Self::identity(path.file_name(), cert, key),
                None => Self::EmptyFolder,
            }
        } else if path.extension().is_some_and(|it| it == "pem") {
            Self::identity(path.file_stem(), path.to_owned(), path.to_owned())
        } else {
            Self::Other
        }
    }

    fn identity(name: Option<&std::ffi::OsStr>, cert: PathBuf, key: PathBuf) -> Self {
        // A line break in a name would forge lines of the log.
        let plain = |name: &&str| !name.chars().any(char::is_control);
        match name.and_then(|name| name.to_str()).filter(plain) {
            Some(name) => Self::Identity {
                name: name.to_owned(),
                cert,
                key,
            },
            None => Self::NoName,
        }
    }
}

/// Returns the paths of a pair of which at least one file is there; a link that leads nowhere is
/// there, too.
fn pair_in(folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let is_there = |path: &PathBuf| path.symlink_metadata().is_ok();
    let pairs = PAIRS.map(|(cert, key)| (folder.join(cert), folder.join(key)));
    let whole = pairs
        .iter()
        .find(|(cert, key)| is_there(cert) && is_there(key));
    whole
        .or_else(|| {
            pairs
                .iter()
                .find(|(cert, key)| is_there(cert) || is_there(key))
        })
        .cloned()
}

/// Returns whether a folder is what certbot keeps for one certificate.
fn is_lineage(folder: &Path) -> bool {
    let [(cert, key), _] = PAIRS;
    folder.join(cert).exists() && folder.join(key).exists()
}

fn files(dir: &IdentityDir, name: &str, cert: PathBuf, key: PathBuf) -> IdentityFiles {
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
