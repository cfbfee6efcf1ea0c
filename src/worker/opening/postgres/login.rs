//! The login over two legs that are unlike.

use zeroize::Zeroizing;

use super::tell;
use crate::{
    protocol::postgres::login::{Binding, Login, Message, Refusal, Rules, Step},
    tls::stream::TlsStream,
    worker::{
        leg::Leg,
        opening::{Context, Failure, Phase, backend_failed, in_time, is_local, patience::blame},
    },
};

/// Returns what the legs of a session can carry.
pub(super) fn rules(context: &Context, client: &Leg, backend: &Leg) -> Rules {
    let listener = &context.service.listener;
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
            || is_local(context.backend()),
    }
}

/// A message, which may be a password.
type Words = Zeroizing<Vec<u8>>;

/// Whose messages are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// A login, and what was read of it but not dealt with.
struct Talk<'legs> {
    login: Login,
    client: &'legs mut Leg,
    backend: &'legs mut Leg,
    from_client: Zeroizing<Vec<u8>>,
    from_server: Vec<u8>,
    /// Who has to say something next.
    awaited: Side,
}

/// Carries a login up to the database's verdict, behind the start-up message, of which `startup` has
/// come.
pub(super) async fn log_in(
    context: &Context,
    rules: Rules,
    client: &mut Leg,
    backend: &mut Leg,
    startup: Vec<u8>,
    startup_len: usize,
) -> Result<(), Failure> {
    let mut talk = Talk {
        login: Login::new(rules),
        client,
        backend,
        from_client: Zeroizing::new(startup),
        from_server: Vec::new(),
        awaited: Side::Client,
    };
    let carrying = talk.carry(context, startup_len);
    if let Err(failure) = in_time(context, Phase::LetIn, carrying).await {
        return Err(blame(context, failure, talk.awaited == Side::Server));
    }
    talk.client.unread(&talk.from_client);
    talk.backend.unread(&talk.from_server);
    Ok(())
}

impl Talk<'_> {
    /// Carries the start-up message, and messages until the last one has passed.
    async fn carry(&mut self, context: &Context, startup_len: usize) -> Result<(), Failure> {
        while self.from_client.len() < startup_len {
            self.read_client().await?;
        }
        let startup: Vec<u8> = self.from_client.drain(..startup_len).collect();
        self.tell_server(context, &Zeroizing::new(startup)).await?;
        loop {
            while let Some((step, message)) = self.next(context, Side::Server)? {
                let last = step == Step::Last;
                let words = self.settle(step, message).await?;
                self.client.send(&words).await.map_err(Failure::Client)?;
                self.awaited = Side::Client;
                if last {
                    return Ok(());
                }
            }
            while let Some((step, message)) = self.next(context, Side::Client)? {
                let words = self.settle(step, message).await?;
                self.tell_server(context, &words).await?;
            }
            tokio::select! {
                read = self.backend.receive(&mut self.from_server) => {
                    read.map_err(|error| backend_failed(context, &error))?;
                }
                read = self.client.receive(&mut self.from_client) => {
                    read.map_err(Failure::Client)?;
                }
            }
        }
    }

    async fn tell_server(&mut self, context: &Context, words: &[u8]) -> Result<(), Failure> {
        self.awaited = Side::Server;
        let sent = self.backend.send(words).await;
        sent.map_err(|error| backend_failed(context, &error))
    }

    async fn read_client(&mut self) -> Result<(), Failure> {
        let read = self.client.receive(&mut self.from_client).await;
        read.map_err(Failure::Client)
    }

    /// Takes the next message of one side, if it is whole.
    fn next(&mut self, context: &Context, side: Side) -> Result<Option<(Step, Words)>, Failure> {
        let buffer = match side {
            Side::Client => &mut *self.from_client,
            Side::Server => &mut self.from_server,
        };
        let split = Message::split(buffer).map_err(|error| match side {
            Side::Client => Failure::Refused(error.to_string()),
            Side::Server => backend_failed(context, &error),
        })?;
        let Some((message, length)) = split else {
            return Ok(None);
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

    /// Returns what to pass on; tells the client if that is nothing.
    async fn settle(&mut self, step: Step, message: Words) -> Result<Words, Failure> {
        match step {
            Step::Pass | Step::Last => Ok(message),
            Step::Replace(other) => Ok(Zeroizing::new(other)),
            Step::Refuse(refusal) => Err(self.refuse(refusal).await),
        }
    }

    async fn refuse(&mut self, refusal: Refusal) -> Failure {
        tell(self.client, &refusal.response()).await;
        Failure::Refused(refusal.to_string())
    }
}
