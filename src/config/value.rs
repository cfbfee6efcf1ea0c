//! Single values of the configuration file that TOML has no type for.
//!
//! Each can only be made by parsing, so every value of these types is checked.

use std::{net::IpAddr, str::FromStr, time::Duration};

use jiff::SignedDuration;

use super::address::is_host_name;

/// The longest duration that is taken for meant: thirty days.
pub(super) const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The shortest time after which a session is kept; workers' timers count in milliseconds.
pub(super) const SHORTEST_KEEP: Duration = Duration::from_millis(1);

/// The longest time after which a session is kept. Until then the session has an entry in a queue, also if it ends
/// before.
pub(super) const LONGEST_KEEP: Duration = Duration::from_secs(60);

/// Why a text is not the value it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    #[error("this is empty")]
    Empty,
    #[error("this holds a zero byte")]
    ZeroByte,
    #[error("`{0}` is not a name: write 1 to 64 letters, digits, `_`, `.` or `-`")]
    Name(String),
    #[error("`{0}` is not a duration: write for instance 30s, 1m 30s or 250ms")]
    Duration(String),
    #[error("`{0}` is a negative duration")]
    Negative(String),
    #[error("`{0}` is longer than 30 days")]
    TooLong(String),
    #[error("`{0}` is not a time to keep sessions after: write 1ms to 1m, or `off` to keep none")]
    KeepAfter(String),
    #[error("`{0}` is neither a DNS name nor an IP address")]
    ServerName(String),
    #[error("`{0}` is not a DNS name")]
    HostName(String),
}

/// Text that is not empty and fits into a C string: a path, a user, an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

impl FromStr for Text {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "" => Err(ValueError::Empty),
            _ if text.contains('\0') => Err(ValueError::ZeroByte),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

/// The name of a listener or an identity.
///
/// Names stand in metrics labels, log lines and on command lines, so they need no quoting anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(pub(super) String);

impl FromStr for Name {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ValueError::Name(text.to_owned()))
        }
    }
}

/// A length of time such as `30s` or `1m 30s`, at most [`LONGEST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

impl FromStr for Time {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let signed: SignedDuration = text
            .parse()
            .map_err(|_| ValueError::Duration(text.to_owned()))?;
        let time = Duration::try_from(signed).map_err(|_| ValueError::Negative(text.to_owned()))?;
        if time > LONGEST {
            return Err(ValueError::TooLong(text.to_owned()));
        }
        Ok(Self(time))
    }
}

/// When sessions begin to be kept: a length of time from [`SHORTEST_KEEP`] to [`LONGEST_KEEP`], or `off`, which is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeepAfter(pub(super) Option<Duration>);

impl FromStr for KeepAfter {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text == "off" {
            return Ok(Self(None));
        }
        let time = text.parse().ok().map(|Time(time)| time);
        let time = time.filter(|time| (SHORTEST_KEEP..=LONGEST_KEEP).contains(time));
        let time = time.ok_or_else(|| ValueError::KeepAfter(text.to_owned()))?;
        Ok(Self(Some(time)))
    }
}

/// The name that a backend's certificate must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerName(pub(super) String);

impl FromStr for ServerName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.parse::<IpAddr>().is_ok() || is_host_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ValueError::ServerName(text.to_owned()))
        }
    }
}

/// A DNS name that clients ask for, as the DNS has it: labels that are not ASCII are written by IDNA
/// (RFC 5890 §2.3.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostName(pub(super) String);

impl FromStr for HostName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let ascii = idna::domain_to_ascii(text).ok();
        let name = ascii.filter(|name| is_host_name(name) && name.parse::<IpAddr>().is_err());
        name.map(Self)
            .ok_or_else(|| ValueError::HostName(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_written_with_units() {
        for (text, millis) in [
            ("30s", 30_000),
            ("1m 30s", 90_000),
            ("250ms", 250),
            ("0s", 0),
            ("720h", 2_592_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Time(Duration::from_millis(millis))));
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_a_reason() {
        for (text, why) in [
            ("", "not a duration"),
            ("30", "not a duration"),
            ("soon", "not a duration"),
            ("2 days", "not a duration"),
            ("-3s", "negative"),
            ("721h", "longer than 30 days"),
            ("9000000000000h", "longer than 30 days"),
            ("99999999999999999999h", "not a duration"),
        ] {
            let error = text.parse::<Time>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn sessions_are_kept_after_a_millisecond_to_a_minute_or_never() {
        for (text, millis) in [
            ("1ms", Some(1)),
            ("1s 500ms", Some(1_500)),
            ("1m", Some(60_000)),
            ("off", None),
        ] {
            let after = millis.map(Duration::from_millis);
            assert_eq!(text.parse(), Ok(KeepAfter(after)));
        }
        for text in ["", "0s", "999us", "1m 1s", "-1s", "100", "Off", "never"] {
            let error = text.parse::<KeepAfter>().unwrap_err().to_string();
            assert!(
                error.contains("write 1ms to 1m, or `off`"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn host_names_are_written_as_the_dns_has_them() {
        for (text, name) in [
            ("DB.example.com", "db.example.com"),
            ("b\u{fc}cher.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(text.parse(), Ok(HostName(name.to_owned())));
        }
        for text in ["", "*.example.com", "10.0.0.1", "0x1", "a b", "x..y"] {
            let error = text.parse::<HostName>().unwrap_err().to_string();
            assert!(error.contains("is not a DNS name"), "{text}: {error}");
        }
    }

    proptest! {
        /// A name that passes here must not fail later, where the TLS room builds its policies.
        #[test]
        fn every_accepted_server_name_is_one_for_rustls(text in "(0x)?[a-z0-9_.:-]{1,30}") {
            if let Ok(ServerName(name)) = text.parse() {
                prop_assert!(rustls::pki_types::ServerName::try_from(name).is_ok());
            }
        }
    }
}
