//! A step of a session: bytes of one side are taken, what they lead to is noted, and only then is it sent.

use crate::{
    protocol::watch::{Side, Watch},
    session::{
        conversation::Conversation,
        journal::Journal,
        leg::Leg,
        live::LiveSession,
        points::{Point, reach},
        scratch::Scratch,
    },
};

/// What a step acts on.
pub(super) struct Step<'c, W> {
    /// The session's connections, and the watch.
    pub(super) conversation: &'c mut Conversation<W>,
    /// What is known of the session.
    pub(super) session: &'c LiveSession,
    /// Where the session is noted, so that it outlives its worker; `None` while it is not kept.
    pub(super) journal: &'c mut Option<Box<Journal>>,
    /// Whether a byte has moved.
    pub(super) moved: &'c mut bool,
}

impl<W: Watch> Step<'_, W> {
    /// Returns a side's connection.
    pub(super) fn leg(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::Client => &mut self.conversation.client,
            Side::Server => &mut self.conversation.backend,
        }
    }

    /// Notes the session as it is now. From then on what was made may be sent, and what was taken is no longer
    /// needed. A session that cannot be noted is kept no longer, and goes on.
    pub(super) fn commit(&mut self, scratch: &Scratch) {
        let Some(journal) = self.journal else {
            return;
        };
        reach(Point::BeforeCommit);
        match journal.commit(self.conversation, self.session, scratch) {
            Ok(()) => {
                let commit = journal.commits();
                reach(Point::AfterCommit);
                self.consume(commit);
            }
            Err(reason) => {
                if let Some(journal) = self.journal.take() {
                    journal.give_up(reason, self.conversation, self.session);
                }
                self.consume(0);
            }
        }
    }

    /// Takes from Unix sockets what was peeked at. If a socket fails here, it fails again when it is used next.
    fn consume(&mut self, commit: u64) {
        for leg in self.conversation.legs_mut() {
            let _ = leg.consume(commit);
        }
        reach(Point::AfterConsume);
    }

    /// Ends the step: what could not be sent moves out of the scratch space, which the next session uses.
    pub(super) fn settle(&mut self, scratch: &Scratch) {
        let client = self.conversation.client.settle(scratch);
        let backend = self.conversation.backend.settle(scratch);
        if client || backend {
            self.commit(scratch);
            reach(Point::AfterSettle);
        }
    }
}
