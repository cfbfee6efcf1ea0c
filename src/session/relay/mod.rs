//! Bytes both ways between a client and its backend, until both have said all they had to say.

mod ended;
mod flow;
mod goodbye;
mod interruption;
mod patience;
mod peer_check;
mod step;
#[cfg(test)]
mod tests;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tracing::warn;

pub use self::{
    ended::{Ended, SecondLoginEnd, SecondLoginFault},
    patience::Patience,
};
use self::{
    flow::Fault,
    goodbye::say_goodbye,
    interruption::Interruption,
    patience::{GONE, Idle, poll_timer},
    peer_check::{Found, PeerCheck},
    step::Step,
};
use super::{
    conversation::{Conversation, First, Flow},
    journal::Journal,
    keep::keep,
    keeper::{Keeper, Keeping},
    leg::LegError,
    live::LiveSession,
    scratch::{Scratch, with_scratch},
    socket::SocketEnd,
    standing::Ask,
};
use crate::protocol::watch::{Side, Wants, Watch};

/// How often it is seen whether a client is still there that nothing is read from, because the backend
/// takes nothing.
///
/// Its end stands behind what it sent, so that reading does not come upon it.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// A session in which the client and the backend talk to each other, with its clocks.
#[derive(Debug)]
struct Relay<W> {
    conversation: Conversation<W>,
    session: Arc<LiveSession>,
    /// How the session comes to outlive its worker, until it does.
    keeping: Option<Box<Keeping>>,
    /// Where it is noted from then on.
    journal: Option<Box<Journal>>,
    /// There while the watch interrupts the copying.
    interruption: Option<Interruption>,
    idle: Option<Box<Idle>>,
    half_closed: Option<Box<Idle>>,
    held_up: Option<Box<Idle>>,
    /// Not there while the session is at rest.
    peer_check: Option<Box<PeerCheck>>,
    patience: Patience,
}

/// Relays until both sides have closed, one fails, nothing moves for too long, the watch ends the session, or the
/// session is told to stop; notes in `session` what is relayed.
///
/// The future is small, because most sessions are idle in it.
pub fn relay<W: Watch + Unpin>(
    conversation: Conversation<W>,
    patience: Patience,
    session: Arc<LiveSession>,
    keeping: Option<Keeping>,
) -> impl Future<Output = Ended> {
    match &keeping {
        Some(keeping) => keeping.keeper.later(&session, keeping.after),
        // It ends with this worker.
        None => {
            session.keep.has_failed();
        }
    }
    let mut relay = Box::new(Relay::new(conversation, patience, session));
    relay.keeping = keeping.map(Box::new);
    go_on(relay)
}

/// Goes on with a session that another worker has left behind, and that is noted here already.
pub fn take_over<W: Watch + Unpin>(
    conversation: Conversation<W>,
    patience: Patience,
    session: Arc<LiveSession>,
    journal: Box<Journal>,
) -> impl Future<Output = Ended> {
    let idle = session.idle();
    session.keep.is_kept(journal.keeper().link());
    if !journal.is_current() {
        session.keep.ask(Ask::Rewrite);
    }
    let mut relay = Box::new(Relay::new(conversation, patience, session));
    relay.journal = Some(journal);
    relay.idle = patience
        .idle
        .map(|limit| Box::new(Idle::since(limit, idle)));
    go_on(relay)
}

async fn go_on<W: Watch + Unpin>(mut relay: Box<Relay<W>>) -> Ended {
    let ended = (&mut *relay).await;
    Box::pin(relay.finish(ended)).await
}

impl<W: Watch + Unpin> Future for Relay<W> {
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.get_mut();
        let mut moved = false;
        let before = (this.conversation.up, this.conversation.down);
        let polled = {
            let _working = this.journal.as_ref().map(|journal| journal.work());
            this.poll_bytes(cx, &mut moved)
        };
        if let Poll::Ready(ended) = polled {
            return Poll::Ready(ended);
        }
        match this.session.keep.takes_ask() {
            None => {}
            Some(Ask::Rewrite) => {
                this.update_record();
                if let Some(journal) = &this.journal {
                    journal.keeper().is_answered();
                }
            }
            Some(Ask::Keep) => this.keep(),
        }
        if moved {
            this.warn_of_limits();
        }
        if let Poll::Ready(reason) = this.session.stop.poll(cx) {
            return Poll::Ready(Ended::Stopped(reason));
        }
        let told = before != (this.conversation.up, this.conversation.down);
        if let Poll::Ready(ended) = this.poll_peer_check(cx, moved || told) {
            return Poll::Ready(ended);
        }
        this.poll_patience(cx, moved)
    }
}

impl<W> Relay<W> {
    fn new(conversation: Conversation<W>, patience: Patience, session: Arc<LiveSession>) -> Self {
        Self {
            conversation,
            session,
            keeping: None,
            journal: None,
            interruption: None,
            idle: patience.idle.map(|limit| Box::new(Idle::new(limit))),
            half_closed: None,
            held_up: None,
            // What was sent last before the relay began may still be on its way.
            peer_check: Some(Box::new(patience.peer_check())),
            patience,
        }
    }

    /// Tells both sides of the end.
    async fn finish(mut self: Box<Self>, ended: Ended) -> Ended {
        self.session.keep.is_over();
        // No other worker goes on with it from here on, so that what is sent now is not noted.
        let journal = self.journal.take();
        let over = journal.map(|journal| journal.end(&mut self.conversation));
        let Conversation {
            client, backend, ..
        } = &mut self.conversation;
        say_goodbye(&ended, client, backend).await;
        if over.is_some() {
            client.socket().shut();
            backend.socket().shut();
        }
        ended
    }
}

impl<W: Watch> Relay<W> {
    /// Has the session outlive its worker from now on, if that can be. If it does already, sends the supervisor its
    /// sockets again, with its record in the version in which records are written now.
    fn keep(&mut self) {
        self.update_record();
        if let Some(journal) = &self.journal {
            return self.send_again(journal.keeper());
        }
        let Some(keeping) = self.keeping.take() else {
            return;
        };
        let kept = with_scratch(|scratch| {
            keep(
                &mut self.conversation,
                &self.session,
                self.patience,
                &keeping,
                scratch,
            )
        });
        match kept {
            Ok((journal, sockets)) => {
                self.journal = Some(journal);
                let Keeping { keeper, unkept, .. } = *keeping;
                keeper.keep(&self.session, sockets, Some(unkept));
            }
            Err(reason) => {
                keeping.keeper.unkept(&self.session, reason);
                // It counts as not kept for as long as it lasts.
                self.keeping = Some(keeping);
            }
        }
    }

    /// Has the record of a session that is kept in the version in which records are written now.
    fn update_record(&mut self) {
        if self.journal.as_ref().is_some_and(|it| !it.is_current()) {
            with_scratch(|scratch| self.step(&mut false).commit(scratch));
        }
    }

    /// Sends the supervisor the sockets of a session that is kept. Where this process is short of descriptors, that
    /// supervisor goes without.
    fn send_again(&self, keeper: &Arc<Keeper>) {
        if let [Ok(client), Ok(backend)] =
            self.conversation.legs().map(|it| it.socket().duplicate())
        {
            keeper.keep(&self.session, [client, backend], None);
        }
    }

    /// Copies bytes, or gives them to the watch while it interrupts that; ready when that ends the session.
    fn poll_bytes(&mut self, cx: &mut Context<'_>, moved: &mut bool) -> Poll<Ended> {
        with_scratch(|scratch| {
            loop {
                if !matches!(self.conversation.watch.wants(), Wants::Nothing)
                    && let Err(ended) = ready!(self.poll_interruption(cx, scratch, moved))
                {
                    return Poll::Ready(ended);
                }
                match ready!(self.poll_both(cx, scratch, moved)) {
                    Stop::Interrupted => {}
                    Stop::Ended(ended) => return Poll::Ready(ended),
                }
            }
        })
    }

    fn step<'s>(&'s mut self, moved: &'s mut bool) -> Step<'s, W> {
        Step {
            conversation: &mut self.conversation,
            session: &self.session,
            journal: &mut self.journal,
            moved,
        }
    }

    /// Warns once of each connection whose TLS will have to end because of a key that it cannot renew.
    fn warn_of_limits(&mut self) {
        let Conversation {
            client, backend, ..
        } = &mut self.conversation;
        for (leg, whose) in [(client, "client"), (backend, "backend")] {
            if let Some(wear) = leg.limit_news() {
                warn!(
                    session = %self.session.id,
                    listener = self.session.counters.listener,
                    "the session will have to end, because TLS 1.2 to its {whose} cannot renew a key \
                     that has protected most of what it may ({wear})",
                );
            }
        }
    }

    /// Ready when the interruption is over, or has ended the session.
    fn poll_interruption(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        moved: &mut bool,
    ) -> Poll<Result<(), Ended>> {
        let current = self.interruption.take();
        let mut current = current.unwrap_or_else(|| Interruption::new(&self.conversation.watch));
        let mut step = self.step(moved);
        let polled = current.poll(cx, &mut step, scratch);
        step.settle(scratch);
        if polled.is_pending() {
            self.interruption = Some(current);
        }
        polled
    }

    /// Puts the session to rest when it is time to; ready when one side has acknowledged nothing for too long.
    /// `sent` says that something may have been sent to one of them.
    fn poll_peer_check(&mut self, cx: &mut Context<'_>, sent: bool) -> Poll<Ended> {
        if sent && self.peer_check.is_none() {
            self.peer_check = Some(Box::new(self.patience.peer_check()));
        }
        let Some(check) = &mut self.peer_check else {
            return Poll::Pending;
        };
        let Conversation {
            client, backend, ..
        } = &mut self.conversation;
        match ready!(check.poll(cx, client.socket(), backend.socket())) {
            Found::NothingOwed => {
                self.peer_check = None;
                client.rest();
                backend.rest();
                Poll::Pending
            }
            Found::DeadClient(silence) => Poll::Ready(Ended::Client(LegError::Dead(silence))),
            Found::DeadBackend(silence) => Poll::Ready(Ended::Backend(LegError::Dead(silence))),
        }
    }

    /// Ready when nothing has moved for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>, moved: bool) -> Poll<Ended> {
        if let Some(limit) = self.half_closed_limit(cx, moved)
            && self.half_closed.as_ref().is_none_or(|it| it.limit > limit)
        {
            self.half_closed = Some(Box::new(Idle::new(limit)));
        }
        for (timer, ended) in [
            (&mut self.idle, Ended::Idle),
            (&mut self.half_closed, Ended::HalfClosed),
        ] {
            if poll_timer(timer, cx, moved) {
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    }

    /// Returns how long nothing may move now, if one side has ended.
    fn half_closed_limit(&mut self, cx: &mut Context<'_>, moved: bool) -> Option<Duration> {
        let ahead = self.look_ahead(cx, moved);
        let talk = &self.conversation;
        if talk.up == talk.down && ahead.is_none() {
            return None;
        }
        let cut = talk.client.was_cut() || talk.backend.was_cut();
        let gone = cut || ahead == Some(SocketEnd::Broken);
        Some(if gone {
            GONE
        } else {
            self.patience.half_closed
        })
    }

    /// Looks from time to time whether the client has ended, while the backend takes nothing of what it
    /// sent before that.
    ///
    /// The other direction needs no such look: a client that takes nothing is there, and whether it is
    /// is seen by reading from it.
    fn look_ahead(&mut self, cx: &mut Context<'_>, moved: bool) -> Option<SocketEnd> {
        let talk = &self.conversation;
        let held_up = talk.up == Flow::Moving && talk.backend.is_held_up();
        if held_up && self.held_up.is_none() {
            self.held_up = Some(Box::new(Idle::new(BETWEEN_LOOKS)));
        }
        let mut ahead = None;
        while poll_timer(&mut self.held_up, cx, moved) {
            self.held_up = held_up.then(|| Box::new(Idle::new(BETWEEN_LOOKS)));
            ahead = talk.client.end_ahead().filter(|_| held_up);
        }
        ahead
    }

    /// Copies what both sides send.
    fn poll_both(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        moved: &mut bool,
    ) -> Poll<Stop> {
        let before = (self.conversation.up, self.conversation.down);
        for side in [Side::Client, Side::Server] {
            if let Poll::Ready(stop) = self.poll_side(side, cx, scratch, moved) {
                return Poll::Ready(stop);
            }
        }
        self.conversation.note_first(before);
        if before != (self.conversation.up, self.conversation.down) {
            self.step(moved).commit(scratch);
        }
        if self.conversation.is_over() {
            let first = std::mem::replace(&mut self.conversation.first, First::Neither);
            return ended(Ended::closed(first));
        }
        Poll::Pending
    }

    /// Copies what one side sends; ready when that cannot go on.
    fn poll_side(
        &mut self,
        side: Side,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        moved: &mut bool,
    ) -> Poll<Stop> {
        if *Flow::of(side, &mut self.conversation) == Flow::Over {
            return Poll::Pending;
        }
        let mut step = self.step(moved);
        let polled = step.poll_flow(side, cx, scratch);
        step.settle(scratch);
        match ready!(polled) {
            Ok(()) => *Flow::of(side, &mut self.conversation) = Flow::Over,
            Err(Fault::Interrupted) => return Poll::Ready(Stop::Interrupted),
            Err(Fault::From(error)) => return ended(failed(side, error)),
            Err(Fault::To(error)) if side == Side::Client && !error.is_tls() => {
                // Where the backend takes nothing more, what it said last, such as why it closes, may
                // still be on its way.
                self.conversation.up = Flow::Over;
                if self.conversation.down == Flow::Moving {
                    self.conversation.first = First::BackendFailed(error);
                }
            }
            Err(Fault::To(error)) => return ended(failed(side.other(), error)),
        }
        Poll::Pending
    }
}

/// Why bytes are no longer copied.
enum Stop {
    /// The watch interrupts it.
    Interrupted,
    /// The session has ended.
    Ended(Ended),
}

fn ended(ended: Ended) -> Poll<Stop> {
    Poll::Ready(Stop::Ended(ended))
}

/// Returns how a session ended whose connection to a side failed.
fn failed(side: Side, error: LegError) -> Ended {
    match side {
        Side::Client => Ended::Client(error),
        Side::Server => Ended::Backend(error),
    }
}
