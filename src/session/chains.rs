//! The certificates of clients, kept once for all sessions that show the same.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use crate::{
    tls::{ShownCertificate, stream::TlsStream},
    x509::certificate,
};

/// The fewest certificates after which those that no session shows any more are forgotten.
const FEWEST: usize = 64;

/// A client's certificate and those that it sent along to lead to its authority.
#[derive(Debug)]
pub struct ClientChain {
    /// What is shown of the certificate.
    pub shown: ShownCertificate,
    /// The client's certificate first, each in DER.
    pub ders: Vec<Box<[u8]>>,
}

impl ClientChain {
    /// Returns the chain of these certificates, the client's own first; `None` of none.
    pub fn of(ders: Vec<Box<[u8]>>) -> Option<Self> {
        Some(Self {
            shown: ShownCertificate::of(ders.first()?),
            ders,
        })
    }
}

/// The certificates that clients of a worker's sessions have shown. The sessions of a pool share one.
#[derive(Debug, Default)]
pub struct Chains(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By SHA-256 of the client's certificate.
    chains: HashMap<[u8; 32], Weak<ClientChain>>,
    /// How many there may be before they are tidied up.
    most: usize,
}

impl Chains {
    /// Returns the same certificates, as sessions have them that showed them before.
    pub fn same(&self, chain: Arc<ClientChain>) -> Arc<ClientChain> {
        let Some(digest) = chain.ders.first().map(|der| certificate::digest(der)) else {
            return chain;
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.chains.get(&digest).and_then(Weak::upgrade);
        if let Some(before) = before.filter(|known| known.ders == chain.ders) {
            return before;
        }
        known.keep(digest, &chain);
        chain
    }

    /// Returns the certificates that a client has shown; `None` if it has shown none.
    pub fn shown_by(&self, tls: &TlsStream) -> Option<Arc<ClientChain>> {
        let digest = tls.peer_digest()?;
        let is_same = |known: &Arc<ClientChain>| {
            let known = known.ders.iter().map(|it| &**it);
            known.eq(tls.peer_chain())
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.chains.get(&digest).and_then(Weak::upgrade);
        if let Some(chain) = before.filter(is_same) {
            return Some(chain);
        }
        let chain = Arc::new(ClientChain::of(tls.peer_chain().map(Box::from).collect())?);
        known.keep(digest, &chain);
        Some(chain)
    }
}

impl Known {
    fn keep(&mut self, digest: [u8; 32], chain: &Arc<ClientChain>) {
        self.chains.insert(digest, Arc::downgrade(chain));
        if self.chains.len() > self.most.max(FEWEST) {
            self.chains.retain(|_, it| it.strong_count() > 0);
            self.most = 2 * self.chains.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(number: u8) -> Arc<ClientChain> {
        Arc::new(ClientChain {
            shown: ShownCertificate {
                subject: String::new(),
                sha256: String::new(),
            },
            ders: vec![Box::from([number])],
        })
    }

    #[test]
    fn certificates_that_no_session_shows_are_forgotten() {
        let mut known = Known::default();
        let kept = chain(0);
        known.keep([0; 32], &kept);
        for number in 1..=250 {
            known.keep([number; 32], &chain(number));
        }
        assert!(known.chains.len() <= FEWEST, "{}", known.chains.len());
        assert!(known.chains[&[0; 32]].upgrade().is_some());
    }
}
