//! Files that are mounted over by themselves, as container runtimes do with a single file: a renewal
//! outside does not reach them.

use std::path::Path;

use super::{discover::discover, piece::Piece, survey::pieces};
use crate::{
    config::Config,
    facts::Problem,
    sys::mounts::{self, Footing},
};

/// What is said of files that are mounts of their own.
#[derive(Debug, Default)]
pub(crate) struct Mounted {
    /// Those that have not been replaced yet.
    pub(crate) warnings: Vec<Problem>,
    /// Those that have been, so that what is there outside cannot be seen.
    pub(crate) gone: Vec<Problem>,
}

impl Mounted {
    /// Asks about all files of a configuration, if there can be any such.
    pub(crate) fn of(config: &Config) -> Self {
        if !mounts::may_be_files() {
            return Self::default();
        }
        Self::among(pieces(config, &discover(config)))
    }

    fn among(pieces: impl Iterator<Item = Piece>) -> Self {
        let mut found = Self::default();
        for piece in pieces {
            for path in piece.paths.iter() {
                // What cannot be asked cannot be read either, which is told as that.
                match mounts::footing(path) {
                    Ok(Footing::InFolder) | Err(_) => {}
                    Ok(Footing::Mounted) => {
                        let reason = "it is a mount of its own: if it is replaced outside by a rename, \
                            as most tools do, proxyd does not see that; mount its folder instead";
                        found.warnings.push(about(&piece, path, reason));
                    }
                    Ok(Footing::Gone) => {
                        let reason = "the file that is mounted here was replaced or removed \
                            outside; this mount goes on showing the old one and cannot see \
                            renewals: mount its folder instead";
                        found.gone.push(about(&piece, path, reason));
                    }
                }
            }
        }
        found
    }
}

fn about(piece: &Piece, path: &Path, reason: &str) -> Problem {
    Problem {
        subject: piece.subject.clone(),
        file: Some(path.display().to_string()),
        reason: reason.to_owned(),
    }
}
