//! Tables as they come to the worker that is to go on with their sessions.

use std::{io, os::fd::OwnedFd};

use tracing::error;

use crate::{
    facts::Death,
    session::table::{self, Left},
    sys::table::lock,
};

/// A table that has come, or should have.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) number: u64,
    death: Death,
    /// Whether its worker worked on it when it came.
    pub(super) lived: bool,
    file: Option<OwnedFd>,
    /// Its epoch when it came.
    epoch: Option<u64>,
}

impl Arrived {
    pub(super) fn new((number, death): (u64, Death), lived: bool, file: Option<OwnedFd>) -> Self {
        let epoch = file.as_ref().and_then(|file| table::epoch(file).ok());
        Self {
            number,
            death,
            lived,
            file,
            epoch,
        }
    }

    /// Returns whether its worker has told no other supervisor of its sessions since it came.
    pub(super) fn is_current(&self) -> bool {
        let now = self.file.as_ref().and_then(|file| table::epoch(file).ok());
        !self.lived || now == self.epoch
    }

    /// Returns whether no other worker works on the table, and keeps others from it from then on.
    pub(super) fn is_free(&self) -> bool {
        let locked = self.file.as_ref().map(lock);
        !matches!(locked, Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Returns the table; `None` if it cannot be read, which is logged.
    pub(super) fn map(self) -> Option<Left> {
        let Self {
            number,
            death,
            file,
            ..
        } = self;
        let file = file.ok_or_else(|| io::Error::other("it did not arrive"));
        let mapped = file.and_then(|file| Left::map(number, death, file));
        mapped
            .inspect_err(|error| {
                error!(
                    table = number, %error,
                    "the table of a worker that has ended is unusable; its sessions are lost"
                );
            })
            .ok()
    }
}
