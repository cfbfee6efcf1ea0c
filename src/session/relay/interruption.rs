//! A watch that interrupts the copying of bytes, as for a second login: the relay reads for it what it wants, and
//! sends what it says.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::Sleep;

use super::ended::{Ended, SecondLoginEnd, SecondLoginFault};
use crate::{
    protocol::watch::{Failed, Output, Side, Wants, Watch},
    session::{
        conversation::Conversation,
        leg::{Leg, LegError, Outgoing, Received, Scratch, with_scratch},
        live::LiveSession,
    },
    tls::seal::seal,
};

/// The clock of an interruption.
#[derive(Debug)]
pub(super) struct Interruption {
    timer: Pin<Box<Sleep>>,
}

/// What an interruption acts on.
pub(super) struct Stage<'c, W> {
    /// The session's connections, and the watch.
    pub(super) conversation: &'c mut Conversation<W>,
    /// What is known of the session.
    pub(super) session: &'c LiveSession,
    /// Whether a byte has moved.
    pub(super) moved: &'c mut bool,
}

impl Interruption {
    /// Begins one by a watch.
    pub(super) fn new(watch: &impl Watch) -> Self {
        Self {
            timer: Box::pin(tokio::time::sleep(watch.patience())),
        }
    }

    /// Gives the watch what it wants; ready when it wants nothing any more, or the session has ended.
    pub(super) fn poll<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        mut stage: Stage<'_, W>,
    ) -> Poll<Result<(), Ended>> {
        if self.timer.as_mut().poll(cx).is_ready() {
            let failed = stage.conversation.watch.late();
            return Poll::Ready(Err(stage.failed(failed)));
        }
        loop {
            ready!(stage.poll_flush(cx))?;
            match stage.conversation.watch.wants() {
                Wants::Nothing => return Poll::Ready(Ok(())),
                Wants::Sealing(sealing) => {
                    let sealed = seal(&sealing.key, &sealing.message);
                    let output = stage.conversation.watch.sealed(sealed);
                    let output = output.map_err(|failed| stage.failed(failed))?;
                    with_scratch(|scratch| stage.say(cx, &output, &mut scratch.out))?;
                }
                Wants::Bytes(_) => {
                    ready!(with_scratch(|scratch| stage.poll_take(cx, scratch)))?;
                }
            }
        }
    }
}

impl<W: Watch> Stage<'_, W> {
    fn leg(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::Client => &mut self.conversation.client,
            Side::Server => &mut self.conversation.backend,
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        for side in [Side::Server, Side::Client] {
            ready!(self.leg(side).poll_flush(cx)).map_err(|error| self.lost(side, error))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the watch what a side has sent that it waits for; ready when that was anything.
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Result<(), Ended>> {
        for side in [Side::Server, Side::Client] {
            if !self.conversation.watch.wants().awaits(side) {
                continue;
            }
            let Poll::Ready(received) = self.leg(side).poll_receive(cx, scratch) else {
                continue;
            };
            return Poll::Ready(match received {
                Ok((Received::Bytes(bytes), out)) => self.give(cx, side, bytes, out),
                Ok((Received::End, _)) => Err(self.lost(side, LegError::Ended)),
                Err(error) => Err(self.lost(side, error)),
            });
        }
        Poll::Pending
    }

    fn give(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        bytes: &[u8],
        out: &mut Outgoing,
    ) -> Result<(), Ended> {
        // Only TLS itself may have had something to say.
        if bytes.is_empty() {
            return Ok(());
        }
        *self.moved = true;
        let taken = self.conversation.watch.take(side, bytes);
        let (taken, output) = taken.map_err(|failed| self.failed(failed))?;
        self.leg(side).unread(&bytes[taken.min(bytes.len())..]);
        self.say(cx, &output, out)
    }

    /// Sends what the watch says.
    fn say(
        &mut self,
        cx: &mut Context<'_>,
        output: &Output,
        out: &mut Outgoing,
    ) -> Result<(), Ended> {
        if let Some(user) = &output.user {
            self.session.logs_in(user);
        }
        for (side, words) in [
            (Side::Server, &*output.to_server),
            (Side::Client, &output.to_client),
        ] {
            if !words.is_empty() {
                let sent = self.leg(side).submit(cx, words, out);
                sent.map_err(|error| self.lost(side, error))?;
                self.session.add(side.other(), words.len());
            }
        }
        Ok(())
    }

    /// Ends the session because the connection to a side failed.
    fn lost(&mut self, side: Side, error: LegError) -> Ended {
        let (fault, words) = match side {
            Side::Client => (SecondLoginFault::Client(error), Vec::new()),
            Side::Server => (
                SecondLoginFault::Backend(error),
                self.conversation.watch.last_words(),
            ),
        };
        SecondLoginEnd { fault, words }.into()
    }

    fn failed(&self, failed: Failed<W::Error>) -> Ended {
        SecondLoginEnd::of(failed, self.conversation.watch.patience()).into()
    }
}
