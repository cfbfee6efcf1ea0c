//! A session that is relayed to its record, and back.

use std::time::Duration;

use super::{Flows, Record};
use crate::{
    protocol::watcher::Watcher,
    session::{
        conversation::Conversation,
        leg::{Leg, OtherSocket},
        live::LiveSession,
        socket::Socket,
    },
    sys::clock,
};

/// Returns when a byte moved last, so long ago, by the clock of records.
fn moved_at(idle: Duration) -> u64 {
    let moved = clock::since_boot().saturating_sub(idle);
    u64::try_from(moved.as_millis()).unwrap_or(u64::MAX)
}

impl Conversation<Watcher> {
    /// Returns the record of the session as it is now; `None` while a TLS handshake goes on, which an
    /// established session has behind it.
    pub fn record(&self, session: &LiveSession) -> Option<Record> {
        let (bytes_up, bytes_down) = session.bytes();
        Some(Record {
            id: session.id,
            takeovers: 0,
            bytes_up,
            bytes_down,
            began: u64::try_from(session.began_at().as_microsecond()).unwrap_or(0),
            moved: moved_at(session.idle()),
            flows: Flows::of(self.up, self.down, &self.first),
            client: self.client.record()?,
            backend: self.backend.record()?,
            watcher: self.watch.clone(),
            facts: session.facts(),
        })
    }

    /// Goes on with a session from its record, over the two sockets that the record names.
    pub fn resume(client: Socket, backend: Socket, record: Record) -> Result<Self, OtherSocket> {
        let (up, down, first) = record.flows.parts();
        Ok(Self {
            client: Leg::resume(client, record.client)?,
            backend: Leg::resume(backend, record.backend)?,
            up,
            down,
            first,
            watch: record.watcher,
        })
    }
}
