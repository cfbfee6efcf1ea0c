//! The resources that a configuration needs: sockets, and numbers for its listeners.
//!
//! All of them are acquired before the configuration is put in force, so that this cannot fail half-way.

use std::{sync::Arc, time::Duration};

use super::{
    boards::any_counts,
    found::FoundSockets,
    numbers::{NewNumbers, NoNumber, Numbers},
    sockets::{BindError, Binder, Bindings},
};
use crate::{
    config::Listener,
    link::board::Board,
    supervisor::{activation::PassedSockets, state::IdsBook},
};

/// Acquires the resources that a new configuration needs beyond those in force.
#[derive(Debug, Clone)]
pub(in crate::supervisor) struct Acquirer {
    pub(super) binder: Binder,
    pub(super) numbers: Numbers,
    pub(super) boards: Vec<Arc<Board>>,
}

/// The resources acquired for a configuration that is not in force yet.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Acquired {
    pub(super) bindings: Bindings,
    pub(super) numbers: NewNumbers,
}

/// Why a resource could not be acquired.
#[derive(Debug, thiserror::Error)]
pub(in crate::supervisor) enum AcquireError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Number(#[from] NoNumber),
}

impl Acquirer {
    /// Makes an acquirer for a daemon of so many slots that has no resources yet but the sockets that systemd has
    /// `passed`, and goes on with the numbers that an earlier supervisor gave.
    pub(in crate::supervisor) fn new(slots: usize, passed: PassedSockets, ids: &IdsBook) -> Self {
        Self {
            binder: super::sockets::Sockets::new(slots, passed).binder(),
            numbers: Numbers::resume(ids),
            boards: Vec::new(),
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
        self.acquire_with(listeners, patience, FoundSockets::default())
    }

    /// Does the same, and goes on with the sockets that were found, as far as `listeners` need them.
    pub(in crate::supervisor) fn acquire_with(
        &self,
        listeners: &[Listener],
        patience: Duration,
        found: FoundSockets,
    ) -> Result<Acquired, AcquireError> {
        let is_counted = |number| any_counts(&self.boards, number);
        let numbers = self.numbers.for_new(listeners, is_counted)?;
        let bindings = self.binder.bind(listeners, patience, found)?;
        Ok(Acquired { bindings, numbers })
    }
}
