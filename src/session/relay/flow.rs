//! One direction of a session: what one leg sends goes to the other.

use std::task::{Context, Poll, ready};

use super::step::Step;
use crate::{
    protocol::watch::{Pass, Side, Watch},
    session::{
        conversation::{Conversation, Flow},
        leg::{LegError, Received},
        points::{Point, reach},
        scratch::{Scratch, Span},
    },
};

/// How often a busy direction is served before other sessions get their turn.
const BURST: usize = 8;

/// What ended a direction before its time.
pub(super) enum Fault {
    /// The watch interrupts the relay.
    Interrupted,
    /// The side that speaks failed.
    From(LegError),
    /// The side that is spoken to failed.
    To(LegError),
}

impl<W: Watch> Step<'_, W> {
    /// Moves what a side sends to the other; ready when the side has ended and the other was told.
    pub(super) fn poll_flow(
        &mut self,
        from: Side,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Result<(), Fault>> {
        for _ in 0..BURST {
            ready!(self.leg(from.other()).poll_flush(cx, scratch)).map_err(Fault::To)?;
            // What was answered may still lie there.
            self.settle(scratch);
            scratch.begin();
            let received = ready!(self.leg(from).poll_receive(cx, scratch));
            reach(Point::AfterRead);
            match received.map_err(Fault::From)? {
                Received::Bytes(bytes) => {
                    *self.moved = true;
                    let interrupted = self.pass_on(from, bytes, scratch)?;
                    ready!(self.poll_send(from, cx, scratch))?;
                    if interrupted {
                        return Poll::Ready(Err(Fault::Interrupted));
                    }
                }
                Received::End => return self.poll_end(from, cx, scratch).map_err(Fault::To),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Makes of what a side has sent what the other is to be sent, and notes that; returns whether the watch
    /// interrupts the relay there.
    fn pass_on(&mut self, from: Side, bytes: Span, scratch: &mut Scratch) -> Result<bool, Fault> {
        let pass = self.conversation.watch.pass(from, scratch.get(bytes));
        let (passed, rest) = match pass {
            Pass::All => (bytes, None),
            Pass::Until(end) => {
                let (passed, rest) = bytes.split_at(end);
                (passed, Some(rest))
            }
        };
        if !passed.is_empty() {
            self.leg(from.other())
                .submit(passed, scratch)
                .map_err(Fault::To)?;
            self.session.add(from, passed.len());
        }
        if let Some(rest) = rest {
            self.leg(from).unread(scratch.get(rest));
        }
        self.commit(scratch);
        Ok(rest.is_some())
    }

    /// Sends what was made: to the other side, and what has to be answered; ready when the other side's was.
    fn poll_send(
        &mut self,
        from: Side,
        cx: &mut Context<'_>,
        scratch: &Scratch,
    ) -> Poll<Result<(), Fault>> {
        if let Poll::Ready(Err(error)) = self.leg(from).poll_flush(cx, scratch) {
            return Poll::Ready(Err(Fault::From(error)));
        }
        let sent = self.leg(from.other()).poll_flush(cx, scratch);
        reach(Point::AfterWrite);
        sent.map_err(Fault::To)
    }

    /// Tells the other side that a side sends nothing more.
    fn poll_end(
        &mut self,
        from: Side,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Result<(), LegError>> {
        let was_cut = self.leg(from).was_cut();
        let to = self.leg(from.other());
        // A peer that is told of a proper end believes that it has all there was.
        let is_new = if was_cut {
            to.cut()
        } else {
            to.begin_close(scratch)
        };
        if is_new {
            self.commit(scratch);
        }
        let closed = self.leg(from.other()).poll_close(cx, scratch);
        reach(Point::AfterClose);
        closed
    }
}

impl Flow {
    /// Returns the flow of what a side sends.
    pub(super) fn of<W>(side: Side, conversation: &mut Conversation<W>) -> &mut Self {
        match side {
            Side::Client => &mut conversation.up,
            Side::Server => &mut conversation.down,
        }
    }
}
