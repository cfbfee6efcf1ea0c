//! A child process: its link, its log lines and its end.

use std::{
    io::{self, ErrorKind},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinHandle,
    time::{sleep_until, timeout},
};
use tracing::warn;

use super::{Id, Inbox, Launched, Message, along::Turns, log_copy::copy_log, pace::Pace};
use crate::{
    children::End,
    link::{
        self, Fault,
        end::{self, Receiver, Sender},
    },
    sys::{
        child::{Handle, Started},
        own_children::Listed,
    },
    telemetry::log::Sink,
};

/// How long reading a child's last messages may take after its end.
pub(super) const LAST_MESSAGES: Duration = Duration::from_millis(500);

/// Messages on their way to a child. The supervisor kills a child that lets them become more.
pub(super) const OUTBOX: usize = 4096;

/// The most messages that are taken from a child in a second.
const MOST_MESSAGES: u64 = 20_000;

/// The most bytes of messages that are taken from a child in a second: to read them takes a few hundredths
/// of one.
const MOST_BYTES: u64 = 4 << 20;

/// A child process that receives messages of the type `Out`, from the request to start it to its end.
#[derive(Debug)]
pub struct Process<Out> {
    /// When it was requested, to show it.
    pub started_at: Timestamp,
    /// When it was requested, to compute with it.
    pub started: Instant,
    pub(super) life: Life<Out>,
}

/// How far the start of a process has come.
#[derive(Debug)]
pub(super) enum Life<Out> {
    /// It is being started; `killed` if it is to be killed as soon as that is done.
    Starting { killed: bool },
    /// It was started.
    Running(Voice<Out>),
}

/// Sends messages to a child that was started. A task keeps a clone to send the child its result later.
#[derive(Debug)]
pub struct Voice<Out> {
    pub(super) pid: u32,
    pub(super) handle: Handle,
    pub(super) outbox: mpsc::Sender<Parcel<Out>>,
}

impl<Out> Clone for Voice<Out> {
    fn clone(&self) -> Self {
        Self {
            pid: self.pid,
            handle: self.handle.clone(),
            outbox: self.outbox.clone(),
        }
    }
}

/// A message on its way to a child.
#[derive(Debug)]
pub(super) struct Parcel<Out> {
    message: Out,
    along: Vec<Arc<OwnedFd>>,
}

impl<Out: link::Message + 'static> Process<Out> {
    /// Makes the record of a child that is being started.
    pub fn starting() -> Self {
        Self {
            started_at: Timestamp::now(),
            started: Instant::now(),
            life: Life::Starting { killed: false },
        }
    }

    /// Takes the process that was started and forwards its messages and its end to `inbox`; returns
    /// `false` if the child was killed meanwhile. Must be called in a [`tokio::task::LocalSet`].
    pub fn run<In: link::Message + 'static>(
        &mut self,
        id: Id,
        launched: Launched,
        sink: &Sink,
        inbox: &Inbox<In>,
    ) -> io::Result<bool> {
        let Launched {
            mut started,
            link,
            listed,
        } = launched;
        let killed = matches!(self.life, Life::Starting { killed: true });
        let (pid, handle) = (started.pid, started.handle());
        let stderr = started.stderr.take();
        let (outbox, parcels) = mpsc::channel(OUTBOX);
        self.life = Life::Running(Voice {
            pid,
            handle: handle.clone(),
            outbox,
        });
        let opened = end::open::<In, Out>(link);
        let (heard, opened) = match opened {
            Ok((receiver, sender)) if !killed => {
                tokio::task::spawn_local(send(sender, parcels, (pid, handle.clone())));
                let hearing = receive(receiver, (id, pid, handle), inbox.clone());
                (Some(tokio::task::spawn_local(hearing)), Ok(()))
            }
            opened => (None, opened.map(drop)),
        };
        tokio::task::spawn_local(await_end((started, listed), heard, id, inbox.clone()));
        if killed {
            self.kill();
            return Ok(false);
        }
        if let Some(stderr) = stderr {
            tokio::task::spawn_local(copy_log(stderr, pid, sink.clone()));
        }
        opened.map(|()| true)
    }

    /// Returns its process id; `None` while it is being started.
    pub fn pid(&self) -> Option<u32> {
        match &self.life {
            Life::Starting { .. } => None,
            Life::Running(voice) => Some(voice.pid),
        }
    }

    /// Sends a message after those sent before; a child that is being started gets none.
    pub fn send(&self, message: Out) {
        self.send_with(message, Vec::new());
    }

    /// Sends a message with the descriptors that belong to it.
    pub fn send_with(&self, message: Out, along: Vec<Arc<OwnedFd>>) {
        if let Some(voice) = self.voice() {
            voice.send_with(message, along);
        }
    }

    /// Returns what sends messages to the child; `None` while it is being started.
    pub fn voice(&self) -> Option<&Voice<Out>> {
        match &self.life {
            Life::Starting { .. } => None,
            Life::Running(voice) => Some(voice),
        }
    }

    /// Returns whether the supervisor has killed it.
    pub fn was_killed(&self) -> bool {
        match &self.life {
            Life::Starting { killed } => *killed,
            Life::Running(voice) => voice.handle.has_killed(),
        }
    }

    /// Kills the child, now or as soon as it was started.
    pub fn kill(&mut self) {
        match &mut self.life {
            Life::Starting { killed } => *killed = true,
            Life::Running(voice) => voice.handle.kill(),
        }
    }
}

impl<Out> Voice<Out> {
    /// Sends a message after those sent before, with the descriptors that belong to it.
    pub fn send_with(&self, message: Out, along: Vec<Arc<OwnedFd>>) {
        let parcel = Parcel { message, along };
        if let Err(TrySendError::Full(_)) = self.outbox.try_send(parcel) {
            warn!(
                pid = self.pid,
                "a child process does not read what the supervisor tells it; the supervisor kills it"
            );
            self.handle.kill();
        }
    }
}

/// Sends a child what it is told, until it has ended. A child that can be told nothing any more is killed,
/// because it would go on with what it was told before.
pub(super) async fn send<Out: link::Message>(
    sender: Sender<Out>,
    mut parcels: mpsc::Receiver<Parcel<Out>>,
    (pid, handle): (u32, Handle),
) {
    while let Some(Parcel { message, along }) = parcels.recv().await {
        let along: Vec<_> = along.iter().map(AsFd::as_fd).collect();
        match sender.send(&message, &along).await {
            Ok(()) => {}
            Err(Fault::Io(error)) => {
                let has_ended = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
                if !has_ended.contains(&error.kind()) {
                    warn!(pid, %error, "the supervisor cannot send to a child process, and kills it");
                    handle.kill();
                }
                return;
            }
            // It was not sent, and the link is as it was.
            Err(fault) => warn!(%fault, "the supervisor could not send a child process a message"),
        }
    }
}

/// Forwards what a child says, at a bounded pace, until it has ended. A child that breaks the link is
/// killed, because no message of it can be believed any more.
pub(super) async fn receive<In: link::Message>(
    mut receiver: Receiver<In>,
    (id, pid, handle): (Id, u32, Handle),
    inbox: Inbox<In>,
) {
    let mut messages = Pace::new(MOST_MESSAGES, Instant::now());
    let mut bytes = Pace::new(MOST_BYTES, Instant::now());
    let turns = Turns::new();
    loop {
        match receiver.receive().await {
            Ok(Some(said)) => {
                wait(&mut messages, 1).await;
                wait(&mut bytes, said.bytes as u64).await;
                let along = turns.wait(said.descriptors).await;
                let message = Message::Said(id, said.message, along);
                if inbox.send(message).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(fault) => {
                warn!(
                    pid,
                    "a child process broke its link; the supervisor kills it: {fault}"
                );
                handle.kill();
                return;
            }
        }
    }
}

/// Waits until so much of something may be taken from a child.
async fn wait(pace: &mut Pace, amount: u64) {
    while let Err(later) = pace.take(amount, Instant::now()) {
        sleep_until(later.into()).await;
    }
}

/// Waits for a child's end, and reports it after the child's last message.
async fn await_end<In>(
    (started, listed): (Started, Listed),
    heard: Option<JoinHandle<()>>,
    id: Id,
    inbox: Inbox<In>,
) {
    let end = End::from(started.wait_with_group().await);
    drop(listed);
    if let Some(mut heard) = heard {
        // With a deadline, because a descendant of the child may hold the link open.
        if timeout(LAST_MESSAGES, &mut heard).await.is_err() {
            heard.abort();
        }
    }
    let _ = inbox.send(Message::Exited(id, end)).await;
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::{
        children,
        link::{FromWorker, ToWorker},
        sys::own_children::OwnChildren,
        telemetry::log::{Form, Place},
    };

    #[test]
    fn a_process_that_was_killed_while_it_was_being_started_ends_when_it_is_there() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (inbox, mut messages) = children::inbox::<FromWorker>();
            let mut process = Process::<ToWorker>::starting();
            assert_eq!(process.pid(), None);
            process.kill();
            let started = Started::spawn(Command::new("sleep").arg("60")).unwrap();
            let launched = Launched {
                listed: OwnChildren::default().add(started.pid),
                started,
                link: end::pair().unwrap().0,
            };
            let sink = Sink::new(Place::open("/dev/null".as_ref()).unwrap(), Form::Text).unwrap();
            let lives = process.run(Id(7), launched, &sink, &inbox).unwrap();
            assert!(!lives && process.pid().is_some() && process.was_killed());
            let ended = messages.recv().await.unwrap();
            assert!(matches!(ended, Message::Exited(Id(7), End::Signal(9))));
        });
    }
}
