//! How boards name clients.

use std::{fmt, net::IpAddr};

use aws_lc_rs::{error::Unspecified, hmac, rand};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{CLIENTS, COUNT_BITS, ListenerNumber, MOST, NUMBERS, WINDOW};

/// What the keys of clients are made with, the same in all workers.
///
/// Otherwise a client with many addresses could choose those whose entries lie where another client's
/// are looked for.
#[derive(Clone, Serialize, Deserialize)]
pub struct ClientSecret(Zeroizing<[u8; 32]>);

/// Makes the keys of clients.
pub struct ClientKeys(hmac::Key);

/// The key by which boards name a client of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientKey(pub(super) u64);

impl ClientSecret {
    /// Makes a secret of random bytes.
    pub fn new() -> Result<Self, Unspecified> {
        let mut secret = Zeroizing::new([0; 32]);
        rand::fill(secret.as_mut())?;
        Ok(Self(secret))
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(..)")
    }
}

impl ClientKeys {
    /// Makes keys with this secret.
    pub fn new(secret: &ClientSecret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.0.as_ref()))
    }

    /// Returns the key of the client at an address; an IPv4 address has the same key in either form.
    pub fn of(&self, listener: ListenerNumber, client: IpAddr) -> ClientKey {
        let mut words = hmac::Context::with_key(&self.0);
        words.update(&listener.0.to_be_bytes());
        // They differ in length, so that no address of one kind has the bytes of one of the other.
        match client.to_canonical() {
            IpAddr::V4(ip) => words.update(&ip.octets()),
            IpAddr::V6(ip) => words.update(&ip.octets()),
        }
        let tag = words.sign();
        let first = tag.as_ref().iter().take(8);
        ClientKey(first.fold(0, |key, byte| key << 8 | u64::from(*byte)))
    }
}

impl fmt::Debug for ClientKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKeys(..)")
    }
}

impl ClientKey {
    /// Returns the counters among which its entry is.
    pub(super) fn indexes(self) -> impl Iterator<Item = usize> {
        // The remainder is smaller than a `usize`.
        #[expect(clippy::cast_possible_truncation)]
        let first = (self.0 % CLIENTS as u64) as usize;
        (0..WINDOW).map(move |step| NUMBERS + (first + step) % CLIENTS)
    }

    /// Returns its entry for one session.
    pub(super) fn entry(self) -> u64 {
        self.name() | 1
    }

    /// Returns how many sessions an entry counts for it; 0 if the entry is another client's.
    pub(super) fn count(self, entry: u64) -> u64 {
        if entry & !MOST == self.name() {
            entry & MOST
        } else {
            0
        }
    }

    fn name(self) -> u64 {
        self.0 >> COUNT_BITS << COUNT_BITS
    }
}
