//! What a service manager is told (`sd_notify(3)`).

use sd_notify::NotifyState;

/// Tells systemd, if it listens.
pub(super) fn tell(states: &[NotifyState<'_>]) {
    // A service manager that cannot be told cannot be told that either.
    let _ = sd_notify::notify(states);
}

/// Tells systemd that a reload begins, which for `Type=notify-reload` needs the time as well.
pub(super) fn say_reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}
