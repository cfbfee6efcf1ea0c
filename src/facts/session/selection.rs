//! Which sessions a request is about.

use std::{collections::BTreeSet, fmt, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::SessionId;
use crate::facts::{Fingerprint, Network};

/// The most ids that a selection may name, so that it fits into a message to a worker.
pub const MOST_IDS: usize = 1000;

/// Which sessions a request is about: those for which all holds that is given. The default is all sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// They have one of these ids, at most [`MOST_IDS`]; none is any id.
    pub ids: BTreeSet<SessionId>,
    /// They are of the listener of this name.
    pub listener: Option<String>,
    /// Their client's address is in this network.
    pub client: Option<Network>,
    /// Their client was accepted longer ago than this.
    pub older_than: Option<Duration>,
    /// Their generation is lower than this.
    pub generation_before: Option<u64>,
    /// Their client has presented the certificate with this SHA-256.
    pub client_cert: Option<Fingerprint>,
}

/// What is known of a session that a selection may hold.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its id.
    pub id: SessionId,
    /// The name of its listener.
    pub listener: &'a str,
    /// The client's address, if it has one.
    pub client: Option<IpAddr>,
    /// How long ago the client was accepted.
    pub age: Duration,
    /// Its generation.
    pub generation: u64,
    /// SHA-256 of the client's certificate in lower-case hexadecimal, if it has presented one.
    pub client_cert: Option<&'a str>,
}

impl Selection {
    /// Returns whether it holds every session.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether a session is among those that it is about. What is not known of a session, such as the
    /// address of a client on a Unix socket, is not as asked for.
    #[must_use]
    pub fn matches(&self, it: &Candidate<'_>) -> bool {
        let Self {
            ids,
            listener,
            client,
            older_than,
            generation_before,
            client_cert,
        } = self;
        let is_of = |network: &Network| it.client.is_some_and(|ip| network.contains(ip));
        let has_shown = |wanted: &Fingerprint| it.client_cert.map(str::parse) == Some(Ok(*wanted));
        (ids.is_empty() || ids.contains(&it.id))
            && listener.as_ref().is_none_or(|name| *name == it.listener)
            && client.as_ref().is_none_or(is_of)
            && older_than.is_none_or(|age| it.age > age)
            && generation_before.is_none_or(|number| it.generation < number)
            && client_cert.as_ref().is_none_or(has_shown)
    }
}

impl fmt::Display for Selection {
    /// Says what is asked for as an operator could have typed it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        match (self.ids.first(), self.ids.len()) {
            (None, _) => {}
            (Some(id), 1) => words.push(id.to_string()),
            (Some(id), all) => words.push(format!("{id} (and {} more)", all - 1)),
        }
        if let Some(listener) = &self.listener {
            words.push(format!("--listener {listener}"));
        }
        if let Some(client) = &self.client {
            words.push(format!("--client {client}"));
        }
        if let Some(age) = &self.older_than {
            words.push(format!("--older-than {}s", age.as_secs_f64()));
        }
        if let Some(number) = &self.generation_before {
            words.push(format!("--generation-before {number}"));
        }
        if let Some(digest) = &self.client_cert {
            words.push(format!("--client-cert {digest}"));
        }
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "ab";

    fn id(number: u64) -> SessionId {
        SessionId { origin: 7, number }
    }

    fn matches(change: impl FnOnce(&mut Selection)) -> bool {
        let digest = DIGEST.repeat(32);
        let mut selection = Selection::default();
        change(&mut selection);
        selection.matches(&Candidate {
            id: id(1),
            listener: "main",
            client: Some([10, 1, 2, 3].into()),
            age: Duration::from_secs(60),
            generation: 4,
            client_cert: Some(&digest),
        })
    }

    #[test]
    fn a_session_is_selected_if_all_holds_that_is_given() {
        assert!(matches(|_| {}));
        assert!(matches(|it| it.ids = [id(2), id(1)].into()));
        assert!(!matches(|it| it.ids = [id(2)].into()));
        for (listener, expected) in [("main", true), ("mai", false)] {
            assert_eq!(
                matches(|it| it.listener = Some(listener.to_owned())),
                expected
            );
        }
        for (network, expected) in [("10.0.0.0/8", true), ("11.0.0.0/8", false)] {
            assert_eq!(matches(|it| it.client = network.parse().ok()), expected);
        }
        for (seconds, expected) in [(59, true), (60, false)] {
            let age = Some(Duration::from_secs(seconds));
            assert_eq!(matches(|it| it.older_than = age), expected);
        }
        for (number, expected) in [(5, true), (4, false)] {
            assert_eq!(matches(|it| it.generation_before = Some(number)), expected);
        }
        for (byte, expected) in [(DIGEST, true), ("ac", false)] {
            let digest = byte.repeat(32).parse().ok();
            assert_eq!(matches(|it| it.client_cert = digest), expected);
        }
        let both = |it: &mut Selection| {
            it.listener = Some("main".to_owned());
            it.generation_before = Some(4);
        };
        assert!(!matches(both));
    }

    #[test]
    fn what_is_not_known_is_not_as_asked_for() {
        let unknown = Candidate {
            id: id(1),
            listener: "main",
            client: None,
            age: Duration::ZERO,
            generation: 1,
            client_cert: None,
        };
        let by_client = Selection {
            client: "0.0.0.0/0".parse().ok(),
            ..Selection::default()
        };
        let by_certificate = Selection {
            client_cert: DIGEST.repeat(32).parse().ok(),
            ..Selection::default()
        };
        assert!(!by_client.matches(&unknown) && !by_certificate.matches(&unknown));
        assert!(Selection::default().matches(&unknown));
    }

    #[test]
    fn a_selection_is_said_as_it_was_typed() {
        let selection = Selection {
            ids: [id(1), id(2)].into(),
            listener: Some("main".to_owned()),
            client: "10.0.0.0/8".parse().ok(),
            older_than: Some(Duration::from_secs(60)),
            generation_before: Some(3),
            client_cert: None,
        };
        assert_eq!(
            selection.to_string(),
            "7-1 (and 1 more) --listener main --client 10.0.0.0/8 --older-than 60s --generation-before 3"
        );
    }
}
