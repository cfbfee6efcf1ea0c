//! Signals that must end a process when somebody sends them.

#![expect(
    unsafe_code,
    reason = "the one call that changes how a signal is taken has no safe form"
)]

use nix::sys::signal::{SigHandler, Signal, signal};

/// Lets SIGSEGV and SIGBUS end this process, whoever sends them.
///
/// Rust's runtime catches both to tell of a stack that overflowed, and lets a signal pass that was
/// sent by kill(2): the process would survive the first one.
pub fn die_of_faults() {
    for fault in [Signal::SIGSEGV, Signal::SIGBUS] {
        // SAFETY: the default action runs no code of this process.
        // Both signals exist and can be caught, so that it cannot fail.
        let _ = unsafe { signal(fault, SigHandler::SigDfl) };
    }
}
