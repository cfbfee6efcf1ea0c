//! Tickets with which a client goes on with the TLS session of an earlier connection.
//!
//! A ticket is the session itself, sealed (RFC 5077 §4, RFC 8446 §4.6.1). A worker that holds the key
//! believes what it says of the client's certificate without asking again, so the key is made of a
//! secret and of everything that the belief stands on: the listener, its policy, the certificates
//! it presents, its authorities and their revocation lists. When one of those changes, older
//! tickets open no more, and the client makes a full handshake. What only time changes is in the
//! ticket: a moment after which it is void.
//!
//! The secrets come from the supervisor, which keeps them in memory alone, so that all workers,
//! and one that takes the place of another, open the same tickets.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    error::Unspecified,
    hkdf::{HKDF_SHA256, KeyType, Salt},
    rand,
};
use rustls::{pki_types::UnixTime, server::ProducesTickets};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::notes;

/// How long after its full handshake a session may be gone on with.
pub const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// How often secrets change; each opens tickets for as long again, and is forgotten then.
pub const ROTATION: Duration = LIFETIME;

/// Secrets in use: one that seals and one before it, whose tickets are not void yet.
const KEPT: usize = 2;

/// The longest ticket that TLS can carry.
const LONGEST: usize = u16::MAX as usize;

const NAME_LEN: usize = 16;
const KEY_LEN: usize = 32;
const DEADLINE_LEN: usize = 8;

/// What ticket keys are made of, the newest first; wiped from memory when dropped.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct TicketSecrets(Vec<Zeroizing<[u8; 32]>>);

/// There is nothing random to make a secret of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

impl TicketSecrets {
    /// Adds a new secret in front and forgets the one that is too old.
    pub fn rotate(&mut self) -> Result<(), NoRandomness> {
        let mut secret = Zeroizing::new([0; 32]);
        rand::fill(secret.as_mut()).map_err(|_| NoRandomness)?;
        self.0.insert(0, secret);
        self.0.truncate(KEPT);
        Ok(())
    }
}

impl TicketSecrets {
    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is none, so that no ticket opens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for TicketSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketSecrets({} secrets)", self.0.len())
    }
}

/// The tickets of one listener in one generation.
pub(super) struct Tickets {
    context: [u8; 32],
    keys: ArcSwap<Vec<TicketKey>>,
}

/// What seals tickets, and the name by which it is found again.
struct TicketKey {
    name: [u8; NAME_LEN],
    key: RandomizedNonceKey,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tickets({} keys)", self.keys.load().len())
    }
}

impl Tickets {
    /// Makes keys for `context`, a digest of all that sessions are believed for.
    pub(super) fn new(context: [u8; 32], secrets: &TicketSecrets) -> Self {
        let tickets = Self {
            context,
            keys: ArcSwap::default(),
        };
        tickets.renew(secrets);
        tickets
    }

    /// Takes other secrets; tickets of those that are still among them go on.
    pub(super) fn renew(&self, secrets: &TicketSecrets) {
        let keys = secrets.0.iter();
        let keys = keys.filter_map(|it| TicketKey::derive(it, &self.context).ok());
        self.keys.store(Arc::new(keys.collect()));
    }

    fn seal(&self, plain: &[u8], now: UnixTime) -> Option<Vec<u8>> {
        let until = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + LIFETIME);
        let deadline = match notes::note(|notes| notes.good_until) {
            Some(sooner) => sooner.min(until),
            None => until,
        };
        if deadline <= now {
            return None;
        }
        let mut body = deadline.as_secs().to_be_bytes().to_vec();
        body.extend_from_slice(plain);
        let keys = self.keys.load();
        let ticket = keys.first()?.seal(body).ok()?;
        (ticket.len() <= LONGEST).then_some(ticket)
    }

    fn open(&self, ticket: &[u8], now: UnixTime) -> Option<Vec<u8>> {
        let (name, sealed) = ticket.split_first_chunk()?;
        let keys = self.keys.load();
        let key = keys.iter().find(|it| it.name == *name)?;
        let mut body = key.open(sealed)?;
        let deadline = u64::from_be_bytes(*body.first_chunk()?);
        let deadline = UnixTime::since_unix_epoch(Duration::from_secs(deadline));
        if deadline <= now {
            return None;
        }
        // A ticket that is given in this session is void at the same moment, so that no client avoids
        // a full handshake for longer by coming back often.
        notes::note(|notes| notes.good_until = Some(deadline));
        body.drain(..DEADLINE_LEN);
        Some(body)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        !self.keys.load().is_empty()
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, UnixTime::now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, UnixTime::now())
    }
}

/// The bytes that a key and its name are made of.
struct Material;

impl KeyType for Material {
    fn len(&self) -> usize {
        NAME_LEN + KEY_LEN
    }
}

impl TicketKey {
    fn derive(secret: &[u8; 32], context: &[u8; 32]) -> Result<Self, Unspecified> {
        let mut bytes = Zeroizing::new([0; NAME_LEN + KEY_LEN]);
        Salt::new(HKDF_SHA256, b"proxyd ticket key")
            .extract(secret)
            .expand(&[context], Material)?
            .fill(bytes.as_mut())?;
        let (name, key) = bytes.split_first_chunk().ok_or(Unspecified)?;
        Ok(Self {
            name: *name,
            key: RandomizedNonceKey::new(&AES_256_GCM, key)?,
        })
    }

    /// Returns the key's name, a nonce, and `body` encrypted with its tag.
    ///
    /// A nonce is random, which serves a key well for 2^32 tickets (NIST SP 800-38D §8.3); it does
    /// not last long enough for so many.
    fn seal(&self, mut body: Vec<u8>) -> Result<Vec<u8>, Unspecified> {
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(self.name), &mut body)?;
        Ok([&self.name[..], nonce.as_ref(), &body].concat())
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut body = body.to_vec();
        let length = self
            .key
            .open_in_place(nonce, Aad::from(self.name), &mut body)
            .ok()?
            .len();
        body.truncate(length);
        Some(body)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::notes::Notes, *};

    fn secrets() -> TicketSecrets {
        let mut secrets = TicketSecrets::default();
        secrets.rotate().unwrap();
        secrets
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn a_ticket_opens_where_everything_is_the_same() {
        let secrets = secrets();
        let tickets = Tickets::new([7; 32], &secrets);
        let ticket = tickets.seal(b"session", at(1000)).unwrap();
        let elsewhere = Tickets::new([7; 32], &secrets);
        assert_eq!(
            elsewhere.open(&ticket, at(1001)).as_deref(),
            Some(&b"session"[..])
        );
        assert_eq!(
            Tickets::new([8; 32], &secrets).open(&ticket, at(1001)),
            None
        );
        let others = Tickets::new([7; 32], &self::secrets());
        assert_eq!(others.open(&ticket, at(1001)), None);
        assert_ne!(tickets.seal(b"session", at(1000)).unwrap(), ticket);
    }

    #[test]
    fn a_ticket_is_void_after_its_time() {
        let tickets = Tickets::new([7; 32], &secrets());
        let ticket = tickets.seal(b"session", at(1000)).unwrap();
        let end = 1000 + LIFETIME.as_secs();
        assert!(tickets.open(&ticket, at(end - 1)).is_some());
        assert_eq!(tickets.open(&ticket, at(end)), None);
    }

    #[test]
    fn a_ticket_outlives_neither_the_certificate_nor_the_full_handshake() {
        let tickets = Tickets::new([7; 32], &secrets());
        let mut notes = Notes {
            good_until: Some(at(1500)),
            ..Notes::default()
        };
        let first = notes.lend(|| tickets.seal(b"session", at(1000))).unwrap();
        let mut later = Notes::default();
        let second = later.lend(|| {
            tickets.open(&first, at(1499)).unwrap();
            tickets.seal(b"session", at(1499)).unwrap()
        });
        assert_eq!(tickets.open(&second, at(1500)), None);
        assert_eq!(later.lend(|| tickets.seal(b"session", at(1500))), None);
    }

    #[test]
    fn a_secret_opens_tickets_until_the_second_rotation() {
        let mut secrets = secrets();
        let tickets = Tickets::new([7; 32], &secrets);
        let ticket = tickets.seal(b"session", at(1000)).unwrap();
        secrets.rotate().unwrap();
        tickets.renew(&secrets);
        assert!(tickets.open(&ticket, at(1001)).is_some());
        let newer = tickets.seal(b"session", at(1000)).unwrap();
        secrets.rotate().unwrap();
        tickets.renew(&secrets);
        assert_eq!(tickets.open(&ticket, at(1001)), None);
        assert!(tickets.open(&newer, at(1001)).is_some());
    }

    #[test]
    fn without_a_secret_there_are_no_tickets() {
        let tickets = Tickets::new([7; 32], &TicketSecrets::default());
        assert!(!tickets.enabled());
        assert_eq!(tickets.encrypt(b"session"), None);
        assert_eq!(tickets.decrypt(&[0; 100]), None);
    }

    #[test]
    fn what_is_too_long_for_tls_gets_no_ticket() {
        let tickets = Tickets::new([7; 32], &secrets());
        assert_eq!(tickets.seal(&vec![0; LONGEST], at(1000)), None);
    }

    #[test]
    fn secrets_are_never_printed() {
        let secrets = secrets();
        assert_eq!(format!("{secrets:?}"), "TicketSecrets(1 secrets)");
        let tickets = Tickets::new([7; 32], &secrets);
        assert_eq!(format!("{tickets:?}"), "Tickets(1 keys)");
    }

    proptest! {
        #[test]
        fn no_other_bytes_open(mut bytes in prop::collection::vec(any::<u8>(), 0..100), flip in 0..71_usize) {
            let tickets = Tickets::new([7; 32], &secrets());
            prop_assert_eq!(tickets.open(&bytes, at(1000)), None);
            let mut ticket = tickets.seal(b"some session", at(1000)).unwrap();
            let position = flip % ticket.len();
            bytes.push(1);
            ticket[position] ^= bytes[0].max(1);
            prop_assert_eq!(tickets.open(&ticket, at(1000)), None);
            ticket.truncate(position);
            prop_assert_eq!(tickets.open(&ticket, at(1000)), None);
        }
    }
}
