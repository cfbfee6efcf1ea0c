//! Sets how this process takes signals, independently of what it inherited from its parent.

#![expect(
    unsafe_code,
    reason = "the one call that changes how a signal is taken has no safe form"
)]

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};

/// The signals that a worker leaves to its supervisor: `systemctl kill` and a terminal send them to all
/// processes, and a worker that ended by one would cut its sessions.
const OF_THE_SUPERVISOR: [Signal; 5] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Takes every signal as a process does by default, and blocks none.
///
/// Blocked and ignored signals are inherited through execve(2): nohup(1) ignores HUP, and with all
/// signals blocked the daemon would not get TERM. Rust's runtime catches SIGSEGV and SIGBUS, and ignores
/// those that were sent by kill(2); here they end the process again. SIGPIPE stays ignored, as Rust's
/// runtime sets it.
pub fn reset() {
    take_defaults();
    // This cannot fail for a valid set of signals.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Takes every signal that arrives as a process does by default; those that are blocked stay so.
pub fn take_defaults() {
    for kind in Signal::iterator() {
        if !matches!(kind, Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGPIPE) {
            take(kind, SigHandler::SigDfl);
        }
    }
}

/// Ignores the signals that are for the supervisor alone.
pub fn leave_to_supervisor() {
    for kind in OF_THE_SUPERVISOR {
        take(kind, SigHandler::SigIgn);
    }
}

fn take(kind: Signal, how: SigHandler) {
    // SAFETY: neither the default action nor ignoring runs code of this process.
    // All signals passed exist and can be caught, so this cannot fail.
    let _ = unsafe { signal(kind, how) };
}
