//! What tests share.
#![allow(dead_code, reason = "each helper is for whichever test needs it next")]

pub(crate) mod backend;
pub(crate) mod browser;
pub(crate) mod builder;
pub(crate) mod client;
pub(crate) mod configuration;
pub(crate) mod daemon;
pub(crate) mod desk;
pub(crate) mod fake;
pub(crate) mod front;
pub(crate) mod inside;
pub(crate) mod logged;
pub(crate) mod machine;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod openssl;
pub(crate) mod orders;
pub(crate) mod own_server;
pub(crate) mod package;
pub(crate) mod passing;
pub(crate) mod pki;
pub(crate) mod podman;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod raw_tls;
pub(crate) mod reaper;
pub(crate) mod scene;
pub(crate) mod servers;
pub(crate) mod stepper;
pub(crate) mod stream;
pub(crate) mod wire;

use std::{
    io::{self, Write as _},
    thread,
    time::{Duration, Instant},
};

/// How long anything may take on a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Looks until there is something to return.
///
/// # Panics
///
/// When there is still nothing at the deadline.
#[track_caller]
pub(crate) fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        let last = Instant::now() >= end;
        if let Some(found) = look() {
            return found;
        }
        assert!(!last, "not within {deadline:?}: {what}");
        pause(BETWEEN_LOOKS);
    }
}

/// Looks until something is true; otherwise as [`eventually`].
#[track_caller]
pub(crate) fn until(what: &str, mut look: impl FnMut() -> bool) {
    eventually(what, PATIENCE, || look().then_some(()));
}

/// Waits where there is nothing to look at.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are threads of their own, and what they wait for tells nobody"
)]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}

/// Says that a test does nothing, and why.
pub(crate) fn skip(reason: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    // Past the test runner, which shows nothing of what a test that passes prints.
    let _ = writeln!(io::stderr(), "SKIPPED: {test}: {reason}");
}

/// Whether the tests run as root, and so workers as somebody else.
pub(crate) fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}
