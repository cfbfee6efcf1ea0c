//! The seam between what holds the parts of pieces and what is made of them.
//!
//! Files are the only source; see [`super::files`]. Who judges and who loads ask a source alone, so that
//! another one is another implementation of [`Source`].

use super::files::{
    parts::Parts,
    piece::{Piece, Read},
};
use crate::{
    config::{Config, IdentityFiles},
    facts::Problem,
};

/// Where pieces come from, and what they hold at a moment.
///
/// Its methods block for as long as reading takes, and may be called on several threads at once.
pub(crate) trait Source: Sync {
    /// Returns the identities that there are for a configuration, without what they hold.
    fn stock(&self, config: &Config) -> Stock;

    /// Returns the version of what a piece holds, where the source can tell it without reading the parts.
    fn version(&self, piece: &Piece) -> Option<Version>;

    /// Returns what a piece holds now.
    fn snapshot(&self, piece: &Piece) -> Snapshot;

    /// Returns what a piece holds now if that is another version than `since`.
    ///
    /// What was judged counts only if this returns `None` afterwards: the parts of a piece may be
    /// written one after the other, and a snapshot taken in between holds parts that never belonged
    /// together.
    fn changed(&self, piece: &Piece, since: Version) -> Option<Snapshot> {
        Some(self.snapshot(piece)).filter(|it| it.version != since)
    }

    /// Returns where a certificate with this public half lies beside the key of a piece, as people are
    /// told; `None` if the source knows of none.
    ///
    /// It is for keys that do not belong to their certificate: parts are mixed up more often than they
    /// are damaged. It is a hint and no promise.
    fn beside_key(&self, piece: &Piece, public_half: &[u8]) -> Option<String>;
}

/// SHA-256 over all parts of a piece, over who may read them and over why some cannot be read: the same
/// version leads to the same verdict at the same time.
pub(crate) type Version = [u8; 32];

/// What a piece held when it was read.
pub(crate) struct Snapshot {
    /// By this it is compared with later ones.
    pub(crate) version: Version,
    /// The content of each part, or why there is none.
    pub(crate) parts: Parts<Read>,
}

/// The identities that a source has for a configuration.
#[derive(Debug)]
pub(crate) struct Stock {
    /// First those that the configuration names, in its order; each name once.
    pub(crate) items: Vec<Item>,
    /// What looks like an entry of a folder and has no parts, by the name of the identity that it
    /// would be.
    pub(crate) hollow: Vec<(String, Problem)>,
    /// The folders of whose entries nothing is known, by name.
    pub(crate) lost: Vec<String>,
    /// What is wrong.
    pub(crate) problems: Vec<Problem>,
    /// What is odd.
    pub(crate) warnings: Vec<Problem>,
}

/// An identity, and where it comes from.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) origin: Origin,
    pub(crate) files: IdentityFiles,
}

/// Where an identity comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The configuration names its parts.
    Configured,
    /// It turned up as an entry of a folder that the configuration names.
    Entry,
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        path::{Path, PathBuf},
        sync::Arc,
    };

    use jiff::Timestamp;

    use super::*;
    use crate::{
        config::IdentityDir,
        facts::IdentityOutcome,
        store::{
            Depth, Look, Memo, Owner, Programs,
            files::read::{Content, FileFault},
            loader::Loader,
        },
        tls::{
            material::{Identity, Material},
            testing::{self, Ca},
        },
    };

    /// A source that has no files: texts by the names of parts.
    #[derive(Default)]
    struct Vault {
        texts: HashMap<PathBuf, String>,
        entries: Vec<&'static str>,
    }

    fn files(name: &str) -> IdentityFiles {
        let part = |part| PathBuf::from(format!("vault:{name}/{part}"));
        IdentityFiles::pem(name, part("cert"), part("key"))
    }

    impl Vault {
        fn put(&mut self, name: &str, (cert, key): (&str, &str)) {
            let files = files(name);
            self.texts.insert(files.cert, cert.to_owned());
            self.texts.insert(files.key, key.to_owned());
        }
    }

    impl Source for &Vault {
        fn stock(&self, config: &Config) -> Stock {
            let entries = self.entries.iter().map(|name| Item {
                origin: Origin::Entry,
                files: files(name),
            });
            let configured = config.identities.iter().map(|files| Item {
                origin: Origin::Configured,
                files: files.clone(),
            });
            Stock {
                items: configured.chain(entries).collect(),
                hollow: Vec::new(),
                lost: Vec::new(),
                problems: Vec::new(),
                warnings: Vec::new(),
            }
        }

        fn version(&self, _piece: &Piece) -> Option<Version> {
            None
        }

        fn snapshot(&self, piece: &Piece) -> Snapshot {
            let parts = piece.paths.map(|it| {
                let text = self.texts.get(it).ok_or(FileFault::Missing)?;
                Ok(Content::of(text.as_bytes()))
            });
            Snapshot {
                version: piece.digest(&parts),
                parts,
            }
        }

        fn beside_key(&self, _piece: &Piece, _public_half: &[u8]) -> Option<String> {
            Some("vault:attic".to_owned())
        }
    }

    type Identities = Option<Vec<Arc<Identity>>>;

    /// Loads the identities; returns also what became of each and all problems.
    fn load(
        config: &Config,
        vault: &Vault,
        last: Option<&Material>,
    ) -> (Identities, Vec<Option<IdentityOutcome>>, Vec<String>) {
        let look = Look {
            memo: &Memo::default(),
            depth: Depth::Contents,
            now: Timestamp::now(),
            programs: Programs::All,
            owner: Owner::InForce,
        };
        let mut loader = Loader::new(vault, look);
        let (identities, outcomes) = loader.identities(config, last);
        let outcomes = outcomes.iter().map(|it| it.outcome).collect();
        let problems = loader.end().problems;
        let problems = problems.iter().map(ToString::to_string).collect();
        (identities, outcomes, problems)
    }

    #[test]
    fn what_is_loaded_need_not_be_files() {
        let mut config = testing::config(vec![]);
        config.identities.push(files("own"));
        config.identity_dirs.push(IdentityDir {
            name: "all".to_owned(),
            path: Path::new("vault:all").to_owned(),
        });
        let ca = Ca::new("root");
        let (one, other) = (ca.server(&["one"]), ca.server(&["other"]));
        let mut vault = Vault::default();
        vault.put("own", (&one.cert, &one.key));
        vault.put("all/a", (&other.cert, &other.key));
        vault.entries = vec!["all/a", "all/b"];
        let (identities, outcomes, problems) = load(&config, &vault, None);
        let identities = identities.unwrap();
        let names: Vec<_> = identities.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["own", "all/a"]);
        let updated = Some(IdentityOutcome::Updated);
        let left_out = Some(IdentityOutcome::LeftOut);
        assert_eq!(outcomes, [updated, updated, left_out]);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("vault:all/b/cert"), "{problems:?}");

        vault.entries.pop();
        vault.put("own", (&one.cert, &other.key));
        let last = Material {
            identities,
            listeners: vec![],
            system_roots: vec![],
        };
        let (identities, outcomes, problems) = load(&config, &vault, Some(&last));
        assert!(Arc::ptr_eq(&identities.unwrap()[0], &last.identities[0]));
        let kept = Some(IdentityOutcome::Kept);
        assert_eq!(outcomes, [kept, Some(IdentityOutcome::Unchanged)]);
        assert!(problems[0].contains("vault:attic"), "{problems:?}");
    }
}
