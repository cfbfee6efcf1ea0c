//! Files that mean something only together.

use std::{
    hash::{Hash, Hasher},
    path::PathBuf,
};

use super::{
    parts::Parts,
    read::{self, Content, FileFault},
};
use crate::{
    config::{OnUnknown, PairForm},
    tls::material::ContentHash,
};

/// Files that mean something only together, what they are, and how large each may be.
#[derive(Debug, Clone, Eq)]
pub(crate) struct Piece {
    /// What they are, as people are told: `identity "default"`.
    pub(crate) subject: String,
    /// The files.
    pub(crate) paths: Parts<PathBuf>,
    /// The most bytes of each.
    pub(crate) limit: u64,
    /// What a pair's files look like, and what opens its key.
    pub(crate) form: PairForm,
    /// What is made of revocation lists that are too old.
    pub(crate) expired: OnUnknown,
}

/// What reading one of them gave.
pub(crate) type Read = Result<Content, FileFault>;

/// Paths are compared as they are written, which is much cheaper than by their components.
impl PartialEq for Piece {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            subject,
            paths,
            limit,
            form,
            expired,
        } = self;
        *subject == other.subject
            && paths.is_written_as(&other.paths)
            && *limit == other.limit
            && *form == other.form
            && *expired == other.expired
    }
}

/// What it is tells almost all pieces apart, and is much less to hash than paths.
impl Hash for Piece {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.subject.hash(state);
    }
}

impl Piece {
    pub(crate) fn new(subject: String, paths: Parts<PathBuf>, limit: u64) -> Self {
        Self {
            subject,
            paths,
            limit,
            form: PairForm::default(),
            expired: OnUnknown::Accept,
        }
    }

    /// Reads all files.
    pub(crate) fn read(&self) -> Parts<Read> {
        self.paths.map(|it| read::read(it, self.limit))
    }

    /// Returns SHA-256 over what was read, or why it was not.
    pub(crate) fn digest(&self, reads: &Parts<Read>) -> [u8; 32] {
        self.join(reads.iter().map(digest_of))
    }

    /// Returns SHA-256 over the digests of the files.
    pub(crate) fn join(&self, digests: impl Iterator<Item = [u8; 32]>) -> [u8; 32] {
        let mut hash = ContentHash::new();
        for (path, digest) in self.paths.iter().zip(digests) {
            hash.text("path", &path.to_string_lossy());
            hash.field("digest", &digest);
        }
        hash.finish()
    }
}

/// Returns SHA-256 over a file's content and who may read it, or over why there is none.
pub(crate) fn digest_of(read: &Read) -> [u8; 32] {
    let mut hash = ContentHash::new();
    match read {
        Ok(content) => {
            for number in [content.mode, content.owner, content.group] {
                hash.field("rights", &number.to_be_bytes());
            }
            hash.field("content", &content.bytes);
        }
        Err(fault) => hash.text("fault", &fault.to_string()),
    }
    hash.finish()
}
