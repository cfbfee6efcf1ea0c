//! A login at a database of MySQL that is not decided, and must not just break off.

use tokio::{runtime::Handle, time::timeout_at};
use tracing::{debug, field::display};

use super::{begin_tls, reader::Reader, server_packet};
use crate::{
    protocol::mysql::{
        auth::Exchange,
        greeting::{Greeting, ServerFirst},
        login::Login,
        parting::{CLIENT_LEFT, Next, Parting},
    },
    worker::{backends::BackendError, connect::Target, deadline::Deadline},
};

/// A connection to a database whose login is not decided. If it is dropped before that, a task of its own
/// brings the login to an end, because databases count those that just break off.
pub(super) struct PendingLogin {
    open: Option<(Target, Reader)>,
    stage: Stage,
}

/// How far a login has come.
enum Stage {
    /// The database is connected, and has not greeted.
    Connected,
    /// The database has greeted, and waits for the login.
    Greeted(Box<Greeting>),
    /// The login is on its way.
    Begun(Box<Exchange>),
    /// There is no login any more, or none that another task could go on with.
    Nothing,
}

impl PendingLogin {
    /// Starts before the database has greeted.
    pub(super) fn new(target: Target, backend: Reader) -> Self {
        Self {
            open: Some((target, backend)),
            stage: Stage::Connected,
        }
    }

    /// Returns the database.
    pub(super) fn backend(&mut self) -> &mut Reader {
        &mut self.open.as_mut().expect("it is there until the end").1
    }

    /// Returns which database it is.
    pub(super) fn target(&self) -> &Target {
        &self.open.as_ref().expect("it is there until the end").0
    }

    /// Notes that the database waits for a login.
    pub(super) fn greeted(&mut self, greeting: &Greeting) {
        self.stage = Stage::Greeted(Box::new(greeting.clone()));
    }

    /// Notes that the database has said what cannot be answered.
    pub(super) fn is_over(&mut self) {
        self.stage = Stage::Nothing;
    }

    /// Begins TLS, which no other task can go on with once it has been asked for.
    pub(super) async fn begin_tls(
        &mut self,
        deadline: Deadline,
        greeting: &Greeting,
        login: &Login<'_>,
    ) -> Result<(), BackendError> {
        let stage = std::mem::replace(&mut self.stage, Stage::Nothing);
        let (target, backend) = self.open.as_mut().expect("it is there until the end");
        let begun = begin_tls(target, deadline, greeting, login, backend).await;
        if begun.is_ok() || !greeting.has_tls() {
            self.stage = stage;
        }
        begun
    }

    /// Notes that a login is on its way, and returns what carries it.
    pub(super) fn begun(&mut self, exchange: Exchange) -> (&mut Reader, &mut Exchange) {
        let Self { open, stage } = self;
        *stage = Stage::Begun(Box::new(exchange));
        match (open, stage) {
            (Some((_, backend)), Stage::Begun(exchange)) => (backend, exchange),
            _ => unreachable!("both were just there"),
        }
    }

    /// Ends it: the client has been let in.
    pub(super) fn into_backend(mut self) -> Reader {
        self.stage = Stage::Nothing;
        self.open.take().expect("it is there until the end").1
    }
}

impl Drop for PendingLogin {
    fn drop(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Nothing);
        if let (Some((target, backend)), Ok(runtime)) = (self.open.take(), Handle::try_current())
            && !matches!(stage, Stage::Nothing)
        {
            let tasks = target.context.tasks.clone();
            tasks.spawn_on(part(target, backend, stage), &runtime);
        }
    }
}

/// Brings a login to an end that no client waits for.
async fn part(mut target: Target, mut backend: Reader, stage: Stage) {
    let deadline = Deadline::after(target.context.limits().connect_timeout);
    let parting = finish(&mut target, deadline, &mut backend, stage);
    if let Ok(Err(error)) = timeout_at(deadline.at(), parting).await {
        let backend = display(target.address());
        debug!(
            backend,
            "a login that its client gave up has not come to its end: {error}"
        );
    }
}

async fn finish(
    target: &mut Target,
    deadline: Deadline,
    backend: &mut Reader,
    stage: Stage,
) -> Result<(), BackendError> {
    let mut parting = match stage {
        Stage::Nothing => return Ok(()),
        Stage::Connected => {
            let first = server_packet(backend).await?;
            match ServerFirst::parse(&first.payload) {
                Ok(ServerFirst::Greeting(greeting)) => {
                    log_in(target, deadline, backend, &greeting).await?
                }
                Ok(ServerFirst::Error(_)) | Err(_) => return Ok(()),
            }
        }
        Stage::Greeted(greeting) => log_in(target, deadline, backend, &greeting).await?,
        Stage::Begun(exchange) => match exchange.give_up() {
            None => return Ok(()),
            Some((parting, words)) => {
                backend.leg.send(&words).await?;
                parting
            }
        },
    };
    loop {
        let heard = server_packet(backend).await?;
        match parting.hear(heard.as_packet()) {
            Next::Answer(words) => backend.leg.send(&words).await?,
            Next::Close(words) => {
                backend.leg.send(words).await?;
                return Ok(backend.leg.close().await?);
            }
        }
    }
}

/// Logs in as a user that does not exist.
async fn log_in(
    target: &mut Target,
    deadline: Deadline,
    backend: &mut Reader,
    greeting: &Greeting,
) -> Result<Parting, BackendError> {
    let payload = Parting::login(greeting, CLIENT_LEFT);
    let login = Login::parse(&payload).map_err(BackendError::violation)?;
    // Without TLS it is refused as well, and hides nothing.
    if backend.leg.tls().is_none() && greeting.has_tls() {
        begin_tls(target, deadline, greeting, &login, backend).await?;
    }
    let tls = backend.leg.tls().is_some();
    let mut words = Vec::new();
    login.write(if tls { 2 } else { 1 }, tls, &mut words);
    backend.leg.send(&words).await?;
    Ok(Parting::new(login.plugin().unwrap_or_default()))
}
