//! The login, up to the database's verdict.

use zeroize::Zeroizing;

use super::tell;
use crate::{
    protocol::postgres::{
        ErrorResponse,
        login::{Binding, Login, Message, Rules, Side, Step},
        opening::startup_user,
    },
    session::leg::{Leg, LegError},
    tls::stream::TlsStream,
    worker::{
        backends::BackendError,
        connect::Target,
        deadline::{Deadline, Late, Phase},
        opening::{Context, Failure, is_local},
    },
};

/// Returns what the legs of a session can carry.
pub(super) fn rules(target: &Target, client: &Leg, backend: &Leg) -> Rules {
    let listener = &target.context.service.listener;
    let leaf = |leg: &Leg| leg.tls().map(TlsStream::leaf);
    let (shown, seen) = (leaf(client), leaf(backend));
    Rules {
        binding: match (shown, seen) {
            (None, Some(_)) => Binding::Hide,
            (Some(Some(shown)), Some(Some(seen))) if shown != seen => Binding::Refuse,
            _ => Binding::Pass,
        },
        let_passwords_through: listener.allow_cleartext_password
            || seen.is_some()
            || is_local(target.address()),
    }
}

/// A message, which may be a password.
type Words = Zeroizing<Vec<u8>>;

/// A login, and what was read of it but not dealt with.
struct Talk<'legs> {
    login: Login,
    client: &'legs mut Leg,
    backend: &'legs mut Leg,
    from_client: Zeroizing<Vec<u8>>,
    from_server: Vec<u8>,
    /// What the client has sent of its start-up message.
    startup: Vec<u8>,
    /// How many bytes it has yet to send of that.
    missing: usize,
    /// What to tell the client whose login is refused.
    last_words: Option<ErrorResponse>,
}

/// Why a login came to nothing.
pub(super) enum Stop {
    /// For what the backend did.
    Backend(BackendError),
    /// For what the client did, or did not.
    Client(Failure),
}

impl From<BackendError> for Stop {
    fn from(error: BackendError) -> Self {
        Self::Backend(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Client(failure)
    }
}

/// Whose fault it was is seen by who had to say something.
impl From<Late> for Stop {
    fn from(late: Late) -> Self {
        Self::Client(late.into())
    }
}

/// Carries a login up to the database's verdict, behind the start-up message, of which this has come and
/// so many bytes are missing.
pub(super) async fn log_in(
    context: &Context,
    deadline: Deadline,
    rules: Rules,
    (client, backend): (&mut Leg, &mut Leg),
    startup: &[u8],
    missing: usize,
) -> Result<(), Stop> {
    let mut talk = Talk {
        login: Login::new(rules),
        client,
        backend,
        from_client: Zeroizing::new(Vec::new()),
        from_server: Vec::new(),
        startup: startup.to_vec(),
        missing,
        last_words: None,
    };
    let carried = match deadline.in_time(Phase::Request, talk.begin(context)).await {
        Ok(()) => deadline.in_time(Phase::LetIn, talk.carry()).await,
        Err(stop) => Err(stop),
    };
    if let Err(stop) = carried {
        if let Some(error) = &talk.last_words {
            tell(talk.client, error).await;
        }
        return Err(match (stop, talk.awaited()) {
            // As `psql` does before it asks its user for the password.
            (Stop::Client(Failure::Client(LegError::Ended)), Side::Client) => {
                Failure::LeftLogin.into()
            }
            (Stop::Client(Failure::Late(late)), Side::Server) => Stop::Backend(late.into()),
            (stop, _) => stop,
        });
    }
    talk.client.unread(&talk.from_client);
    talk.backend.unread(&talk.from_server);
    Ok(())
}

impl Talk<'_> {
    /// Carries the rest of the start-up message, and notes the user that it names.
    async fn begin(&mut self, context: &Context) -> Result<(), Stop> {
        while self.missing > 0 {
            let read = self.client.receive(&mut self.from_client).await;
            read.map_err(Failure::Client)?;
            let length = self.missing.min(self.from_client.len());
            let part: Words = Zeroizing::new(self.from_client.drain(..length).collect());
            self.tell_server(&part).await?;
            self.startup.extend_from_slice(&part);
            self.missing -= length;
        }
        if let Some(user) = startup_user(&std::mem::take(&mut self.startup)) {
            context.session.logs_in(user);
        }
        Ok(())
    }

    /// Carries messages until the last one has passed.
    async fn carry(&mut self) -> Result<(), Stop> {
        loop {
            while let Some((step, message)) = self.next(Side::Server)? {
                let last = step == Step::Last;
                let words = self.settle(step, message)?;
                self.client.send(&words).await.map_err(Failure::Client)?;
                if last {
                    return Ok(());
                }
            }
            while let Some((step, message)) = self.next(Side::Client)? {
                let last = step == Step::Last;
                let words = self.settle(step, message)?;
                self.tell_server(&words).await?;
                if last {
                    return Ok(());
                }
            }
            tokio::select! {
                read = self.backend.receive(&mut self.from_server) => match read {
                    Ok(()) => {}
                    // Its last words, which it did not bring to an end.
                    Err(LegError::Ended)
                        if !self.from_server.is_empty() && self.login.tolerates_others() =>
                    {
                        return Ok(());
                    }
                    Err(error) => return Err(BackendError::from(error).into()),
                },
                read = self.client.receive(&mut self.from_client) => {
                    read.map_err(Failure::Client)?;
                }
            }
        }
    }

    /// Returns who has to say something next.
    fn awaited(&self) -> Side {
        if self.missing > 0 {
            Side::Client
        } else {
            self.login.awaited()
        }
    }

    async fn tell_server(&mut self, words: &[u8]) -> Result<(), BackendError> {
        Ok(self.backend.send(words).await?)
    }

    /// Takes the next message of one side, if it is whole.
    fn next(&mut self, side: Side) -> Result<Option<(Step, Words)>, Stop> {
        let buffer = match side {
            Side::Client => &mut *self.from_client,
            Side::Server => &mut self.from_server,
        };
        let split = match side {
            Side::Client => Message::split(buffer),
            Side::Server => Message::split_server(buffer),
        };
        let (message, length) = match split {
            Ok(Some(split)) => split,
            Ok(None) => return Ok(None),
            Err(_) if self.login.tolerates_others() => {
                return Ok(Some((Step::Last, Words::default())));
            }
            Err(error) if side == Side::Server => {
                return Err(BackendError::violation(error).into());
            }
            Err(error) => {
                self.last_words = Some(ErrorResponse::protocol_violation(error.to_string()));
                return Err(Failure::refused(error).into());
            }
        };
        let step = match side {
            Side::Client => self.login.from_client(message),
            Side::Server => self.login.from_server(message),
        };
        Ok(Some((
            step,
            Zeroizing::new(buffer.drain(..length).collect()),
        )))
    }

    /// Returns what to pass on.
    fn settle(&mut self, step: Step, message: Words) -> Result<Words, Failure> {
        match step {
            Step::Pass | Step::Last => Ok(message),
            Step::Replace(other) => Ok(Zeroizing::new(other)),
            Step::Refuse(refusal) => {
                self.last_words = Some(refusal.response());
                Err(Failure::refused(refusal))
            }
        }
    }
}
