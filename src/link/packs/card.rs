//! What a worker knows of an identity that no client has asked for.

use std::sync::Arc;

use rustls::sign::CertifiedKey;
use tracing::error;

use super::{Digest, MAX_PAIR, Place};
use crate::{
    control::wire,
    link::Unusable,
    sys::sealed::Sealed,
    tls::{material::KeyPair, resolver::Presented},
};

/// An identity as a worker has it: what it is called and stands for, and where its chain and key lie.
#[derive(Debug)]
pub struct Card {
    name: Box<str>,
    host_names: Box<[String]>,
    digest: Digest,
    pack: Arc<Sealed>,
    offset: u64,
    length: usize,
}

/// Why the chain and key of an identity cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("they cannot be read from memory that the supervisor shares: {0}")]
    Read(#[from] std::io::Error),
    #[error("they are not what the supervisor has written: {0}")]
    Wire(#[from] wire::WireError),
    #[error("they are not those of this identity")]
    Other,
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

impl Card {
    /// Makes the card of an identity whose chain and key lie at `place` of `pack`; refuses a place beyond
    /// its end.
    pub(in crate::link) fn new(
        name: String,
        host_names: Vec<String>,
        pack: &Arc<Sealed>,
        place: Place,
    ) -> Result<Self, Unusable> {
        let Place {
            digest,
            offset,
            length,
            ..
        } = place;
        if !pack.holds(offset, length) {
            return Err(Unusable::Outside(name));
        }
        Ok(Self {
            name: name.into(),
            host_names: host_names.into(),
            digest,
            pack: Arc::clone(pack),
            offset,
            length,
        })
    }

    fn read(&self) -> Result<CertifiedKey, Unreadable> {
        let bytes = self.pack.read(self.offset, self.length)?;
        let pair: KeyPair = wire::decode(&bytes, MAX_PAIR)?;
        if pair.digest() != self.digest {
            return Err(Unreadable::Other);
        }
        Ok(pair.certified()?)
    }
}

impl Presented for Card {
    fn name(&self) -> &str {
        &self.name
    }

    fn host_names(&self) -> &[String] {
        &self.host_names
    }

    fn digest(&self) -> [u8; 32] {
        self.digest
    }

    fn certified(&self) -> Option<CertifiedKey> {
        let read = self.read();
        read.inspect_err(|why| {
            error!(
                "the chain and key of identity \"{}\" cannot be used, so clients that ask for it are \
                 refused: {why}",
                self.name
            );
        })
        .ok()
    }
}
