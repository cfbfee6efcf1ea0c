//! The resources that a configuration needs: sockets, and places for the sessions of its listeners.
//!
//! All of them are acquired before the configuration is put in force, so that this cannot fail half-way.

use std::{collections::BTreeSet, io, time::Duration};

use super::{
    places::NewPlaces,
    sockets::{BindError, Binder, Bindings},
};
use crate::config::Listener;

/// Acquires the resources that a new configuration needs beyond those in force.
#[derive(Debug, Clone)]
pub(in crate::supervisor) struct Acquirer {
    pub(super) binder: Binder,
    pub(super) known: BTreeSet<String>,
    pub(super) slots: usize,
}

/// The resources acquired for a configuration that is not in force yet.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Acquired {
    pub(super) bindings: Bindings,
    pub(super) places: NewPlaces,
}

/// Why a resource could not be acquired.
#[derive(Debug, thiserror::Error)]
pub(in crate::supervisor) enum AcquireError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("the sessions of new listeners cannot be counted: {0}; `proxyctl reload` tries again")]
    Places(#[from] io::Error),
}

impl Acquirer {
    /// Makes an acquirer for a daemon of so many slots that has no resources yet.
    pub(in crate::supervisor) fn new(slots: usize) -> Self {
        Self {
            binder: super::sockets::Sockets::new(slots).binder(),
            known: BTreeSet::new(),
            slots,
        }
    }

    /// Acquires what `listeners` need, trying for `patience` while an address is in use. Blocks.
    ///
    /// If a part fails, none of the new resources is kept.
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
