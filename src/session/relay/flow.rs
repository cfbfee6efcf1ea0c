//! One direction of a session: what one leg sends goes to the other.

use std::task::{Context, Poll, ready};

use crate::{
    protocol::watch::{Pass, Side, Watch},
    session::{
        conversation::{Conversation, Flow},
        leg::{Leg, LegError, Received, Scratch},
        live::LiveSession,
    },
};

/// How often a busy direction is served before other sessions get their turn.
const BURST: usize = 8;

/// One direction of a conversation.
pub(super) struct Direction<'c, W> {
    /// Who speaks.
    side: Side,
    from: &'c mut Leg,
    to: &'c mut Leg,
    watch: &'c mut W,
    session: &'c LiveSession,
}

/// What ended a direction before its time.
pub(super) enum Fault {
    /// The watch interrupts the relay.
    Interrupted,
    /// The side that speaks failed.
    From(LegError),
    /// The side that is spoken to failed.
    To(LegError),
}

impl<'c, W: Watch> Direction<'c, W> {
    /// Returns the direction in which a side speaks.
    pub(super) fn of(
        side: Side,
        conversation: &'c mut Conversation<W>,
        session: &'c LiveSession,
    ) -> Self {
        let Conversation {
            client,
            backend,
            watch,
            ..
        } = conversation;
        let (from, to) = match side {
            Side::Client => (client, backend),
            Side::Server => (backend, client),
        };
        Self {
            side,
            from,
            to,
            watch,
            session,
        }
    }

    /// Moves what one side sends to the other; ready when the side has ended and the other was told.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        moved: &mut bool,
    ) -> Poll<Result<(), Fault>> {
        for _ in 0..BURST {
            ready!(self.to.poll_flush(cx)).map_err(Fault::To)?;
            match ready!(self.from.poll_receive(cx, scratch)).map_err(Fault::From)? {
                (Received::Bytes(bytes), out) => {
                    *moved = true;
                    let pass = self.watch.pass(self.side, bytes);
                    let (passed, rest) = match pass {
                        Pass::All => (bytes, &[][..]),
                        Pass::Until(end) => bytes.split_at(end.min(bytes.len())),
                    };
                    if !passed.is_empty() {
                        self.to.submit(cx, passed, out).map_err(Fault::To)?;
                        self.session.add(self.side, passed.len());
                    }
                    if matches!(pass, Pass::Until(_)) {
                        self.from.unread(rest);
                        return Poll::Ready(Err(Fault::Interrupted));
                    }
                }
                (Received::End, _) => {
                    // A peer that is told of a proper end believes that it has all there was.
                    if self.from.was_cut() {
                        self.to.cut();
                    }
                    return self.to.poll_close(cx).map_err(Fault::To);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
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
