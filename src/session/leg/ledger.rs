//! What is noted around reads and writes of a Unix socket, whose bytes the kernel does not count.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::session::table::layout::WRITING;

/// Words of a table in which a kept leg over a Unix socket notes what it does.
#[derive(Debug, Clone, Copy)]
pub struct Ledger {
    /// How many bytes were written, with a mark while some are being written.
    pub written: &'static AtomicU64,
    /// The number of the commit whose bytes were taken from the socket.
    pub consumed: &'static AtomicU64,
}

impl Ledger {
    /// Notes how many bytes were written, before or after more are.
    pub(super) fn note_written(&self, written: u64, is_going_on: bool) {
        let mark = if is_going_on { WRITING } else { 0 };
        self.written.store(written | mark, Ordering::Release);
    }

    /// Notes that what a commit counts as taken was taken.
    pub(super) fn note_consumed(&self, commit: u64) {
        self.consumed.store(commit, Ordering::Release);
    }
}
