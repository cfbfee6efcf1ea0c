//! Processes that another supervisor has started and that this one goes on with.

use std::{
    process::ChildStderr,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tracing::warn;

use super::{
    End, Id, Inbox, Message,
    log_copy::copy_log,
    process::{LAST_MESSAGES, Life, OUTBOX, Process, Voice, receive, send},
};
use crate::{
    link::{
        self,
        end::{Receiver, Sender},
    },
    sys::{child::Found, own_children::Listed},
    telemetry::log::Sink,
};

/// A process that another supervisor has started, and the link to it.
#[derive(Debug)]
pub struct Adopted<In, Out> {
    /// The process.
    pub found: Found,
    /// When it was started.
    pub started_at: Timestamp,
    /// What receives its messages.
    pub receiver: Receiver<In>,
    /// What sends it messages.
    pub sender: Sender<Out>,
    /// The pipe to which it writes its log lines from now on, if it could be given one.
    pub log: Option<ChildStderr>,
}

impl<Out: link::Message + 'static> Process<Out> {
    /// Goes on with a process that another supervisor has started: forwards its messages and its end to `inbox`. It is
    /// killed when the link to it is lost, because it would wait for another supervisor then. Must be called in a
    /// [`tokio::task::LocalSet`].
    pub fn adopt<In: link::Message + 'static>(
        id: Id,
        adopted: Adopted<In, Out>,
        listed: Listed,
        (sink, inbox): (&Sink, &Inbox<In>),
    ) -> Self {
        let Adopted {
            found,
            started_at,
            receiver,
            sender,
            log,
        } = adopted;
        let (pid, handle) = (found.pid, found.handle());
        let (outbox, parcels) = mpsc::channel(OUTBOX);
        tokio::task::spawn_local(send(sender, parcels, (pid, handle.clone())));
        let hearing = receive(receiver, (id, pid, handle.clone()), inbox.clone());
        let heard = tokio::task::spawn_local(hearing);
        tokio::task::spawn_local(await_end((found, listed), heard, id, inbox.clone()));
        if let Some(log) = log {
            tokio::task::spawn_local(copy_log(log, pid, sink.clone()));
        }
        Self {
            started_at,
            started: begun(started_at, Timestamp::now(), Instant::now()),
            life: Life::Running(Voice {
                pid,
                handle,
                outbox,
            }),
        }
    }
}

/// Returns when a process was started, to compute with it: never later than now.
fn begun(started_at: Timestamp, at: Timestamp, now: Instant) -> Instant {
    let age = Duration::try_from(at.duration_since(started_at)).unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}

/// Waits for the end of a process or of its link, which ends the process; reports the end after the last message.
async fn await_end<In>(
    (found, listed): (Found, Listed),
    mut heard: JoinHandle<()>,
    id: Id,
    inbox: Inbox<In>,
) {
    let (pid, handle) = (found.pid, found.handle());
    let ended = found.wait();
    tokio::pin!(ended);
    let end = tokio::select! {
        end = &mut ended => {
            // With a deadline, because another process may hold the link open.
            if timeout(LAST_MESSAGES, &mut heard).await.is_err() {
                heard.abort();
            }
            end
        }
        _ = &mut heard => {
            // A link is lost a moment before the end of its process is told.
            if let Ok(end) = timeout(LAST_MESSAGES, &mut ended).await {
                end
            } else {
                if !handle.has_killed() {
                    warn!(pid, "a worker of an earlier supervisor has closed its link; it is killed");
                    handle.kill();
                }
                ended.await
            }
        }
    };
    drop(listed);
    let _ = inbox.send(Message::Exited(id, End::from(end))).await;
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::CommandExt as _, process::Command};

    use super::*;
    use crate::{
        children,
        link::{FromWorker, ToWorker, end},
        sys::own_children::OwnChildren,
        telemetry::log::{Form, Place},
    };

    type Messages = mpsc::Receiver<Message<FromWorker>>;

    /// Goes on with a process that runs a command, and calls `test` with the other end of its link.
    fn adopt<F: Future<Output = ()>>(
        command: &mut Command,
        test: impl FnOnce(Process<ToWorker>, Messages, std::os::fd::OwnedFd, OwnChildren) -> F,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let mut child = command.process_group(0).spawn().unwrap();
            let (ours, theirs) = end::pair().unwrap();
            let (receiver, sender) = end::open(ours).unwrap();
            let adopted = Adopted {
                found: Found::open(child.id()).unwrap(),
                started_at: Timestamp::now(),
                receiver,
                sender,
                log: None,
            };
            let (inbox, messages) = children::inbox::<FromWorker>();
            let children = OwnChildren::default();
            let listed = children.add(child.id());
            let sink = Sink::new(Place::open("/dev/null".as_ref()).unwrap(), Form::Text).unwrap();
            let process = Process::adopt(Id(7), adopted, listed, (&sink, &inbox));
            assert_eq!(process.pid(), Some(child.id()));
            test(process, messages, theirs, children).await;
            child.wait().unwrap_err();
        });
    }

    #[test]
    fn what_an_adopted_process_says_comes_before_its_end() {
        adopt(
            Command::new("sh").args(["-c", "exit 3"]),
            async |process, mut messages, theirs, children| {
                let (receiver, sender) = end::open::<ToWorker, FromWorker>(theirs).unwrap();
                sender.send(&FromWorker::Beat, &[]).await.unwrap();
                drop((receiver, sender));
                let said = messages.recv().await.unwrap();
                assert!(matches!(said, Message::Said(Id(7), FromWorker::Beat, _)));
                let ended = messages.recv().await.unwrap();
                assert!(
                    matches!(ended, Message::Exited(Id(7), End::Code(3))),
                    "{ended:?}"
                );
                assert!(!process.was_killed());
                assert_eq!(children.behind(process.pid().unwrap()), None);
            },
        );
    }

    #[test]
    fn an_adopted_process_is_told_things_and_killed() {
        adopt(
            Command::new("sleep").arg("60"),
            async |mut process, mut messages, theirs, children| {
                assert!(children.behind(process.pid().unwrap()).is_some());
                let (mut receiver, _sender) = end::open::<ToWorker, FromWorker>(theirs).unwrap();
                process.send(ToWorker::Withdraw);
                let told = receiver.receive().await.unwrap().unwrap();
                assert!(matches!(told.message, ToWorker::Withdraw));
                process.kill();
                let ended = messages.recv().await.unwrap();
                assert!(matches!(ended, Message::Exited(Id(7), End::Signal(9))));
                assert!(process.was_killed());
            },
        );
    }

    #[test]
    fn an_adopted_process_that_closes_its_link_and_lives_is_killed() {
        adopt(
            Command::new("sleep").arg("60"),
            async |process, mut messages, theirs, _children| {
                drop(theirs);
                let ended = messages.recv().await.unwrap();
                assert!(matches!(ended, Message::Exited(Id(7), End::Signal(9))));
                assert!(process.was_killed());
            },
        );
    }

    #[test]
    fn a_process_has_begun_when_it_was_started_and_never_later_than_now() {
        let (at, now) = (Timestamp::now(), Instant::now());
        let earlier = at - Duration::from_secs(2);
        assert_eq!(now - begun(earlier, at, now), Duration::from_secs(2));
        let later = at + Duration::from_secs(2);
        assert_eq!(begun(later, at, now), now);
    }
}
