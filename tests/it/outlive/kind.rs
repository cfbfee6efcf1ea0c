//! The kinds of sessions: what each of their legs is made of.

use std::fmt;

use rustls::SupportedCipherSuite;

use crate::support::raw_tls::{V12, V13, every_suite};

/// What a leg goes over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Medium {
    Tcp,
    Unix,
}

impl Medium {
    const ALL: [Self; 2] = [Self::Tcp, Self::Unix];

    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Unix => "unix",
        }
    }
}

/// One leg of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    /// What it goes over.
    pub(super) medium: Medium,
    /// The suite of its TLS, if it has any.
    pub(super) tls: Option<SupportedCipherSuite>,
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let medium = self.medium.name();
        match self.tls {
            None => write!(f, "{medium}, plain"),
            Some(suite) => write!(f, "{medium}, {:?}", suite.suite()),
        }
    }
}

/// A kind of session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// The leg to the client.
    pub(super) client: Leg,
    /// The leg to the backend.
    pub(super) backend: Leg,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}) to ({})", self.client, self.backend)
    }
}

/// A leg over TCP without TLS.
pub(super) const PLAIN: Leg = tcp(None);
/// A leg over TCP with TLS 1.3.
pub(super) const TLS13: Leg = tcp(Some(V13));
/// A leg over TCP with TLS 1.2.
pub(super) const TLS12: Leg = tcp(Some(V12));

/// Returns a leg over TCP.
pub(super) const fn tcp(tls: Option<SupportedCipherSuite>) -> Leg {
    Leg {
        medium: Medium::Tcp,
        tls,
    }
}

/// Returns a leg over a Unix socket.
pub(super) const fn unix(tls: Option<SupportedCipherSuite>) -> Leg {
    Leg {
        medium: Medium::Unix,
        tls,
    }
}

impl Kind {
    /// Returns the kind with these legs.
    pub(super) const fn of(client: Leg, backend: Leg) -> Self {
        Self { client, backend }
    }

    /// Returns each pair of versions over TCP.
    pub(super) fn over_tcp() -> Vec<Self> {
        let legs = [PLAIN, TLS12, TLS13];
        legs.iter()
            .flat_map(|client| legs.iter().map(|backend| Self::of(*client, *backend)))
            .collect()
    }

    /// Returns each suite, on either leg.
    pub(super) fn every_suite() -> Vec<Self> {
        let suites = every_suite().into_iter();
        suites
            .flat_map(|suite| {
                let tls = tcp(Some(suite));
                [Self::of(tls, PLAIN), Self::of(PLAIN, tls)]
            })
            .collect()
    }

    /// Returns kinds with a Unix socket on one leg or both, with each version on either.
    pub(super) fn over_unix() -> Vec<Self> {
        let mut kinds = Vec::new();
        for (one, other) in [(None, None), (Some(V13), None), (Some(V12), Some(V13))] {
            kinds.push(Self::of(unix(one), tcp(other)));
            kinds.push(Self::of(tcp(one), unix(other)));
            kinds.push(Self::of(unix(one), unix(other)));
        }
        kinds
    }

    /// Returns kinds that differ in everything that matters for most tests, all over TCP.
    pub(super) fn mixed() -> Vec<Self> {
        vec![
            Self::of(PLAIN, PLAIN),
            Self::of(TLS13, PLAIN),
            Self::of(TLS12, PLAIN),
            Self::of(PLAIN, TLS13),
            Self::of(TLS13, TLS12),
            Self::of(TLS12, TLS13),
        ]
    }

    /// Returns the name of the listener for it.
    pub(super) fn listener(&self) -> String {
        Self::listener_name(
            self.client.medium,
            self.backend.medium,
            self.backend.tls.is_some(),
        )
    }

    /// Returns the name of the listener for clients and backends over these, which has TLS to its backend
    /// or not.
    pub(super) fn listener_name(client: Medium, backend: Medium, has_tls: bool) -> String {
        let tls = if has_tls { "tls" } else { "plain" };
        format!("{}-{}-{tls}", client.name(), backend.name())
    }

    /// Returns what each listener is for.
    pub(super) fn every_listener() -> impl Iterator<Item = (Medium, Medium, bool)> {
        Medium::ALL.into_iter().flat_map(|client| {
            Medium::ALL
                .into_iter()
                .flat_map(move |backend| [false, true].map(|has_tls| (client, backend, has_tls)))
        })
    }
}
