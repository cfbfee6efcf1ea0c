//! What a verifier finds out about a peer's certificate, beside the verdict that rustls takes.
//!
//! rustls shares one verifier between all connections, calls it in the middle of reading, and
//! carries nothing but an error out. So a connection lends its notes to the thread while it reads;
//! verifiers that are called meanwhile, on the same thread, write into them.

use std::cell::RefCell;

use rustls::pki_types::{CertificateDer, UnixTime};

use super::dissolve::TrafficSecrets;
use crate::x509::certificate;

thread_local! {
    static LENT: RefCell<Notes> = const { RefCell::new(Notes::new()) };
}

/// The most characters of a name that are told.
const LONGEST_NAME: usize = 256;

/// What is known of a peer of one connection.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The certificate that was refused.
    pub(crate) refused: Option<Box<RefusedCertificate>>,
    /// The name that the peer asked for.
    pub(crate) asked: Option<Box<str>>,
    /// Whether the client accepts no signature of the key that was chosen.
    pub(crate) unfit: bool,
    /// SHA-256 of the certificate that was shown to the peer.
    pub(crate) shown: Option<[u8; 32]>,
    /// Until when the verdict on the certificate holds, as far as that is a matter of time.
    pub(crate) good_until: Option<UnixTime>,
    /// What the keys of a TLS 1.3 session come from.
    pub(super) secrets: Option<Box<TrafficSecrets>>,
}

/// A certificate that was refused; its texts are safe to print and not long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedCertificate {
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The serial number, lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of its DER, lower-case hexadecimal.
    pub sha256: String,
    /// What may be done about it, if there is anything to say.
    pub advice: Option<String>,
}

impl Notes {
    const fn new() -> Self {
        Self {
            refused: None,
            asked: None,
            unfit: false,
            shown: None,
            good_until: None,
            secrets: None,
        }
    }

    /// Lends these notes to the thread while `act` runs.
    pub(crate) fn lend<R>(&mut self, act: impl FnOnce() -> R) -> R {
        LENT.with_borrow_mut(|lent| std::mem::swap(lent, self));
        let result = act();
        LENT.with_borrow_mut(|lent| std::mem::swap(lent, self));
        result
    }
}

/// Writes into the notes of the connection that is being read.
pub(crate) fn note<R>(write: impl FnOnce(&mut Notes) -> R) -> R {
    LENT.with_borrow_mut(write)
}

/// Notes that a certificate was refused.
pub(crate) fn refuse(leaf: &CertificateDer<'_>, advice: Option<String>) {
    let refused = RefusedCertificate::new(leaf, advice);
    note(|notes| notes.refused = Some(Box::new(refused)));
}

impl RefusedCertificate {
    pub(crate) fn new(leaf: &CertificateDer<'_>, advice: Option<String>) -> Self {
        let sha256 = certificate::sha256(leaf);
        match certificate::parse(leaf) {
            Ok(parsed) => Self {
                subject: printable(&parsed.subject().to_string()),
                issuer: printable(&parsed.issuer().to_string()),
                serial: certificate::serial(parsed.raw_serial()),
                sha256,
                advice,
            },
            Err(_) => Self {
                subject: "unreadable".to_owned(),
                issuer: "unreadable".to_owned(),
                serial: String::new(),
                sha256,
                advice,
            },
        }
    }
}

/// Returns a name of a stranger's choosing as it can stand in a log line.
pub(crate) fn printable(name: &str) -> String {
    let mut text = String::new();
    for (index, character) in name.chars().enumerate() {
        if index == LONGEST_NAME {
            text.push_str("...");
            break;
        }
        match character {
            '"' | '\'' | '\\' => text.push(character),
            _ => text.extend(character.escape_debug()),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::Ca;

    #[test]
    fn notes_are_those_of_the_connection_that_is_read() {
        let (mut one, mut two) = (Notes::default(), Notes::default());
        let time = |seconds| {
            Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
                seconds,
            )))
        };
        one.lend(|| note(|notes| notes.good_until = time(1)));
        two.lend(|| note(|notes| notes.good_until = time(2)));
        one.lend(|| assert_eq!(note(|notes| notes.good_until), time(1)));
        assert_eq!(two.good_until, time(2));
        assert_eq!(note(|notes| notes.good_until), None);
    }

    #[test]
    fn a_refused_certificate_is_told_by_its_names() {
        let leaf = Ca::new("root").server(&["app"]);
        let refused = RefusedCertificate::new(&leaf.pair().certificates()[0], None);
        assert_eq!(refused.subject, "CN=app");
        assert_eq!(refused.issuer, "CN=root");
        assert_eq!(refused.sha256.len(), 64);
        let refused = RefusedCertificate::new(&CertificateDer::from(vec![1, 2]), None);
        assert_eq!(refused.subject, "unreadable");
    }

    #[test]
    fn names_cannot_steer_a_terminal_nor_flood_a_log() {
        assert_eq!(printable("CN=Bücher \"x\""), "CN=Bücher \"x\"");
        assert_eq!(
            printable("a\x1b[31m\nb\u{202e}\0"),
            "a\\u{1b}[31m\\nb\\u{202e}\\0"
        );
        assert_eq!(printable(&"x".repeat(1000)).len(), LONGEST_NAME + 3);
    }
}
