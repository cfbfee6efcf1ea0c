//! What a configuration needs beyond files: sockets, and places for the sessions of its listeners.
//!
//! All of it is acquired before the configuration is put in force, so that this cannot fail half-way.

use std::{collections::BTreeSet, io, time::Duration};

use super::{
    places::NewPlaces,
    sockets::{BindError, Binder, Bindings},
};
use crate::config::Listener;

/// What acquires for new configurations beyond what is there already.
#[derive(Debug, Clone)]
pub(in crate::supervisor) struct Acquirer {
    pub(super) binder: Binder,
    pub(super) known: BTreeSet<String>,
    pub(super) slots: usize,
}

/// What was acquired for a configuration that is not in force yet.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Acquired {
    pub(super) bindings: Bindings,
    pub(super) places: NewPlaces,
}

/// Why something could not be acquired.
#[derive(Debug, thiserror::Error)]
pub(in crate::supervisor) enum AcquireError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("the sessions of new listeners cannot be counted: {0}; `proxyctl reload` tries again")]
    Places(#[from] io::Error),
}

impl Acquirer {
    /// Acquires for a daemon of so many slots that has nothing yet.
    pub(in crate::supervisor) fn new(slots: usize) -> Self {
        Self {
            binder: super::sockets::Sockets::new(slots).binder(),
            known: BTreeSet::new(),
            slots,
        }
    }

    /// Acquires what `listeners` need, trying for `patience` while an address is in use. Blocks.
    ///
    /// Nothing is kept of it if a part fails.
    pub(in crate::supervisor) fn acquire(
        &self,
        listeners: &[Listener],
        patience: Duration,
    ) -> Result<Acquired, AcquireError> {
        let places = NewPlaces::make(listeners, &self.known, self.slots)?;
        let bindings = self.binder.bind(listeners, patience)?;
        Ok(Acquired { bindings, places })
    }
}
