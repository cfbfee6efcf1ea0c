//! The two connections of an established session, and how far its bytes have come.

use super::{
    leg::{Leg, LegError, OtherSocket},
    record::Record,
    socket::Socket,
};
use crate::protocol::{watch::Watch, watcher::Watcher};

/// An established session as it is between two moments: all that is needed to go on with it, but for its
/// timers and for what is known of it.
#[derive(Debug)]
pub struct Conversation<W> {
    /// The client's connection.
    pub client: Leg,
    /// The backend's connection.
    pub backend: Leg,
    /// How far what the client sends has come.
    pub up: Flow,
    /// How far what the backend sends has come.
    pub down: Flow,
    /// Which side ended its direction first, as far as one did.
    pub first: First,
    /// What watches the session.
    pub watch: W,
}

impl<W> Conversation<W> {
    /// Returns both connections, the client's first.
    pub fn legs(&self) -> [&Leg; 2] {
        [&self.client, &self.backend]
    }

    /// Returns both connections, the client's first.
    pub fn legs_mut(&mut self) -> [&mut Leg; 2] {
        [&mut self.client, &mut self.backend]
    }
}

impl<W: Watch> Conversation<W> {
    /// Begins with two connections that have nothing more to do than to carry bytes.
    pub fn new(mut client: Leg, mut backend: Leg, watch: W) -> Self {
        client.forget_opening();
        backend.forget_opening();
        Self {
            client,
            backend,
            up: Flow::Moving,
            down: Flow::Moving,
            first: First::Neither,
            watch,
        }
    }

    /// Returns whether both sides have said all that they had to say.
    pub fn is_over(&self) -> bool {
        (self.up, self.down) == (Flow::Over, Flow::Over)
    }

    /// Notes which side was the first to end its direction, by how far both had come `before`.
    pub(super) fn note_first(&mut self, before: (Flow, Flow)) {
        if before == (Flow::Moving, Flow::Moving) && matches!(self.first, First::Neither) {
            match (self.up, self.down) {
                (Flow::Over, Flow::Moving) => self.first = First::Client,
                (Flow::Moving, Flow::Over) => self.first = First::Backend,
                _ => {}
            }
        }
    }
}

impl Conversation<Watcher> {
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

/// How far one direction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Bytes may come yet.
    Moving,
    /// The side that sends has ended, and the other was told.
    Over,
}

/// Which side ended its direction first.
#[derive(Debug)]
pub enum First {
    /// None has, or both did at once.
    Neither,
    /// The client.
    Client,
    /// The backend.
    Backend,
    /// The backend, to which nothing more could be written.
    BackendFailed(LegError),
}
