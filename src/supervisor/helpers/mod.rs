//! The helper processes: one that resolves the names of backends for workers, and one that serves the
//! metrics page. They hold no key and serve no client; the daemon goes on while one is replaced.

mod backends;
mod page;
mod upkeep;

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

pub(super) use self::page::{Page, PageMessage, bind as bind_page};
use self::{
    backends::Backends,
    upkeep::{Order, Upkeep},
};
use super::{plan::WorkerId, workers::Workers};
use crate::{
    children::{self, End, Id, Inbox, Launched, Launcher, Process, Role},
    config::Config,
    link::{self, FromPage, FromResolver, ToResolver, end},
    sys::reserve::Reserve,
    telemetry::log::Sink,
};

/// Descriptors kept back for the links between workers and the resolver.
const KEPT_BACK: usize = 2;

/// What happens to the resolver.
pub(super) type ResolverMessage = children::Message<FromResolver>;

/// A helper process that sends messages of the type `In` and receives those of the type `Out`.
#[derive(Debug)]
pub(super) struct Helper<In, Out> {
    role: Role,
    upkeep: Upkeep,
    process: Option<Process<Out>>,
    /// How many bytes of memory the process takes, as it says.
    resident: Option<u64>,
    launcher: Launcher,
    sink: Sink,
    inbox: Inbox<In>,
}

impl<In: link::Message + Send + 'static, Out: link::Message + 'static> Helper<In, Out> {
    /// Keeps a helper of this role, which the first [`Self::tick`] starts.
    pub(super) fn new(role: Role, launcher: Launcher, sink: Sink, inbox: Inbox<In>) -> Self {
        Self {
            role,
            upkeep: Upkeep::new(),
            process: None,
            resident: None,
            launcher,
            sink,
            inbox,
        }
    }

    /// Returns when [`Self::tick`] is due.
    pub(super) fn due(&self, patience: Duration) -> Option<Duration> {
        self.upkeep.due(patience)
    }

    /// Starts the process, or kills it if it was silent for `patience`, as is due now.
    pub(super) fn tick(&mut self, now: Duration, patience: Duration) {
        match self.upkeep.tick(now, patience) {
            Some(Order::Start(id)) => {
                self.process = Some(Process::starting());
                self.launcher.launch(id, self.role, self.inbox.clone());
            }
            Some(Order::Kill(_)) => {
                let role = self.role.name();
                warn!(
                    "the {role} has sent no sign of life for {} s; the supervisor kills it",
                    patience.as_secs_f64()
                );
                self.kill();
            }
            None => {}
        }
    }

    /// Takes the process that was started; returns whether there is one now.
    pub(super) fn launched(&mut self, id: Id, launched: io::Result<Launched>) -> bool {
        let is_known = self.upkeep.id() == Some(id);
        let Some(process) = self.process.as_mut().filter(|_| is_known) else {
            return false;
        };
        match launched.and_then(|it| process.run(id, it, &self.sink, &self.inbox)) {
            Ok(runs) => runs,
            Err(error) => {
                error!(%error, "the {} could not be started", self.role.name());
                if process.pid().is_some() {
                    process.kill();
                } else {
                    let inbox = self.inbox.clone();
                    let exited = children::Message::Exited(id, End::NotStarted);
                    tokio::task::spawn_local(async move { inbox.send(exited).await });
                }
                false
            }
        }
    }

    /// Notes that the process of this id is alive.
    pub(super) fn heard(&mut self, id: Id) {
        self.upkeep.heard(id);
    }

    /// Notes how much memory the process of this id takes, in bytes.
    pub(super) fn takes(&mut self, id: Id, resident: u64) {
        if self.upkeep.id() == Some(id) {
            self.resident = Some(resident);
        }
    }

    /// Returns the id of its process, when that started and how many bytes of memory it takes.
    pub(super) fn running(&self) -> Option<(u32, Timestamp, Option<u64>)> {
        let process = self.process()?;
        Some((process.pid()?, process.started_at, self.resident))
    }

    /// Notes the end of the process of this id; returns a sentence about it for the operator, unless the
    /// process asked for it.
    pub(super) fn exited(&mut self, id: Id, end: End, now: Duration) -> Option<String> {
        let asked = end == End::Code(link::child::ANEW.into());
        let wait = self.upkeep.exited(id, asked, now)?;
        self.resident = None;
        let pid = self.process.take().and_then(|it| it.pid());
        let role = self.role.name();
        let when = match wait {
            Duration::ZERO => "at once".to_owned(),
            wait => format!("in {} ms", wait.as_millis()),
        };
        if asked {
            info!(
                pid,
                "the {role} asked to be started anew, which is done {when}"
            );
            return None;
        }
        let message = format!("The {role} {end}; the next one is started {when}.");
        error!(pid, "{message}");
        Some(message)
    }

    /// Returns its process, once it was started.
    pub(super) fn process(&self) -> Option<&Process<Out>> {
        self.process.as_ref().filter(|it| it.pid().is_some())
    }

    /// Returns the process of this id, if it is the one that runs.
    fn process_of(&self, id: Id) -> Option<&Process<Out>> {
        let is_it = self.upkeep.id() == Some(id);
        self.process().filter(|_| is_it)
    }

    /// Kills the process for good, and waits until it has ended.
    async fn end(&mut self, messages: &mut mpsc::Receiver<children::Message<In>>) {
        self.kill();
        while self.process.is_some() {
            match messages.recv().await {
                Some(children::Message::Launched(id, launched)) => {
                    self.launched(id, launched);
                }
                Some(children::Message::Exited(id, _)) if self.upkeep.id() == Some(id) => {
                    self.process = None;
                }
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Kills the process.
    pub(super) fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }
}

/// The helper processes.
#[derive(Debug)]
pub(super) struct Helpers {
    /// The one that finds backends for workers.
    pub(super) resolver: Helper<FromResolver, ToResolver>,
    backends: Backends,
    /// The one that serves the metrics page; `None` if the configuration has none.
    pub(super) page: Option<Page>,
    /// For the links between workers and the resolver, of which the supervisor keeps no end.
    reserve: Reserve,
}

impl Helpers {
    /// Keeps the helpers, which the first [`Self::tick`] starts; one for the page if it has a socket.
    pub(super) fn new(
        launcher: &Launcher,
        sink: &Sink,
        resolver: Inbox<FromResolver>,
        (socket, page): (Option<TcpListener>, Inbox<FromPage>),
    ) -> Self {
        let shared = || (launcher.clone(), sink.clone());
        let (launcher, sink) = shared();
        Self {
            resolver: Helper::new(Role::Resolver, launcher, sink, resolver),
            backends: Backends::default(),
            page: socket.map(|socket| {
                let (launcher, sink) = shared();
                Page::new(socket, launcher, sink, page)
            }),
            reserve: Reserve::new(KEPT_BACK),
        }
    }

    /// Notes which configuration is in force and which is made ready, so that the resolver answers for
    /// their backends.
    pub(super) fn follow(&mut self, now: Duration, current: &Config, staged: Option<&Config>) {
        if self.backends.follow(now, current, staged) {
            self.tell_backends();
        }
    }

    fn tell_backends(&self) {
        if let Some(resolver) = self.resolver.process() {
            for message in self.backends.messages() {
                resolver.send(message);
            }
        }
    }

    /// Takes the resolver that was started, and links all workers to it.
    pub(super) fn resolver_launched(
        &mut self,
        id: Id,
        launched: io::Result<Launched>,
        workers: &mut Workers,
    ) {
        if self.resolver.launched(id, launched) {
            self.tell_backends();
            self.join(workers, None);
        }
    }

    /// Returns when [`Self::tick`] is due.
    pub(super) fn due(&self, patience: Duration) -> Option<Duration> {
        let page = self.page.as_ref();
        let page = page.and_then(|page| page.helper.due(patience));
        [self.resolver.due(patience), page, self.backends.due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Starts and kills what is due now; a helper may be silent for `patience`.
    pub(super) fn tick(&mut self, now: Duration, patience: Duration) {
        self.resolver.tick(now, patience);
        if self.backends.expire(now) {
            self.tell_backends();
        }
        if let Some(page) = &mut self.page {
            page.tick(now, patience);
        }
        self.reserve.fill();
    }

    /// Kills all helpers for good, and waits until they have ended: the page shares its port, which the next
    /// daemon needs.
    pub(super) async fn end(
        &mut self,
        resolver: &mut mpsc::Receiver<ResolverMessage>,
        page: &mut mpsc::Receiver<PageMessage>,
    ) {
        let pages = async {
            if let Some(helper) = self.page.as_mut().map(|page| &mut page.helper) {
                helper.end(page).await;
            }
        };
        tokio::join!(self.resolver.end(resolver), pages);
    }

    /// Links a worker to the resolver that says it has lost it, unless it was linked a moment ago.
    pub(super) fn rejoin(&mut self, workers: &mut Workers, worker: WorkerId) {
        if workers.may_have_resolver(worker) {
            self.join(workers, Some(worker));
        }
    }

    /// Links a worker to the resolver, or every worker if none is named. One that cannot be linked now says
    /// that it needs to be with its next beats.
    pub(super) fn join(&mut self, workers: &mut Workers, worker: Option<WorkerId>) {
        let Some(resolver) = self.resolver.process() else {
            return;
        };
        let all = workers.running();
        let all = all.filter(|id| worker.is_none_or(|worker| worker == *id));
        for id in all.collect::<Vec<_>>() {
            match self.reserve.lend(end::pair) {
                Ok((theirs, other)) => {
                    resolver.send(ToResolver::MakeRoom);
                    let message = ToResolver::Worker { worker: id.0 };
                    resolver.send_with(message, vec![Arc::new(other)]);
                    workers.give_resolver(id, Arc::new(theirs));
                }
                Err(error) => error!(
                    %error, "a worker could not be connected to the resolver; the supervisor tries again"
                ),
            }
        }
    }
}
