//! What a running daemon cannot change about itself.

use super::{Config, Log};

/// Returns the keys that differ between `old` and `new` and take effect only at the next start.
///
/// Everything else may change by a reload.
#[must_use]
pub fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let keys = [
        ("workers", old.workers != new.workers),
        ("user", old.user != new.user),
        ("state_dir", old.state_dir != new.state_dir),
        ("control_socket", old.control_socket != new.control_socket),
        ("control_group", old.control_group != new.control_group),
        ("pid_file", old.pid_file != new.pid_file),
        ("log", old.log != at_start(&old.log, &new.log)),
        ("metrics", old.metrics != new.metrics),
        (
            "heartbeat_timeout",
            old.heartbeat_timeout != new.heartbeat_timeout,
        ),
    ];
    keys.into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
}

/// Returns `new` with what may change while running as it was in `old`.
fn at_start(old: &Log, new: &Log) -> Log {
    Log {
        sessions: old.sessions,
        ..new.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::fixture;

    #[test]
    fn a_configuration_needs_no_restart_for_itself() {
        let config = fixture::config();
        assert!(needs_restart(&config, &config).is_empty());
    }

    #[test]
    fn what_sessions_use_may_change_while_running() {
        let old = fixture::config();
        let mut new = old.clone();
        new.listeners.clear();
        new.identities.clear();
        new.watch = !old.watch;
        new.watch_interval += Duration::from_secs(1);
        new.watch_grace += Duration::from_secs(1);
        new.drain_timeout += Duration::from_secs(1);
        new.keep_after = None;
        new.orphan_timeout = Duration::ZERO;
        new.on_exit_failure = None;
        new.log.sessions = !old.log.sessions;
        assert!(needs_restart(&old, &new).is_empty());
    }

    #[test]
    fn what_a_start_fixes_is_named() {
        let old = fixture::config();
        let mut new = old.clone();
        new.workers += 1;
        new.user = Some("other".to_owned());
        new.state_dir.push("x");
        new.control_socket.push("x");
        new.control_group = Some("other".to_owned());
        new.pid_file.push("x");
        new.log.file = Some("/x".into());
        new.metrics = Some(([127, 0, 0, 1], 1).into());
        new.heartbeat_timeout += Duration::from_secs(1);
        let all = [
            "workers",
            "user",
            "state_dir",
            "control_socket",
            "control_group",
            "pid_file",
            "log",
            "metrics",
            "heartbeat_timeout",
        ];
        assert_eq!(needs_restart(&old, &new), all);
    }
}
