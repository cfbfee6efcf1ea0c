//! A watch that interrupts the copying of bytes, as for a second login: the relay reads for it what it wants, and
//! sends what it says.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::Sleep;

use super::{
    ended::{Ended, SecondLoginEnd, SecondLoginFault},
    step::Step,
};
use crate::{
    protocol::watch::{Failed, Output, Side, Wants, Watch},
    session::{
        leg::{LegError, Received},
        scratch::{Scratch, Span},
    },
    tls::seal::seal,
};

/// The clock of an interruption.
#[derive(Debug)]
pub(super) struct Interruption {
    timer: Pin<Box<Sleep>>,
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
        step: &mut Step<'_, W>,
        scratch: &mut Scratch,
    ) -> Poll<Result<(), Ended>> {
        if self.timer.as_mut().poll(cx).is_ready() {
            let failed = step.conversation.watch.late();
            return Poll::Ready(Err(step.failed(failed)));
        }
        loop {
            ready!(step.poll_flush(cx, scratch))?;
            scratch.begin();
            match step.conversation.watch.wants() {
                Wants::Nothing => return Poll::Ready(Ok(())),
                Wants::Sealing(sealing) => {
                    let sealed = seal(&sealing.key, &sealing.message);
                    let output = step.conversation.watch.sealed(sealed);
                    let output = output.map_err(|failed| step.failed(failed))?;
                    step.say(&output, scratch)?;
                }
                Wants::Bytes(_) => ready!(step.poll_take(cx, scratch))?,
            }
            step.commit(scratch);
        }
    }
}

impl<W: Watch> Step<'_, W> {
    fn poll_flush(&mut self, cx: &mut Context<'_>, scratch: &Scratch) -> Poll<Result<(), Ended>> {
        for side in [Side::Server, Side::Client] {
            ready!(self.leg(side).poll_flush(cx, scratch))
                .map_err(|error| self.lost(side, error))?;
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
                Ok(Received::Bytes(bytes)) => self.give(side, bytes, scratch),
                Ok(Received::End) => Err(self.lost(side, LegError::Ended)),
                Err(error) => Err(self.lost(side, error)),
            });
        }
        Poll::Pending
    }

    fn give(&mut self, side: Side, bytes: Span, scratch: &mut Scratch) -> Result<(), Ended> {
        // Only TLS itself may have had something to say.
        if bytes.is_empty() {
            return Ok(());
        }
        *self.moved = true;
        let taken = self.conversation.watch.take(side, scratch.get(bytes));
        let (taken, output) = taken.map_err(|failed| self.failed(failed))?;
        let (_, rest) = bytes.split_at(taken);
        self.leg(side).unread(scratch.get(rest));
        self.say(&output, scratch)
    }

    /// Puts what the watch says behind what is to be sent.
    fn say(&mut self, output: &Output, scratch: &mut Scratch) -> Result<(), Ended> {
        if let Some(user) = &output.user {
            self.session.logs_in(user);
        }
        for (side, words) in [
            (Side::Server, &*output.to_server),
            (Side::Client, &output.to_client),
        ] {
            if !words.is_empty() {
                let said = self.leg(side).say(words, scratch);
                said.map_err(|error| self.lost(side, error))?;
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
