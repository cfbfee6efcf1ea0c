//! Whether the peers of a session acknowledge what is sent to them, and when the session is at rest.
//!
//! A session at rest frees what it only needs to move bytes: memory of ciphers, and the clock in here.
//!
//! The kernel gives up too, but only after a quarter of an hour; and where it is told a shorter time
//! (`TCP_USER_TIMEOUT`), it gives up a peer as well that is there and does not read.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use crate::{
    session::socket::Socket,
    sys::tcp_info::{TcpInfo, Wait},
};

/// How many looks there are in the time after which a peer is dead that acknowledges nothing.
const LOOKS: u8 = 4;

/// When a session is looked at first, after bytes have moved: soon, so that of many sessions that begin at once few
/// hold the memory of their ciphers at a time.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// Checks both peers of a session until they have acknowledged all that was sent; then the session is at rest.
#[derive(Debug)]
pub(super) struct PeerCheck {
    /// The time between two looks; `None` where no peer is ever dead.
    between: Option<Duration>,
    last: Instant,
    timer: Pin<Box<Sleep>>,
    client: Silence,
    backend: Silence,
}

/// What a look has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Both peers have all that was sent to them, or may owe acknowledgements without end.
    NothingOwed,
    /// The client has acknowledged nothing for so long.
    DeadClient(Duration),
    /// The backend has.
    DeadBackend(Duration),
}

impl PeerCheck {
    /// Begins to look; a peer that acknowledges nothing for `limit` is dead, if there is one.
    pub(super) fn new(limit: Option<Duration>) -> Self {
        let between = limit.map(|limit| limit / u32::from(LOOKS));
        let first = between.unwrap_or(FIRST_LOOK).min(FIRST_LOOK);
        Self {
            between,
            last: Instant::now(),
            timer: Box::pin(tokio::time::sleep(first)),
            client: Silence::default(),
            backend: Silence::default(),
        }
    }

    /// Looks when it is time to; ready when there is something to do about what was found.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &Socket,
        backend: &Socket,
    ) -> Poll<Found> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let Some(between) = self.between else {
                return Poll::Ready(Found::NothingOwed);
            };
            let now = Instant::now();
            let after = now - self.last;
            let client = self.client.look(client.tcp_info(), after);
            let backend = self.backend.look(backend.tcp_info(), after);
            match (client, backend) {
                (Peer::Dead(silence), _) => return Poll::Ready(Found::DeadClient(silence)),
                (_, Peer::Dead(silence)) => return Poll::Ready(Found::DeadBackend(silence)),
                (Peer::HasAll, Peer::HasAll) => return Poll::Ready(Found::NothingOwed),
                _ => {}
            }
            self.last = now;
            self.timer.as_mut().reset(now + between);
        }
    }
}

/// How long a peer has owed an acknowledgement.
#[derive(Debug, Default, Clone, Copy)]
struct Silence {
    /// How many looks in a row have found that.
    ///
    /// They decide rather than the time, so that a machine that was stopped does not take its own sleep for
    /// the peer's silence.
    looks: u8,
    /// How long ago the first of them was.
    time: Duration,
}

/// What one look says about a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    HasAll,
    Owes,
    Dead(Duration),
}

impl Silence {
    /// Takes in what a look found, so long `after` the one before; `None` is a peer without
    /// acknowledgements.
    fn look(&mut self, info: Option<TcpInfo>, after: Duration) -> Peer {
        let (wait, heard) = info.map_or((Wait::Nothing, Duration::ZERO), |info| {
            (info.wait(), info.heard)
        });
        (self.looks, self.time) = match wait {
            Wait::Nothing | Wait::Room => (0, Duration::ZERO),
            // What is owed now may have been sent after the last acknowledgement.
            Wait::Acknowledgement if heard < after || self.looks == 0 => (1, Duration::ZERO),
            Wait::Acknowledgement => (self.looks + 1, self.time + after),
        };
        match wait {
            Wait::Nothing => Peer::HasAll,
            _ if self.looks > LOOKS => Peer::Dead(self.time),
            _ => Peer::Owes,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A peer that was sent something so long ago, and was heard last so long ago.
    fn unacknowledged(sent: u32, heard: u32) -> TcpInfo {
        TcpInfo {
            unacknowledged: 1,
            unsent: 0,
            probes: 0,
            sent: SECOND * sent,
            heard: SECOND * heard,
        }
    }

    /// A peer that has no room for what it was sent.
    fn without_room(probes: u8, heard: u32) -> TcpInfo {
        TcpInfo {
            unacknowledged: 0,
            unsent: 1,
            probes,
            sent: SECOND * 1000,
            heard: SECOND * heard,
        }
    }

    fn idle(heard: u32) -> TcpInfo {
        TcpInfo {
            unsent: 0,
            ..without_room(9, heard)
        }
    }

    /// Looks each second; returns at which look the peer was dead, and for how long it was silent then.
    fn dies(looks: impl IntoIterator<Item = TcpInfo>) -> Option<(usize, Duration)> {
        let mut silence = Silence::default();
        let mut looks = looks.into_iter().enumerate();
        looks.find_map(|(at, info)| match silence.look(Some(info), SECOND) {
            Peer::Dead(silence) => Some((at, silence)),
            _ => None,
        })
    }

    #[test]
    fn a_peer_that_acknowledges_nothing_is_dead_after_the_limit() {
        let looks = (1..).map(|heard| unacknowledged(0, heard));
        assert_eq!(dies(looks), Some((4, SECOND * 4)));
    }

    #[test]
    fn the_limit_begins_when_something_is_sent_and_not_when_the_peer_was_heard_last() {
        let quiet = (500..600).map(idle);
        let sent = (600..).map(|heard| unacknowledged(0, heard));
        assert_eq!(dies(quiet.chain(sent)), Some((104, SECOND * 4)));
    }

    #[test]
    fn a_peer_that_is_sent_nothing_is_alive_whatever_the_kernel_asks_it() {
        let mut silence = Silence::default();
        for heard in 1..1000 {
            assert_eq!(silence.look(Some(idle(heard)), SECOND), Peer::HasAll);
        }
    }

    #[test]
    fn a_peer_that_reads_nothing_is_alive_as_long_as_it_answers_probes() {
        // They are two minutes apart.
        let looks = (1..1000).map(|second| {
            let heard = second % 120;
            without_room(u8::from(heard == 0), if heard == 0 { 120 } else { heard })
        });
        assert_eq!(dies(looks), None);
    }

    #[test]
    fn a_peer_that_reads_nothing_is_dead_when_it_does_not_answer_probes() {
        let looks = (1..60).map(|second| without_room(second / 8, second.into()));
        assert_eq!(dies(looks), Some((19, SECOND * 4)));
    }

    #[test]
    fn a_peer_that_has_no_room_for_what_is_sent_again_is_alive_as_long_as_it_says_so() {
        let looks = (1..1000).map(|second| {
            let heard = second % 60;
            unacknowledged(heard, heard)
        });
        assert_eq!(dies(looks), None);
    }

    #[test]
    fn a_socket_without_acknowledgements_is_never_dead() {
        let mut silence = Silence::default();
        for _ in 0..1000 {
            assert_eq!(silence.look(None, SECOND), Peer::HasAll);
        }
    }

    #[test]
    fn a_machine_that_was_stopped_does_not_bury_its_peers() {
        let mut silence = Silence::default();
        let hour = SECOND * 3600;
        assert_eq!(
            silence.look(Some(unacknowledged(0, 3600)), hour),
            Peer::Owes
        );
        assert_eq!(
            silence.look(Some(unacknowledged(0, 3601)), SECOND),
            Peer::Owes
        );
    }

    proptest! {
        #[test]
        fn a_peer_that_is_heard_within_the_limit_is_alive(
            gaps in prop::collection::vec(1_u32..4, 1..50),
            sent in 0_u32..5,
        ) {
            let looks = gaps.into_iter().flat_map(|gap| 0..gap);
            let looks = looks.map(|heard| unacknowledged(sent.min(heard), heard));
            prop_assert_eq!(dies(looks), None);
        }

        #[test]
        fn a_peer_is_never_dead_before_the_limit_has_passed_in_silence(
            heard in prop::collection::vec(prop_oneof![Just(true), Just(false), Just(false), Just(false)], 1..80),
        ) {
            let mut ago = 0;
            let looks: Vec<_> = heard
                .iter()
                .map(|heard| {
                    ago = if *heard { 0 } else { ago + 1 };
                    unacknowledged(0, ago)
                })
                .collect();
            if let Some((at, _)) = dies(looks) {
                prop_assert!(!heard[at + 1 - usize::from(LOOKS)..=at].contains(&true));
            }
        }
    }
}
