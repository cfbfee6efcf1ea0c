//! A session of which one leg has TLS that is made by hand.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use rustls::SupportedCipherSuite;

use crate::support::raw_tls::{MAX_PLAIN, RawTls, V12, V13, rest};

/// A suite of each version.
pub(super) const BOTH: &[SupportedCipherSuite] = &[V13, V12];
/// TLS 1.3 alone.
pub(super) const ONLY_13: &[SupportedCipherSuite] = &[V13];
/// TLS 1.2 alone.
pub(super) const ONLY_12: &[SupportedCipherSuite] = &[V12];

/// The leg of the daemon that speaks TLS.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Leg {
    /// The one to a client: the daemon is the server.
    Client,
    /// The one to a backend: the daemon is the client.
    Backend,
}

pub(super) const LEGS: [Leg; 2] = [Leg::Client, Leg::Backend];

impl Leg {
    /// Returns the name of its listener.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Backend => "backend",
        }
    }

    /// Returns the reason by which a session is counted that ends because of this leg.
    pub(super) fn reason(self, how: &str) -> String {
        format!("{}_{how}", self.name())
    }
}

/// A session: TLS by hand on one leg of the daemon, and no TLS on the other.
pub(super) struct Pair {
    /// The end that speaks TLS.
    pub(super) raw: RawTls,
    /// The other.
    pub(super) far: TcpStream,
    /// Which leg has TLS.
    pub(super) leg: Leg,
}

impl Pair {
    /// Says something on the leg with TLS, which comes out on the other.
    #[track_caller]
    pub(super) fn up(&mut self, words: &[u8]) {
        for words in words.chunks(MAX_PLAIN) {
            self.raw.say(words).unwrap();
        }
        self.far_hears(words);
    }

    /// Says something on the leg without TLS, which comes out on the other.
    #[track_caller]
    pub(super) fn down(&mut self, words: &[u8]) {
        self.far.write_all(words).unwrap();
        let heard = self.raw.hear_data(words.len()).unwrap();
        assert!(heard == words, "{} bytes came changed", words.len());
    }

    /// Sees that this comes out on the leg without TLS.
    #[track_caller]
    pub(super) fn far_hears(&mut self, words: &[u8]) {
        let mut heard = vec![0; words.len()];
        self.far.read_exact(&mut heard).unwrap();
        assert!(heard == words, "{} bytes came changed", words.len());
    }

    /// Sees that the leg without TLS ends, behind nothing more.
    #[track_caller]
    pub(super) fn far_ends(&mut self) {
        assert_eq!(rest(&mut self.far).unwrap(), b"");
    }
}
