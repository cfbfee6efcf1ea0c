//! A worker's link to the resolver: its asks, and the answers for it.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use tokio::sync::mpsc;
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
}

/// What is heard of workers.
#[derive(Debug)]
pub(super) enum Heard {
    /// One asks for something.
    Asked(flights::Ask),
    /// One is gone, or has broken its link.
    Left(u64),
}

/// Takes the end of a link to a worker; returns where answers for it go. Must be called in a runtime.
pub(super) fn open(
    worker: u64,
    end: OwnedFd,
    desk: mpsc::Sender<Heard>,
) -> io::Result<mpsc::UnboundedSender<Reply>> {
    let (receiver, sender) = end::open(end)?;
    let (to_worker, replies) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        if let Err(fault) = converse(worker, receiver, sender, &desk, replies).await {
            warn!("a worker broke its link to the resolver, which answers it no more: {fault}");
        }
        // If the desk is gone, the process ends.
        let _ = desk.send(Heard::Left(worker)).await;
    });
    Ok(to_worker)
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
                Err(Fault::Io(_)) => return Ok(()),
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
            sender.send(&answer, &[connection.as_fd()]).await
        }
        Err(reason) => {
            let reason = shortened(reason);
            sender.send(&Answer::Failed { number, reason }, &[]).await
        }
    }
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
