//! A leg as data, and back.

use zeroize::Zeroizing;

use super::Leg;
use crate::{
    session::{record::LegRecord, socket::Socket},
    tls::stream::TlsStream,
};

/// Why a leg does not go on from a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record of a session belongs to another socket")]
pub struct OtherSocket;

impl Leg {
    /// Returns all that is needed to go on with the leg elsewhere; `None` while a TLS handshake goes on, which
    /// only the process that began it can finish, and when the leg has failed.
    pub fn record(&self) -> Option<LegRecord> {
        if self.fault.is_some() {
            return None;
        }
        let tls = match &self.tls {
            Some(tls) => Some(tls.records()?.state().clone()),
            None => None,
        };
        let held = self.tls.as_ref().map_or(&[][..], |tls| tls.held());
        Some(LegRecord {
            cookie: self.socket.cookie(),
            taken: self.taken,
            queued: self.queued,
            tls,
            held: Zeroizing::new(held.to_vec()),
            early: Zeroizing::new(self.early.clone()),
            unsent: Zeroizing::new(self.unsent.clone()),
            ended: self.ended,
            write: self.write,
        })
    }

    /// Gives TLS to a leg, as its handshake would.
    #[cfg(test)]
    pub(crate) fn set_tls(&mut self, tls: TlsStream) {
        self.tls = Some(Box::new(tls));
    }

    /// Gives the socket back, for a leg that goes on from its record.
    #[cfg(test)]
    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Goes on with a leg from its record, over the socket that the record names.
    pub fn resume(socket: Socket, record: LegRecord) -> Result<Self, OtherSocket> {
        if socket.cookie() != record.cookie {
            return Err(OtherSocket);
        }
        let LegRecord {
            taken,
            queued,
            tls,
            mut held,
            mut early,
            mut unsent,
            ended,
            write,
            ..
        } = record;
        let tls = tls.map(|state| Box::new(TlsStream::resume(state, &mut held)));
        Ok(Self {
            socket,
            tls,
            unsent: std::mem::take(&mut *unsent),
            early: std::mem::take(&mut *early),
            fault: None,
            ended,
            spoken: true,
            write,
            taken,
            queued,
        })
    }
}
