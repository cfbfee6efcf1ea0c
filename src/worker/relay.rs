//! Bytes both ways between a client and its backend, until both have said all they had to say.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use super::{
    leg::{Leg, LegError, Received, Scratch, with_scratch},
    socket::SocketEnd,
};
use crate::{
    config::Listener,
    protocol::{
        Protocol,
        mysql::command::{CommandWatch, Sighting},
    },
};

/// How often a busy direction is served before other sessions get their turn.
const BURST: usize = 8;

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
    /// Both sides closed.
    Closed,
    /// No byte moved for as long as the listener allows.
    Idle,
    /// One side had ended, and the other did and said nothing for too long after that.
    HalfClosed,
    /// The client's connection failed.
    Client(LegError),
    /// The backend's connection failed.
    Backend(LegError),
    /// It has not: the client logs in again, and the packet for that is what it sends next.
    ChangeUser(Box<Changing>),
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

/// How long a session may last in which nothing moves.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// While both sides are there; `None` is without end.
    idle: Option<Duration>,
    /// After one of them has ended.
    half_closed: Duration,
}

impl Patience {
    /// Returns a listener's.
    pub fn of(listener: &Listener) -> Self {
        Self {
            idle: Some(listener.limits.idle_timeout).filter(|idle| !idle.is_zero()),
            half_closed: match listener.protocol {
                Protocol::Mysql | Protocol::Postgres => GONE,
                Protocol::Tcp => HALF_CLOSED,
            },
        }
    }
}

/// A session in which the client and the backend talk to each other.
#[derive(Debug)]
struct Relay {
    client: Leg,
    backend: Leg,
    up: Flow,
    down: Flow,
    idle: Option<Idle>,
    half_closed: Option<Idle>,
    held_up: Option<Idle>,
    patience: Patience,
    watch: Option<CommandWatch>,
}

/// How far one direction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Moving,
    Over,
}

#[derive(Debug)]
struct Idle {
    limit: Duration,
    last: Instant,
    timer: Pin<Box<Sleep>>,
}

/// Relays until both sides have closed, one fails, or nothing moves for too long.
///
/// With `watch`, a change of user in what the client sends ends it too.
pub async fn relay(
    client: Leg,
    backend: Leg,
    patience: Patience,
    watch: Option<CommandWatch>,
) -> Ended {
    let mut relay = Relay {
        client,
        backend,
        up: Flow::Moving,
        down: Flow::Moving,
        idle: patience.idle.map(Idle::new),
        half_closed: None,
        held_up: None,
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
        Ended::Closed | Ended::ChangeUser(_) => {}
        Ended::Client(error) => say_goodbye_behind(client, error, backend).await,
        Ended::Backend(error) => say_goodbye_behind(backend, error, client).await,
        Ended::Idle | Ended::HalfClosed => {
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
    let _ = other.close().await;
}

/// Why bytes are no longer copied.
enum Stop {
    ChangeUser(Sighting),
    Ended(Ended),
}

impl Future for Relay {
    type Output = Stop;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Stop> {
        let this = self.get_mut();
        let mut moved = false;
        let ended = with_scratch(|scratch| this.poll_both(cx, scratch, &mut moved));
        if ended.is_pending() {
            this.poll_patience(cx, moved).map(Stop::Ended)
        } else {
            ended
        }
    }
}

impl Relay {
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
        let ended = |ended| Poll::Ready(Stop::Ended(ended));
        let (client, backend) = (&mut self.client, &mut self.backend);
        let watch = &mut self.watch;
        if self.up == Flow::Moving {
            let look = |bytes: &[u8]| watch.as_mut()?.feed(bytes);
            match poll_flow(client, backend, cx, scratch, moved, look) {
                // Where the backend takes nothing more, what it said last, such as why it closes,
                // may still be on its way.
                Poll::Ready(Ok(()) | Err(Fault::To(_))) => self.up = Flow::Over,
                Poll::Ready(Err(Fault::From(error))) => return ended(Ended::Client(error)),
                Poll::Ready(Err(Fault::ChangeUser(sighting))) => {
                    return Poll::Ready(Stop::ChangeUser(sighting));
                }
                Poll::Pending => {}
            }
        }
        if self.down == Flow::Moving {
            let look = |bytes: &[u8]| {
                watch.as_mut()?.hear(bytes);
                None
            };
            match poll_flow(backend, client, cx, scratch, moved, look) {
                Poll::Ready(Ok(())) => self.down = Flow::Over,
                Poll::Ready(Err(Fault::From(error))) => return ended(Ended::Backend(error)),
                Poll::Ready(Err(Fault::To(error))) => return ended(Ended::Client(error)),
                // Databases do not log in.
                Poll::Ready(Err(Fault::ChangeUser(_))) | Poll::Pending => {}
            }
        }
        match (self.up, self.down) {
            (Flow::Over, Flow::Over) => ended(Ended::Closed),
            _ => Poll::Pending,
        }
    }
}

/// What ended a direction before its time.
enum Fault {
    ChangeUser(Sighting),
    From(LegError),
    To(LegError),
}

/// Moves what `from` sends to `to`, of which `look` sees it all first; ready when `from` has ended and `to`
/// was told.
fn poll_flow(
    from: &mut Leg,
    to: &mut Leg,
    cx: &mut Context<'_>,
    scratch: &mut Scratch,
    moved: &mut bool,
    mut look: impl FnMut(&[u8]) -> Option<Sighting>,
) -> Poll<Result<(), Fault>> {
    for _ in 0..BURST {
        ready!(to.poll_flush(cx)).map_err(Fault::To)?;
        match ready!(from.poll_receive(cx, scratch)).map_err(Fault::From)? {
            (Received::Bytes(bytes), out) => {
                *moved = true;
                let sighting = look(bytes);
                let end = sighting.map_or(bytes.len(), |it| it.at);
                if end > 0 {
                    to.submit(cx, &bytes[..end], out).map_err(Fault::To)?;
                }
                if let Some(sighting) = sighting {
                    // All of it goes back to where it came from.
                    from.unread(&bytes[end..]);
                    from.unread(sighting.passed());
                    return Poll::Ready(Err(Fault::ChangeUser(sighting)));
                }
            }
            (Received::End, _) => {
                // Whoever is told of a proper end believes that it has all there was.
                if from.was_cut() {
                    to.cut();
                }
                return to.poll_close(cx).map_err(Fault::To);
            }
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
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
