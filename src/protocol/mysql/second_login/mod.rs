//! A client that logs in again within its session.
//!
//! [`SecondLogin`] watches commands by [`CommandWatch`] until a `COM_CHANGE_USER` comes, reads that packet,
//! and carries the login by [`Exchange`](super::auth::Exchange) until the database has decided. Then the
//! session goes on, whatever the decision was: whether it ends after an ERR is the database's business.
//!
//! ```text
//!            a change of user is sighted          it is whole
//! Watching ------------------------------> Reading ----------> Carrying
//!     ^                                                            |
//!     +---------------- the database has said OK or ERR -----------+
//! ```
//!
//! Source: "`COM_CHANGE_USER`" in the MySQL source documentation.

mod carrying;
mod error;
mod kept;
mod reading;

use std::time::Duration;

use self::carrying::Carrying;
pub use self::error::SecondLoginError;
use self::reading::Reading;
use super::auth::{Session, Step, Then};
use super::command::CommandWatch;
use super::error::ErrorPacket;
use super::incoming::Incoming;
use crate::protocol::bytes::Reader;
use crate::protocol::sealing::SealError;
use crate::protocol::watch::{
    Awaited, Failed, Fault, Malformed, Output, Pass, Side, TooLong, Wants, Watch,
};

/// How a second login has ended its session.
type Failure = Failed<SecondLoginError>;

/// Watches a session of MySQL for second logins, and carries them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecondLogin {
    patience: Duration,
    state: State,
}

/// How far a second login has come. What is rare is boxed, so that an idle session is small.
#[derive(Clone, Debug, Eq, PartialEq)]
enum State {
    /// There is none.
    Watching(Session, CommandWatch),
    /// Its first packet comes.
    Reading(Box<Reading>),
    /// It is carried.
    Carrying(Box<Carrying>),
}

impl SecondLogin {
    /// Begins to watch a session that has just logged in, and allows this long for each login.
    ///
    /// The session must not be compressed: see [`CommandWatch::can_watch`].
    #[must_use]
    pub fn new(session: Session, patience: Duration) -> Self {
        Self {
            patience: patience.min(kept::LONGEST_PATIENCE),
            state: State::Watching(session, CommandWatch::default()),
        }
    }

    /// Does what a step of the login asks for.
    fn apply(&mut self, step: Step) -> Result<Output, Failure> {
        let State::Carrying(carrying) = &mut self.state else {
            return Ok(Output::default());
        };
        let mut output = Output {
            to_client: step.to_client,
            to_server: step.to_server,
            user: None,
        };
        match step.then {
            Then::Continue => return Ok(output),
            Then::Encrypt(sealing) => {
                carrying.sealing = Some(sealing);
                return Ok(output);
            }
            Then::Refused(refusal) => {
                return Err(Failed {
                    to_client: output.to_client,
                    fault: Fault::Client(refusal.into()),
                });
            }
            Then::Accepted => output.user = Some(std::mem::take(&mut carrying.user)),
            Then::Rejected => {}
        }
        let (session, begun) = carrying.end();
        self.state = State::go_on(session, begun, &mut output);
        Ok(output)
    }
}

impl State {
    /// Goes on after a login, with what the client has begun to send before that was over.
    fn go_on(session: Session, begun: Incoming, output: &mut Output) -> Self {
        let mut watch = CommandWatch::default();
        if let Some(sighting) = watch.feed(begun.bytes()) {
            return Self::Reading(Box::new(Reading::begun(session, sighting, begun)));
        }
        output.to_server.extend_from_slice(begun.bytes());
        Self::Watching(session, watch)
    }
}

impl Watch for SecondLogin {
    type Error = SecondLoginError;

    const MAX_ENCODED: usize = kept::MAX_ENCODED;

    fn pass(&mut self, from: Side, bytes: &[u8]) -> Pass {
        let State::Watching(session, watch) = &mut self.state else {
            return Pass::Until(0);
        };
        match from {
            Side::Server => watch.hear(bytes),
            Side::Client => {
                if let Some(sighting) = watch.feed(bytes) {
                    let reading = Reading::new(*session, sighting);
                    self.state = State::Reading(Box::new(reading));
                    return Pass::Until(sighting.at);
                }
            }
        }
        Pass::All
    }

    fn wants(&self) -> Wants<'_> {
        match &self.state {
            State::Watching(..) => Wants::Nothing,
            State::Reading(_) => Wants::Bytes(Awaited {
                client: true,
                server: false,
            }),
            State::Carrying(carrying) => carrying.wants(),
        }
    }

    fn take(&mut self, from: Side, bytes: &[u8]) -> Result<(usize, Output), Failure> {
        if !self.wants().awaits(from) || bytes.is_empty() {
            return Ok((0, Output::default()));
        }
        let (taken, step) = match &mut self.state {
            State::Watching(..) => return Ok((0, Output::default())),
            State::Carrying(carrying) => carrying.take(from, bytes)?,
            State::Reading(reading) => {
                let (taken, begun) = reading.take(bytes)?;
                let step = begun.map(|(carrying, step)| {
                    self.state = State::Carrying(Box::new(carrying));
                    step
                });
                (taken, step)
            }
        };
        let output = step.map(|step| self.apply(step)).transpose()?;
        Ok((taken, output.unwrap_or_default()))
    }

    fn sealed(&mut self, sealed: Result<Vec<u8>, SealError>) -> Result<Output, Failure> {
        match &mut self.state {
            State::Carrying(carrying) if carrying.sealing.is_some() => {
                let step = carrying.sealed(sealed)?;
                self.apply(step)
            }
            _ => Ok(Output::default()),
        }
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn late(&mut self) -> Failure {
        let (side, to_client) = match &mut self.state {
            State::Watching(..) => (Side::Client, Vec::new()),
            State::Reading(_) => (Side::Client, first_answer(&ErrorPacket::client_too_slow())),
            State::Carrying(carrying) => carrying.run_out(),
        };
        Failed {
            to_client,
            fault: Fault::Late(side),
        }
    }

    fn last_words(&mut self) -> Vec<u8> {
        let error = ErrorPacket::backend_failed();
        match &mut self.state {
            State::Watching(..) => Vec::new(),
            State::Reading(_) => first_answer(&error),
            State::Carrying(carrying) => carrying.last_words(&error),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        kept::encode(self, out)
    }

    fn decode(bytes: &[u8]) -> Result<(Self, usize), Malformed> {
        let mut reader = Reader::new(bytes);
        let decoded = kept::decode(&mut reader).ok_or(Malformed)?;
        Ok((decoded, bytes.len() - reader.rest().len()))
    }
}

/// Returns the packet that answers a client's command with an error.
fn first_answer(error: &ErrorPacket) -> Vec<u8> {
    answer(1, error)
}

/// Returns the packet of this number with an error.
fn answer(seq: u8, error: &ErrorPacket) -> Vec<u8> {
    let mut words = Vec::new();
    error.write(seq, &mut words);
    words
}

/// Ends a session for what the client did, of which it is told in a packet of this number.
fn refuse(seq: u8, error: &ErrorPacket, reason: impl Into<SecondLoginError>) -> Failure {
    Failed {
        to_client: answer(seq, error),
        fault: Fault::Client(reason.into()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
