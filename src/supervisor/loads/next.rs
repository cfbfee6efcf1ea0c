//! What holds once what was loaded is in force, worked out beforehand on the thread that loads it.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    config::Config,
    link::Generation,
    store::{self, expiries::Expiries},
    tls::Material,
};

/// What holds once what was loaded is in force.
#[derive(Debug)]
pub(in crate::supervisor) struct Next {
    /// What of it ends when.
    pub(super) ends: Arc<Expiries>,
    /// When a piece of it is to be judged again because of time alone.
    pub(super) changes_at: Option<Timestamp>,
    /// Whether its material differs from what its configuration still names of that before, which can
    /// then be gone back to.
    pub(super) differs: bool,
}

impl Next {
    /// Returns it for this configuration and material; `None` if both are those of `current`.
    ///
    /// Parses and compares authorities and revocation lists, which may be large.
    pub(super) fn of(
        current: &Generation,
        config: &Config,
        material: &Material,
        changes_at: Option<Timestamp>,
    ) -> Option<Self> {
        let differs = if *config == *current.config {
            if material.is_same(&current.material) {
                return None;
            }
            true
        } else {
            !store::select(config, &current.material).is_same(material)
        };
        Some(Self {
            ends: Arc::new(Expiries::of(config, material)),
            changes_at,
            differs,
        })
    }
}
