//! What a load of the disk did, or would do.

use serde::{Deserialize, Serialize};

use crate::facts::{Expiry, IdentityChange, Problem, RevokedSessions, VerifiedIdentity};

/// The result of a reload: which generation every serving worker now serves, and what became of
/// each identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// The generation that every serving worker has confirmed.
    pub generation: u64,
    /// Whether that is a new one.
    pub changed: bool,
    /// Serving workers that confirmed.
    pub workers: usize,
    /// What became of each identity; of those that stay as they were only if there are at most 100
    /// identities.
    pub identities: Vec<IdentityChange>,
    /// How many identities stay as they were.
    pub unchanged: usize,
    /// What was wrong on disk; empty when everything there is served.
    pub problems: Vec<Problem>,
    /// The listeners whose authorities and revocation lists for clients a rollback took back too, so that
    /// clients may be let in that were refused before it; empty after any other load.
    pub trust_went_back: Vec<String>,
    /// Sessions that are open of clients whose certificate the revocation lists of a new generation revoke.
    pub revoked: RevokedSessions,
}

/// What a reload would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// The generation now served.
    pub generation: u64,
    /// Every configured identity.
    pub identities: Vec<VerifiedIdentity>,
    /// What is wrong on disk, over all, and what would load and yet turn clients away.
    pub problems: Vec<Problem>,
    /// What is odd on disk but would load.
    pub warnings: Vec<Problem>,
    /// The steps of a cold start that could not be tried while the daemon runs, and why.
    pub not_tried: Vec<String>,
    /// What ends when of what is on disk, what ends first in front. Where a problem keeps that from
    /// loading, of the identities alone that are good.
    pub expiries: Vec<Expiry>,
}
