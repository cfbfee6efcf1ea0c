//! Material to handshakes: certificates, keys and trust as rustls uses them.
//!
//! A worker that was handed a [`Material`] reads nothing; it builds whole configurations from it
//! with [`policy::server_config`] and [`policy::client_config`] and swaps them. Nothing in a
//! configuration is ever changed in place, so that each handshake is made with one generation.

pub mod material;
pub mod observe;
pub mod policy;
pub mod probe;
mod proxy_tlv;
pub mod records;
pub mod resolver;
pub mod seal;
pub mod stream;
pub mod tickets;

mod dissolve;
mod failure;
mod handshake;
mod hello;
pub(crate) mod names;
pub(crate) mod notes;
pub(crate) mod prove;
mod record_header;
pub mod space;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod trust;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::Timestamp;
use rustls::{
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::UnixTime,
};

pub use self::{
    material::Material,
    notes::RefusedCertificate,
    proxy_tlv::{ShownCertificate, openssl_name},
};

/// Returns the cryptography that every TLS object of this process is built on.
///
/// It is always passed by hand, so that nothing depends on a process-wide default.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider())))
}

/// Returns a moment as the TLS library writes it; one before 1970 is its beginning.
pub(crate) fn unix_time(moment: Timestamp) -> UnixTime {
    let seconds = u64::try_from(moment.as_second()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}
