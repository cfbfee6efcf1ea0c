//! A client that waits for its answer, and its connection, which a successor can go on with.

use std::{
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream as Blocking,
    },
    time::Duration,
};

use tokio::{net::UnixStream, sync::OwnedSemaphorePermit, time::timeout};
use tracing::{debug, warn};

use super::{Answer, MAX_ANSWER, Request, encode};
use crate::control::{access::Peer, wire};

/// How long a client may take to read its answer.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// A request of the fixed part, for the supervisor's loop to answer.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Who asks.
    pub peer: Peer,
    /// Where the answer goes.
    pub asker: Asker,
}

/// A client that waits for its answer. Its connection closes when it has been answered, or this is dropped.
///
/// The connection is one descriptor and has no other state, so that a successor that gets the descriptor can
/// answer.
#[derive(Debug)]
pub struct Asker {
    connection: OwnedFd,
    /// Its place among the connections that the daemon serves at one time.
    _place: Option<OwnedSemaphorePermit>,
}

impl Asker {
    /// Takes a connection whose request was read, and its place.
    pub(in crate::control) fn new(connection: OwnedFd, place: OwnedSemaphorePermit) -> Self {
        Self {
            connection,
            _place: Some(place),
        }
    }

    /// Takes the connection of a client whose request was read by a predecessor.
    #[must_use]
    pub fn carried(connection: OwnedFd) -> Self {
        Self {
            connection,
            _place: None,
        }
    }

    /// Returns the connection, for a successor to go on with.
    #[must_use]
    pub fn connection(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }

    /// Answers, and closes the connection. Must run in a [`tokio::task::LocalSet`]; does not wait.
    pub fn answer(self, answer: Answer) {
        tokio::task::spawn_local(self.deliver(answer));
    }

    /// Answers, and waits until that is written, for at most 10 s.
    pub async fn deliver(self, answer: Answer) {
        match timeout(WRITE_DEADLINE, self.write(answer)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "control client gone"),
            Err(_) => warn!("a control client does not read its answer"),
        }
    }

    async fn write(self, answer: Answer) -> Result<(), wire::WireError> {
        let body = encode(&answer)?;
        let connection = Blocking::from(self.connection);
        connection.set_nonblocking(true)?;
        let mut connection = UnixStream::from_std(connection)?;
        wire::write_frame(&mut connection, &body, MAX_ANSWER).await
    }
}
