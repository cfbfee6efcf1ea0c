//! A worker's link to the resolver: its asks, and the answers for it.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::AbortHandle,
};
use tracing::warn;

use super::flights::{self, Asker};
use crate::{
    facts::{HostAddress, Unresolved},
    link::{
        Answer, Ask, Fault,
        end::{self, Receiver, Sender},
    },
};

/// The longest reason that is told, in characters.
const LONGEST_REASON: usize = 300;

/// What was found for workers.
#[derive(Debug, Clone)]
pub(super) enum Found {
    /// The addresses of a name.
    Addresses(Arc<[HostAddress]>),
    /// A connection, which one worker gets.
    Connection(Arc<OwnedFd>),
}

/// An answer on its way to a worker.
#[derive(Debug)]
pub(super) struct Reply {
    /// The ask that it answers.
    pub(super) number: u64,
    pub(super) answer: Result<Found, Unresolved>,
    /// Held until the worker has taken a connection.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

/// What is heard of workers.
#[derive(Debug)]
pub(super) enum Heard {
    /// One asks for something.
    Asked(flights::Ask),
    /// One is gone, or has broken its link.
    Left(u64),
}

/// Takes a worker's pair; returns where answers for it go, and what ends the talk over it. Must be called in a
/// runtime.
pub(super) fn open(
    worker: u64,
    end: OwnedFd,
    desk: mpsc::Sender<Heard>,
) -> io::Result<(mpsc::UnboundedSender<Reply>, AbortHandle)> {
    let (receiver, sender) = end::open(end)?;
    let (to_worker, replies) = mpsc::unbounded_channel();
    let talk = tokio::spawn(async move {
        if let Err(fault) = converse(worker, receiver, sender, &desk, replies).await {
            warn!(
                "the connection between a worker and the resolver broke: {fault}; the worker asks for another one"
            );
        }
        // If the desk is gone, the process ends.
        let _ = desk.send(Heard::Left(worker)).await;
    });
    Ok((to_worker, talk.abort_handle()))
}

/// Hears and answers a worker until it is gone. While a worker does not read its answers, it is not heard.
async fn converse(
    worker: u64,
    mut receiver: Receiver<Ask>,
    sender: Sender<Answer>,
    desk: &mpsc::Sender<Heard>,
    mut replies: mpsc::UnboundedReceiver<Reply>,
) -> Result<(), Fault> {
    loop {
        tokio::select! {
            biased;
            Some(reply) = replies.recv() => match send(&sender, reply).await {
                // The worker is gone.
                Err(Fault::Io(error)) if is_gone(&error) => return Ok(()),
                sent => sent?,
            },
            ask = receiver.receive() => {
                let Some(ask) = ask? else {
                    return Ok(());
                };
                let ask = asked(worker, ask.message);
                if desk.send(Heard::Asked(ask)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// Whether an error of sending means that the other process is there no more.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

fn asked(worker: u64, ask: Ask) -> flights::Ask {
    let number = ask.number;
    flights::Ask {
        asker: Asker { worker, number },
        wanted: ask.wanted,
        within: ask.within,
    }
}

async fn send(sender: &Sender<Answer>, reply: Reply) -> Result<(), Fault> {
    let number = reply.number;
    match reply.answer {
        Ok(Found::Addresses(addresses)) => {
            let addresses = addresses.to_vec();
            let answer = Answer::Addresses { number, addresses };
            sender.send(&answer, &[]).await
        }
        Ok(Found::Connection(connection)) => {
            let answer = Answer::Connection { number };
            match sender.send(&answer, &[connection.as_fd()]).await {
                // It is this connection that cannot be sent, for want of memory or because too many are on
                // their way (unix(7), `ETOOMANYREFS`); the pair is as it was.
                Err(Fault::Io(error)) if !is_gone(&error) => {
                    let reason = format!("the connection cannot be handed to the worker: {error}");
                    fail(sender, number, Unresolved::Failed(reason)).await
                }
                sent => sent,
            }
        }
        Err(reason) => fail(sender, number, reason).await,
    }
}

async fn fail(sender: &Sender<Answer>, number: u64, reason: Unresolved) -> Result<(), Fault> {
    let reason = shortened(reason);
    sender.send(&Answer::Failed { number, reason }, &[]).await
}

/// Cuts a reason that the system has made longer than an answer may be.
fn shortened(reason: Unresolved) -> Unresolved {
    let cut = |text: String| text.chars().take(LONGEST_REASON).collect();
    match reason {
        Unresolved::NoSuchName(text) => Unresolved::NoSuchName(cut(text)),
        Unresolved::Temporary(text) => Unresolved::Temporary(cut(text)),
        Unresolved::Failed(text) => Unresolved::Failed(cut(text)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_worker_is_gone_only_when_its_end_of_the_pair_is() {
        for (error, gone) in [
            (Errno::PIPE, true),
            (Errno::CONNRESET, true),
            (Errno::NOTCONN, true),
            (Errno::TOOMANYREFS, false),
            (Errno::NOBUFS, false),
            (Errno::NOMEM, false),
            (Errno::MFILE, false),
        ] {
            assert_eq!(is_gone(&error.into()), gone, "{error}");
        }
    }
}
