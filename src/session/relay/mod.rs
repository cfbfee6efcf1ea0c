//! Bytes both ways between a client and its backend, until both have said all they had to say.

mod dead;
mod flow;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use self::{
    dead::{Found, Watch},
    flow::{Fault, Observer, poll_flow},
};
use super::{
    leg::{Leg, LegError, Scratch, with_scratch},
    live::LiveSession,
    socket::SocketEnd,
    stop::StopReason,
};
use crate::{
    config::Listener,
    facts::EndReason,
    protocol::{
        mysql::command::{CommandWatch, Sighting},
        traits::HalfClose,
    },
};

/// How long a session of any service may last in which one side has ended and the other says nothing:
/// it may end one direction alone, as some do.
///
/// Nobody looks at the side that ended, so that it may have vanished meanwhile.
const HALF_CLOSED: Duration = Duration::from_secs(3600);

/// The same where a side that has ended is gone: databases and their clients end both directions, and
/// TLS that is cut was ended by nobody who still listens.
const GONE: Duration = Duration::from_secs(10);

/// How often it is seen whether a client is still there that nothing is read from, because the backend
/// takes nothing.
///
/// Its end stands behind what it sent, so that reading does not come upon it.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// How long a session that failed may take to say goodbye.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a session ended.
#[derive(Debug)]
pub enum Ended {
    /// Both sides closed at once.
    Closed,
    /// The client closed first.
    ClientClosed,
    /// The backend closed first.
    BackendClosed,
    /// No byte moved for as long as the listener allows.
    Idle,
    /// One side had ended, and the other did and said nothing for too long after that.
    HalfClosed,
    /// The client's connection failed.
    Client(LegError),
    /// The backend's connection failed.
    Backend(LegError),
    /// It was told to stop.
    Stopped(StopReason),
    /// It has not: the client logs in again, and the packet for that is what it sends next.
    ChangeUser(Box<Changing>),
}

impl Ended {
    /// Returns the reason by which it is counted.
    pub fn reason(&self) -> EndReason {
        match self {
            Self::Closed => EndReason::Closed,
            Self::ClientClosed => EndReason::ClientClosed,
            Self::BackendClosed => EndReason::BackendClosed,
            Self::Idle => EndReason::IdleTimeout,
            Self::HalfClosed => EndReason::HalfClosed,
            Self::Client(LegError::Tls(_)) => EndReason::ClientTls,
            Self::Client(LegError::Dead(_)) => EndReason::ClientDead,
            Self::Client(_) => EndReason::ClientLost,
            Self::Backend(LegError::Tls(_)) => EndReason::BackendTls,
            Self::Backend(LegError::Dead(_)) => EndReason::BackendDead,
            Self::Backend(_) => EndReason::BackendLost,
            Self::Stopped(reason) => reason.reason(),
            Self::ChangeUser(_) => EndReason::ChangeUserFailed,
        }
    }
}

/// A session whose client logs in again.
#[derive(Debug)]
pub struct Changing {
    /// The client's leg.
    pub client: Leg,
    /// The backend's.
    pub backend: Leg,
    /// How many bytes of the client's packet the backend has already.
    pub passed: usize,
    /// The client did not wait for the answer to what it sent before.
    pub out_of_turn: bool,
}

/// How long a session may last in which nothing moves, or a peer acknowledges nothing.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// While both sides are there; `None` is without end.
    idle: Option<Duration>,
    /// After one of them has ended.
    half_closed: Duration,
    /// While something waits for an acknowledgement; `None` is without end.
    dead: Option<Duration>,
}

impl Patience {
    /// Returns a listener's.
    pub fn of(listener: &Listener) -> Self {
        let limits = &listener.limits;
        Self {
            idle: Some(limits.idle_timeout).filter(|idle| !idle.is_zero()),
            dead: Some(limits.dead_peer_timeout).filter(|dead| !dead.is_zero()),
            half_closed: match listener.protocol.traits().half_close {
                HalfClose::Gone => GONE,
                HalfClose::Listens => HALF_CLOSED,
            },
        }
    }

    fn watch(&self) -> Option<Box<Watch>> {
        self.dead.map(|limit| Box::new(Watch::new(limit)))
    }
}

/// A session in which the client and the backend talk to each other.
#[derive(Debug)]
struct Relay<'a> {
    client: Leg,
    backend: Leg,
    up: Flow,
    down: Flow,
    /// Which side ended its direction first, as far as one did.
    first: First,
    session: &'a LiveSession,
    idle: Option<Idle>,
    half_closed: Option<Idle>,
    held_up: Option<Idle>,
    /// Not there while both sides have all that was sent to them.
    dead: Option<Box<Watch>>,
    patience: Patience,
    watch: Option<CommandWatch>,
}

/// How far one direction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Moving,
    Over,
}

/// Which side ended its direction first.
#[derive(Debug)]
enum First {
    /// None has, or both did at once.
    Neither,
    Client,
    Backend,
    /// The backend, to which nothing more could be written.
    BackendFailed(LegError),
}

#[derive(Debug)]
struct Idle {
    limit: Duration,
    last: Instant,
    timer: Pin<Box<Sleep>>,
}

/// Relays until both sides have closed, one fails, nothing moves for too long, or the session is told
/// to stop; counts in `session` what is relayed.
///
/// With `watch`, a change of user in what the client sends ends it too.
pub async fn relay(
    (client, backend): (Leg, Leg),
    patience: Patience,
    watch: Option<CommandWatch>,
    session: &LiveSession,
) -> Ended {
    let mut relay = Relay {
        client,
        backend,
        up: Flow::Moving,
        down: Flow::Moving,
        first: First::Neither,
        session,
        idle: patience.idle.map(Idle::new),
        half_closed: None,
        held_up: None,
        // What was sent last before the relay began may still be on its way.
        dead: patience.watch(),
        patience,
        watch,
    };
    let ended = match (&mut relay).await {
        Stop::Ended(ended) => ended,
        Stop::ChangeUser(sighting) => {
            return Ended::ChangeUser(Box::new(Changing {
                client: relay.client,
                backend: relay.backend,
                passed: sighting.passed().len(),
                out_of_turn: sighting.out_of_turn,
            }));
        }
    };
    let goodbye = say_goodbye(&ended, &mut relay.client, &mut relay.backend);
    // Whoever does not listen cannot be told.
    let _ = tokio::time::timeout(LAST_WORDS, goodbye).await;
    ended
}

/// Tells both sides that the session has ended, except the one that failed.
async fn say_goodbye(ended: &Ended, client: &mut Leg, backend: &mut Leg) {
    match ended {
        Ended::Closed | Ended::ClientClosed | Ended::BackendClosed | Ended::ChangeUser(_) => {}
        Ended::Client(error) => say_goodbye_behind(client, error, backend).await,
        Ended::Backend(error) => say_goodbye_behind(backend, error, client).await,
        Ended::Idle | Ended::HalfClosed | Ended::Stopped(_) => {
            for leg in [&mut *client, &mut *backend] {
                // It does not have all there was.
                if leg.is_held_up() {
                    leg.cut();
                }
            }
            let _ = tokio::join!(client.close(), backend.close());
        }
    }
}

/// Tells one leg of the end of the other, which failed, and whether it was cut.
async fn say_goodbye_behind(failed: &Leg, error: &LegError, other: &mut Leg) {
    if failed.tls().is_some() && !error.is_told() {
        other.cut();
    }
    if matches!(error, LegError::Dead(_)) {
        failed.socket().give_up();
    }
    let _ = other.close().await;
}

/// Why bytes are no longer copied.
enum Stop {
    ChangeUser(Sighting),
    Ended(Ended),
}

impl Future for Relay<'_> {
    type Output = Stop;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Stop> {
        let this = self.get_mut();
        let mut moved = false;
        let before = (this.up, this.down);
        let ended = with_scratch(|scratch| this.poll_both(cx, scratch, &mut moved));
        if ended.is_ready() {
            return ended;
        }
        let told = before != (this.up, this.down);
        if let Poll::Ready(reason) = this.session.stop.poll(cx) {
            return Poll::Ready(Stop::Ended(Ended::Stopped(reason)));
        }
        if let Poll::Ready(ended) = this.poll_dead(cx, moved || told) {
            return Poll::Ready(Stop::Ended(ended));
        }
        this.poll_patience(cx, moved).map(Stop::Ended)
    }
}

impl Relay<'_> {
    /// Ready when one side has acknowledged nothing for too long; `sent` says that something may have been
    /// sent to one of them.
    fn poll_dead(&mut self, cx: &mut Context<'_>, sent: bool) -> Poll<Ended> {
        if sent && self.dead.is_none() {
            self.dead = self.patience.watch();
        }
        let Some(watch) = &mut self.dead else {
            return Poll::Pending;
        };
        let found = ready!(watch.poll(cx, self.client.socket(), self.backend.socket()));
        match found {
            Found::AllAcknowledged => {
                self.dead = None;
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
            self.half_closed = Some(Idle::new(limit));
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
        if self.up == self.down && ahead.is_none() {
            return None;
        }
        let cut = self.client.was_cut() || self.backend.was_cut();
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
    /// Nobody does so for the other direction: a client that takes nothing is there, and whether it is
    /// is seen by reading from it.
    fn look_ahead(&mut self, cx: &mut Context<'_>, moved: bool) -> Option<SocketEnd> {
        let held_up = self.up == Flow::Moving && self.backend.is_held_up();
        if held_up && self.held_up.is_none() {
            self.held_up = Some(Idle::new(BETWEEN_LOOKS));
        }
        let mut ahead = None;
        while poll_timer(&mut self.held_up, cx, moved) {
            self.held_up = held_up.then(|| Idle::new(BETWEEN_LOOKS));
            ahead = self.client.end_ahead().filter(|_| held_up);
        }
        ahead
    }

    fn poll_both(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        moved: &mut bool,
    ) -> Poll<Stop> {
        let before = (self.up, self.down);
        if let Poll::Ready(stop) = self.poll_up(cx, scratch, moved) {
            return Poll::Ready(stop);
        }
        if let Poll::Ready(stop) = self.poll_down(cx, scratch, moved) {
            return Poll::Ready(stop);
        }
        self.note_first(before);
        match (self.up, self.down) {
            (Flow::Over, Flow::Over) => Poll::Ready(Stop::Ended(self.closed())),
            _ => Poll::Pending,
        }
    }

    /// Moves what the client sends; ready when that ends the session.
    fn poll_up(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        moved: &mut bool,
    ) -> Poll<Stop> {
        if self.up == Flow::Over {
            return Poll::Pending;
        }
        let Self {
            client,
            backend,
            watch,
            session,
            ..
        } = self;
        let observer = Observer {
            look: |bytes: &[u8]| watch.as_mut()?.feed(bytes),
            count: |bytes| session.add_up(bytes),
        };
        match ready!(poll_flow(client, backend, cx, scratch, moved, observer)) {
            Ok(()) => self.up = Flow::Over,
            Err(Fault::To(error @ LegError::Tls(_))) => return ended(Ended::Backend(error)),
            // Where the backend takes nothing more, what it said last, such as why it closes, may
            // still be on its way.
            Err(Fault::To(error)) => {
                self.up = Flow::Over;
                if self.down == Flow::Moving {
                    self.first = First::BackendFailed(error);
                }
            }
            Err(Fault::From(error)) => return ended(Ended::Client(error)),
            Err(Fault::ChangeUser(sighting)) => return Poll::Ready(Stop::ChangeUser(sighting)),
        }
        Poll::Pending
    }

    /// Moves what the backend sends; ready when that ends the session.
    fn poll_down(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        moved: &mut bool,
    ) -> Poll<Stop> {
        if self.down == Flow::Over {
            return Poll::Pending;
        }
        let Self {
            client,
            backend,
            watch,
            session,
            ..
        } = self;
        let observer = Observer {
            look: |bytes: &[u8]| {
                watch.as_mut()?.hear(bytes);
                None
            },
            count: |bytes| session.add_down(bytes),
        };
        match ready!(poll_flow(backend, client, cx, scratch, moved, observer)) {
            Ok(()) => self.down = Flow::Over,
            Err(Fault::From(error)) => return ended(Ended::Backend(error)),
            Err(Fault::To(error)) => return ended(Ended::Client(error)),
            // Databases do not log in.
            Err(Fault::ChangeUser(_)) => {}
        }
        Poll::Pending
    }

    /// Notes which side was the first to end its direction, by how far both had come `before`.
    fn note_first(&mut self, before: (Flow, Flow)) {
        if before == (Flow::Moving, Flow::Moving) && matches!(self.first, First::Neither) {
            match (self.up, self.down) {
                (Flow::Over, Flow::Moving) => self.first = First::Client,
                (Flow::Moving, Flow::Over) => self.first = First::Backend,
                _ => {}
            }
        }
    }

    /// Returns how a session ended whose directions are both over.
    fn closed(&mut self) -> Ended {
        match std::mem::replace(&mut self.first, First::Neither) {
            First::Neither => Ended::Closed,
            First::Client => Ended::ClientClosed,
            First::Backend => Ended::BackendClosed,
            First::BackendFailed(error) => Ended::Backend(error),
        }
    }
}

fn ended(ended: Ended) -> Poll<Stop> {
    Poll::Ready(Stop::Ended(ended))
}

/// Returns whether there is a timer, and nothing has moved for as long as it allows.
fn poll_timer(timer: &mut Option<Idle>, cx: &mut Context<'_>, moved: bool) -> bool {
    let timer = timer.as_mut();
    timer.is_some_and(|it| it.poll(cx, moved).is_ready())
}

impl Idle {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            last: Instant::now(),
            timer: Box::pin(tokio::time::sleep(limit)),
        }
    }

    /// Notes whether anything moved; ready when nothing has for too long.
    fn poll(&mut self, cx: &mut Context<'_>, moved: bool) -> Poll<()> {
        if moved {
            self.last = Instant::now();
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let end = self.last + self.limit;
            if end <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}
