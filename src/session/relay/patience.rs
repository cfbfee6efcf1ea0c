//! How long nothing may move in a session before it ends.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use super::peer_check::PeerCheck;
use crate::{config::Listener, protocol::traits::HalfClose};

/// How long a session may last in which one side has ended and the other says nothing, where the protocol
/// lets one side end and still listen.
///
/// It is not without end, because proxyd reads no more from the side that ended and does not see it vanish.
const HALF_CLOSED: Duration = Duration::from_secs(3600);

/// The same where a side that has ended is gone: databases and their clients end both directions at once, and
/// a peer whose TLS was cut does not listen any more.
pub(super) const GONE: Duration = Duration::from_secs(10);

/// How long nothing may move in a session, or a peer may acknowledge nothing, before the session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// While both sides are there; `None` is without end.
    pub(super) idle: Option<Duration>,
    /// After one of them has ended.
    pub(super) half_closed: Duration,
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

    /// Returns how long nothing may move, how long while one side has ended, and how long a peer may owe an
    /// acknowledgement: in milliseconds, the highest number for no end.
    pub fn to_milliseconds(self) -> [u64; 3] {
        let all = [self.idle, Some(self.half_closed), self.dead];
        all.map(|time| {
            time.map_or(u64::MAX, |time| {
                u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
            })
        })
    }

    /// Returns what [`Self::to_milliseconds`] told.
    pub fn of_milliseconds([idle, half_closed, dead]: [u64; 3]) -> Self {
        let time = |it| {
            Some(it)
                .filter(|it| *it != u64::MAX)
                .map(Duration::from_millis)
        };
        Self {
            idle: time(idle),
            half_closed: time(half_closed).unwrap_or(HALF_CLOSED),
            dead: time(dead),
        }
    }

    #[cfg(test)]
    pub(crate) fn endless() -> Self {
        Self {
            idle: None,
            half_closed: HALF_CLOSED,
            dead: None,
        }
    }

    pub(super) fn peer_check(&self) -> PeerCheck {
        PeerCheck::new(self.dead)
    }
}

/// How long nothing has moved.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) limit: Duration,
    last: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Idle {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            last: Instant::now(),
            timer: Box::pin(tokio::time::sleep(limit)),
        }
    }

    /// Begins as if nothing had moved for so long already.
    pub(super) fn since(limit: Duration, idle: Duration) -> Self {
        let now = Instant::now();
        let last = now.checked_sub(idle).unwrap_or(now);
        Self {
            limit,
            last,
            timer: Box::pin(tokio::time::sleep_until(last + limit)),
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

/// Returns whether there is a timer, and nothing has moved for as long as it allows.
pub(super) fn poll_timer(timer: &mut Option<Box<Idle>>, cx: &mut Context<'_>, moved: bool) -> bool {
    let timer = timer.as_mut();
    timer.is_some_and(|it| it.poll(cx, moved).is_ready())
}
