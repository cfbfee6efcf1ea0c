//! What a configuration may say and hardly means.

use super::{Limits, Listener};

impl Listener {
    /// Returns what is odd about its limits.
    #[must_use]
    pub fn odd_limits(&self) -> Option<String> {
        self.odd_connect_timeout().or_else(|| self.odd_per_client())
    }

    fn odd_per_client(&self) -> Option<String> {
        let (client, all) = (self.limits.per_client, self.limits.max_connections);
        (client > all).then(|| {
            format!(
                "`per_client` of {client} is never reached: `max_connections`, which bounds all \
                 clients together, is {all}"
            )
        })
    }

    fn odd_connect_timeout(&self) -> Option<String> {
        let (connect, handshake) = (self.limits.connect_timeout, self.limits.handshake_timeout);
        let (written, most) = (connect.as_secs_f64(), handshake.as_secs_f64());
        if self.backends.iter().count() > 1 && connect >= handshake {
            return Some(format!(
                "a backend that does not answer leaves no time for the others: `connect_timeout` is \
                 {written} s, and `handshake_timeout`, which bounds all attempts together, {most} s"
            ));
        }
        // Who only shortens the other deadline has said nothing about this one.
        let is_meant = connect != Limits::default().connect_timeout;
        (is_meant && connect > handshake).then(|| {
            format!(
                "`connect_timeout` of {written} s never passes: `handshake_timeout`, which bounds \
                 it, is {most} s"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::fixture::parse;

    #[test]
    fn a_bound_for_a_client_above_that_for_all_is_odd() {
        for (client, odd) in [(0, false), (1, false), (10, false), (11, true)] {
            let limits = format!("limits = {{ max_connections = 10, per_client = {client} }}");
            let listener = format!("bind = '[::]:1'\nbackend = 'db:1'\n{limits}");
            let config = parse(&format!("[[listener]]\n{listener}\n")).unwrap();
            let told = config.listeners[0].odd_limits();
            assert_eq!(
                told.is_some_and(|it| it.starts_with("`per_client` of 11 is never reached")),
                odd
            );
        }
    }

    #[test]
    fn a_wait_for_a_backend_that_outlasts_the_handshake_s_is_odd() {
        let others_wait = "a backend that does not answer leaves no time for the others";
        for (backend, limits, odd) in [
            ("'db:1'", "", None),
            ("'db:1'", "handshake_timeout = '3s'", None),
            ("'db:1'", "connect_timeout = '10s'", None),
            (
                "'db:1'",
                "connect_timeout = '11s'",
                Some(
                    "`connect_timeout` of 11 s never passes: `handshake_timeout`, which bounds it, is 10 s",
                ),
            ),
            (
                "'db:1'",
                "handshake_timeout = '300ms', connect_timeout = '4s'",
                Some(
                    "`connect_timeout` of 4 s never passes: `handshake_timeout`, which bounds it, is 0.3 s",
                ),
            ),
            ("['db:1', 'db:2']", "", None),
            ("['db:1', 'db:2']", "connect_timeout = '9s'", None),
            (
                "['db:1', 'db:2']",
                "connect_timeout = '10s'",
                Some(others_wait),
            ),
            (
                "['db:1', 'db:2']",
                "handshake_timeout = '5s'",
                Some(others_wait),
            ),
        ] {
            let listener = format!("bind = '[::]:1'\nbackend = {backend}\nlimits = {{ {limits} }}");
            let config = parse(&format!("[[listener]]\n{listener}\n")).unwrap();
            let told = config.listeners[0].odd_limits();
            let begins = |told: &String| odd.is_some_and(|odd| told.starts_with(odd));
            assert!(
                told.as_ref().map_or(odd.is_none(), begins),
                "{listener}: {told:?}"
            );
        }
    }
}
