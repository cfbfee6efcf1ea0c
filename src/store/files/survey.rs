//! Which files there are for a configuration, and whether any of them has changed.

use std::path::PathBuf;

use super::{
    discover::{Discovered, discover},
    memo::Memo,
    named::{backend_pair_piece, clients_piece, identity_piece, trust_piece},
    parallel,
    piece::Piece,
};
use crate::{
    config::{Config, IdentityFiles},
    tls::material::ContentHash,
};

/// Returns SHA-256 over what the files of a configuration hold now, without judging any of it.
#[must_use]
pub fn fingerprint(config: &Config, memo: &Memo) -> [u8; 32] {
    Survey::of(config).fingerprint(memo)
}

/// The files that there are for a configuration, without what they hold.
#[derive(Debug)]
pub struct Survey<'c> {
    config: &'c Config,
    found: Discovered,
}

impl<'c> Survey<'c> {
    /// Looks into the folders of a configuration.
    #[must_use]
    pub fn of(config: &'c Config) -> Self {
        let found = discover(config);
        Self { config, found }
    }

    /// Returns SHA-256 over what the files hold now, without judging any of it.
    ///
    /// Much cheaper than [`crate::store::load`]: while it stays the same, only the passing of time can change what
    /// `load` would say. The operating system's authorities are not in it.
    #[must_use]
    pub fn fingerprint(&self, memo: &Memo) -> [u8; 32] {
        let mut hash = ContentHash::new();
        for problem in &self.found.problems {
            hash.text("problem", &problem.to_string());
        }
        let pieces: Vec<Piece> = pieces(self.config, &self.found).collect();
        let digests = parallel::map(&pieces, |_, piece| memo.digest(piece));
        for (piece, digest) in pieces.iter().zip(digests) {
            hash.text("piece", &piece.subject);
            hash.field("files", &digest);
        }
        hash.finish()
    }

    /// Returns the paths whose content a load depends on; a folder stands for all that is in it, so
    /// that of its entries only those are named that lead elsewhere.
    #[must_use]
    pub fn watched_paths(&self) -> Vec<PathBuf> {
        let folders = self.found.folders.iter().chain(&self.found.links).cloned();
        let files = named(self.config, &self.config.identities);
        folders
            .chain(files.flat_map(|piece| piece.paths.into_all()))
            .collect()
    }
}

/// Returns every piece of a configuration.
pub(crate) fn pieces<'a>(
    config: &'a Config,
    found: &'a Discovered,
) -> impl Iterator<Item = Piece> + use<'a> {
    let identities = config.identities.iter().chain(&found.identities);
    named(config, identities)
}

/// Returns the pieces of these identities and of all listeners.
fn named<'a>(
    config: &'a Config,
    identities: impl IntoIterator<Item = &'a IdentityFiles>,
) -> impl Iterator<Item = Piece> {
    let listeners = config.listeners.iter().flat_map(|listener| {
        let clients = clients_piece(listener);
        let trust = trust_piece(listener);
        let pair = backend_pair_piece(listener);
        [clients, trust, pair].into_iter().flatten()
    });
    identities.into_iter().map(identity_piece).chain(listeners)
}
