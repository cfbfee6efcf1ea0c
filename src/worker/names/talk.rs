//! Talks to the resolver for the worker.

use std::os::fd::OwnedFd;

use tokio::sync::mpsc;
use tracing::warn;

use super::{Found, Names};
use crate::{
    facts::Unresolved,
    link::{
        Answer, Ask, Fault, Received,
        end::{self, Receiver, Sender},
    },
};

/// Tells the resolver what sessions ask for, and sessions what it answers. Each of the `pairs` leads to the
/// resolver of its time; a newer one takes the place of the one before.
pub(super) async fn talk(names: &Names, mut pairs: mpsc::Receiver<OwnedFd>) {
    let mut pair = pairs.recv().await;
    while let Some(end) = pair {
        names.ask_again();
        names.set_has_pair(true);
        pair = tokio::select! {
            Some(newer) = pairs.recv() => Some(newer),
            ended = converse(names, end) => {
                names.set_has_pair(false);
                if let Err(fault) = ended {
                    warn!("the link to the resolver broke; this worker waits for another one: {fault}");
                }
                pairs.recv().await
            }
        };
    }
}

/// Asks and hears answers until the resolver is gone.
async fn converse(names: &Names, end: OwnedFd) -> Result<(), Fault> {
    let (receiver, sender) = end::open(end)?;
    // Both at once, or each side might wait for the other to read.
    tokio::select! {
        asked = ask(names, sender) => asked,
        heard = hear(names, receiver) => heard,
    }
}

async fn ask(names: &Names, sender: Sender<Ask>) -> Result<(), Fault> {
    loop {
        sender.send(&names.next().await, &[]).await?;
    }
}

async fn hear(names: &Names, mut receiver: Receiver<Answer>) -> Result<(), Fault> {
    while let Some(Received {
        message,
        descriptors,
        ..
    }) = receiver.receive().await?
    {
        match message {
            Answer::Addresses { number, addresses } => {
                names.answered(number, Ok(Found::Addresses(addresses)));
            }
            Answer::Connection { number } => {
                let connection = descriptors.into_iter().next();
                let found = connection.map(Found::Connection).ok_or_else(lost);
                names.answered(number, found);
            }
            Answer::Failed { number, reason } => names.answered(number, Err(reason)),
        }
    }
    Ok(())
}

fn lost() -> Unresolved {
    let reason = "the connection did not arrive; the worker may be short of descriptors";
    Unresolved::Failed(reason.to_owned())
}
