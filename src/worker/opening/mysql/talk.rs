//! The packets of a login of MySQL, carried until the database has decided.

use std::error::Error;

use tokio::time::timeout_at;

use super::{reader::Reader, refused};
use crate::{
    config::Address,
    protocol::{
        mysql::{
            ErrorPacket,
            auth::{AuthError, Exchange, Step, Then, unsealable},
        },
        watch::Side,
    },
    session::{leg::LegError, lingering_close::lingering_close},
    tls::seal,
    worker::{
        backends::BackendError,
        deadline::{Deadline, Phase},
        opening::Failure,
    },
};

/// How a login is carried.
pub(super) struct Talk<'a> {
    /// Where the database is.
    pub(super) backend: &'a Address,
    /// When it must be decided.
    pub(super) deadline: Deadline,
}

/// Whether a login has more to say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Login {
    GoesOn,
    /// The database has let the client in.
    Over,
}

/// How a login came to nothing.
pub(super) struct Ending {
    /// Why.
    pub(super) failure: Failure,
    /// What the client has to be told yet.
    pub(super) words: Option<Vec<u8>>,
}

impl Ending {
    pub(super) fn new(failure: Failure, words: Vec<u8>) -> Self {
        Self {
            failure,
            words: Some(words),
        }
    }

    /// Tells the client what it has to be told yet, and returns why.
    pub(super) async fn tell(self, client: &mut Reader) -> Failure {
        if let Some(words) = self.words {
            lingering_close(&mut client.leg, &words).await;
        }
        self.failure
    }
}

impl Reader {
    /// Ends a login with an error in answer to the packet that the client sent last.
    pub(super) fn refuse(&self, error: &ErrorPacket, failure: Failure) -> Ending {
        let mut words = Vec::new();
        error.write(self.answer, &mut words);
        Ending::new(failure, words)
    }
}

/// The client knows already.
impl<F: Into<Failure>> From<F> for Ending {
    fn from(failure: F) -> Self {
        Self {
            failure: failure.into(),
            words: None,
        }
    }
}

/// Why a login ends without the database's decision.
enum Stop {
    /// For what the client did, of which it is told so.
    Client(Failure, ErrorPacket),
    /// For what the database did.
    Backend(BackendError),
    /// For a decision, of which the client is told by these words.
    Decided(Failure, Vec<u8>),
    /// For the end of the client's connection.
    Gone(Failure),
}

impl Talk<'_> {
    /// Carries packets until the login is decided.
    pub(super) async fn carry(
        &self,
        exchange: &mut Exchange,
        first: Step,
        client: &mut Reader,
        backend: &mut Reader,
    ) -> Result<(), Ending> {
        let carrying = self.carry_all(exchange, first, client, backend);
        let stop = match timeout_at(self.deadline.at(), carrying).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(stop)) => stop,
            Err(_) => return Err(self.late(exchange)),
        };
        Err(match stop {
            Stop::Gone(failure) => failure.into(),
            Stop::Client(failure, error) => client.refuse(&error, failure),
            Stop::Backend(error) => {
                let words = exchange.last_words(&ErrorPacket::backend_failed());
                Ending::new(Failure::of_backend(self.backend, error), words)
            }
            Stop::Decided(failure, words) => Ending::new(failure, words),
        })
    }

    /// Says that the deadline has passed, and whose fault that was.
    fn late(&self, exchange: &mut Exchange) -> Ending {
        let (side, words) = exchange.run_out();
        let late = self.deadline.late(Phase::LetIn);
        let failure = match side {
            Side::Client => late.into(),
            Side::Server => Failure::of_backend(self.backend, late),
        };
        Ending::new(failure, words)
    }

    async fn carry_all(
        &self,
        exchange: &mut Exchange,
        first: Step,
        client: &mut Reader,
        backend: &mut Reader,
    ) -> Result<(), Stop> {
        let mut step = first;
        loop {
            if self.apply(exchange, step, client, backend).await? == Login::Over {
                return Ok(());
            }
            step = self.next(exchange, client, backend).await?;
        }
    }

    /// Reads the next packet of a side that has something to say and gives it to the exchange.
    ///
    /// What a client sends before its turn is left for the relay.
    async fn next(
        &self,
        exchange: &mut Exchange,
        client: &mut Reader,
        backend: &mut Reader,
    ) -> Result<Step, Stop> {
        let is_client_s_turn = exchange.awaits_client();
        loop {
            let taken = backend.take();
            if let Some(packet) = taken.map_err(violation)? {
                let step = exchange.from_server(packet.as_packet());
                return step.map_err(violation);
            }
            if is_client_s_turn {
                let taken = client.take().map_err(|error| {
                    Stop::Client(refused(error), ErrorPacket::packet_too_large())
                })?;
                if let Some(packet) = taken {
                    return exchange.from_client(packet.as_packet()).map_err(broken);
                }
            }
            tokio::select! {
                read = backend.read() => read.map_err(lost)?,
                read = client.read(), if is_client_s_turn => {
                    read.map_err(|error| Stop::Gone(Failure::Client(error)))?;
                }
            }
        }
    }

    /// Sends what a step asks for; returns the decision about the login, once there is one.
    async fn apply(
        &self,
        exchange: &mut Exchange,
        mut step: Step,
        client: &mut Reader,
        backend: &mut Reader,
    ) -> Result<Login, Stop> {
        loop {
            if !step.to_server.is_empty() {
                let sent = backend.leg.send(&step.to_server).await;
                sent.map_err(lost)?;
            }
            match step.then {
                Then::Refused(reason) => {
                    return Err(Stop::Decided(refused(reason), step.to_client));
                }
                Then::Rejected => {
                    return Err(Stop::Decided(Failure::Denied, step.to_client));
                }
                Then::Accepted | Then::Continue | Then::Encrypt(_) => {
                    let sent = client.leg.send(&step.to_client).await;
                    sent.map_err(|error| Stop::Gone(Failure::Client(error)))?;
                }
            }
            match step.then {
                Then::Encrypt(sealing) => {
                    let sealed = seal::seal(&sealing.key, &sealing.message);
                    let sealed = sealed.map_err(|error| match unsealable(error) {
                        Some(told) => Stop::Client(refused(error), told),
                        None => violation(error),
                    })?;
                    step = exchange.encrypted(&sealed).map_err(broken)?;
                }
                Then::Accepted => return Ok(Login::Over),
                _ => return Ok(Login::GoesOn),
            }
        }
    }
}

/// Says that the database does not keep to the protocol.
fn violation(error: impl Error + Send + Sync + 'static) -> Stop {
    Stop::Backend(BackendError::violation(error))
}

/// Says that the connection to the database has failed.
fn lost(error: LegError) -> Stop {
    Stop::Backend(error.into())
}

/// Says what a client is told that does not keep to the protocol.
fn broken(error: AuthError) -> Stop {
    Stop::Client(refused(error), error.packet())
}
