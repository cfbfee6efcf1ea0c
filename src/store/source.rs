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
    fn changed(&self, piece: &Piece, since: Version) -> Option<Snapshot>;
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
