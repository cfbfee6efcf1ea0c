//! Which of a listener's backends can be reached, as far as this worker has found out.
//!
//! Nothing is probed by itself: what is known is what sessions meet, and probes that `verify` asked
//! for. A backend that could not be reached is left for last for a while, which grows with each
//! failure; then one session tries it in its turn while the others still pass it by. None is ever
//! left out, so that a listener whose backends are all down serves again with the first one that is
//! up.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    circuit::{Attempt, Circuit, News},
    error::BackendError,
};
use crate::{
    config::{Address, Backends},
    facts::BackendStatus,
    tls::stream::TlsStream,
};

/// The longest error that is kept.
const LONGEST_ERROR: usize = 200;

/// What is known of a listener's backends, over generations.
#[derive(Debug, Default)]
pub struct Health(Mutex<Vec<Known>>);

/// What is known of one.
#[derive(Debug)]
struct Known {
    address: Address,
    circuit: Circuit,
    status: BackendStatus,
}

impl Known {
    /// Notes the certificate that the backend showed, which seldom is another than before.
    fn see(&mut self, tls: Option<&TlsStream>) {
        let known = self.status.certificate.take();
        self.status
            .showed(tls.and_then(|tls| tls.peer_facts(known)));
    }
}

impl Health {
    /// Keeps what is known of these backends, and forgets others.
    pub fn follow(&self, backends: &Backends) {
        let mut known = self.lock();
        let mut before = std::mem::take(&mut *known);
        known.extend(backends.iter().map(|address| {
            let position = before.iter().position(|it| it.address == *address);
            position.map_or_else(
                || Known {
                    address: address.clone(),
                    circuit: Circuit::default(),
                    status: BackendStatus::unknown(address.to_string()),
                },
                |position| before.swap_remove(position),
            )
        }));
    }

    /// Returns the positions of these backends in the order in which to try them now.
    pub fn order(&self, backends: &Backends, now: Instant) -> Vec<usize> {
        let known = self.lock();
        let until = |address: &Address| {
            let known = known.iter().find(|it| it.address == *address)?;
            known.circuit.paused_until(now)
        };
        let mut order: Vec<_> = backends.iter().map(until).enumerate().collect();
        order.sort_by_key(|(_, until)| *until);
        order.into_iter().map(|(position, _)| position).collect()
    }

    /// Whether a backend is left for last now.
    pub fn is_paused(&self, address: &Address, now: Instant) -> bool {
        self.with(address, |it| it.circuit.is_paused(now))
            .unwrap_or(false)
    }

    /// Begins an attempt to reach a backend.
    pub fn begin(&self, address: &Address, now: Instant) -> Attempt {
        self.with(address, |it| it.circuit.begin(now))
            .unwrap_or_default()
    }

    /// Notes that the backend was reached, after how long, and what it showed if its leg has TLS.
    pub fn succeed(&self, address: &Address, took: Duration, tls: Option<&TlsStream>) -> News {
        let note = |known: &mut Known| {
            let news = known.circuit.succeed();
            known.status.succeed(Timestamp::now(), took);
            known.see(tls);
            news
        };
        self.with(address, note).unwrap_or(News::None)
    }

    /// Notes that it was not.
    pub fn fail(
        &self,
        address: &Address,
        attempt: Attempt,
        now: Instant,
        error: &BackendError,
    ) -> News {
        let error = error.to_string();
        let error: String = error.chars().take(LONGEST_ERROR).collect();
        let note = |known: &mut Known| {
            known.status.fail(Timestamp::now(), error);
            known.circuit.fail(attempt, now)
        };
        self.with(address, note).unwrap_or(News::None)
    }

    /// Returns all that is known.
    pub fn statuses(&self) -> Vec<BackendStatus> {
        self.lock().iter().map(|it| it.status.clone()).collect()
    }

    /// Backends that a newer generation has not are known no more.
    fn with<R>(&self, address: &Address, act: impl FnOnce(&mut Known) -> R) -> Option<R> {
        let mut known = self.lock();
        known.iter_mut().find(|it| it.address == *address).map(act)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::circuit::{LONGEST_PAUSE, SHORTEST_PAUSE},
        *,
    };

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    /// Two backends of which nothing is known yet.
    fn two() -> (Health, Backends, Instant) {
        let backends = Backends::new([address("a:1"), address("b:2")]).unwrap();
        let health = Health::default();
        health.follow(&backends);
        (health, backends, Instant::now())
    }

    fn fail(health: &Health, which: &str, now: Instant) -> News {
        let attempt = health.begin(&address(which), now);
        health.fail(&address(which), attempt, now, &BackendError::Refused)
    }

    #[test]
    fn one_that_failed_is_left_for_last_until_its_pause_is_over() {
        let (health, backends, now) = two();
        assert_eq!(health.order(&backends, now), [0, 1]);
        assert_eq!(fail(&health, "a:1", now), News::Down);
        assert_eq!(health.order(&backends, now), [1, 0]);
        assert_eq!(health.order(&backends, now + SHORTEST_PAUSE), [0, 1]);
    }

    #[test]
    fn one_session_alone_tries_a_backend_after_its_pause() {
        let (health, backends, now) = two();
        fail(&health, "a:1", now);
        let later = now + SHORTEST_PAUSE;
        let trial = health.begin(&address("a:1"), later);
        assert!(trial.is_trial);
        assert_eq!(health.order(&backends, later), [1, 0]);
        assert!(!health.begin(&address("a:1"), later).is_trial);
        assert_eq!(
            health.succeed(&address("a:1"), Duration::ZERO, None),
            News::Up
        );
        assert_eq!(health.order(&backends, later), [0, 1]);
        assert_eq!(
            health.succeed(&address("a:1"), Duration::ZERO, None),
            News::None
        );
    }

    #[test]
    fn a_pause_grows_with_each_trial_and_not_with_each_session() {
        let (health, backends, mut now) = two();
        fail(&health, "a:1", now);
        for _ in 0..100 {
            assert_eq!(fail(&health, "a:1", now), News::None);
        }
        let mut pause = SHORTEST_PAUSE;
        for _ in 0..10 {
            let instant = Duration::from_millis(1);
            now += pause.saturating_sub(instant);
            assert_eq!(health.order(&backends, now), [1, 0]);
            now += instant;
            assert_eq!(health.order(&backends, now), [0, 1]);
            fail(&health, "a:1", now);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    #[test]
    fn where_all_have_failed_the_one_whose_pause_ends_first_is_tried_first() {
        let (health, backends, now) = two();
        fail(&health, "b:2", now);
        fail(&health, "a:1", now + Duration::from_millis(1));
        assert_eq!(health.order(&backends, now), [1, 0]);
    }

    #[test]
    fn what_is_known_outlives_a_generation_that_still_has_the_backend() {
        let (health, _, now) = two();
        fail(&health, "b:2", now);
        let next = Backends::new([address("b:2"), address("c:3")]).unwrap();
        health.follow(&next);
        assert_eq!(health.order(&next, now), [1, 0]);
        let told = health.statuses();
        assert_eq!((&*told[0].address, told[0].healthy), ("b:2", false));
        assert_eq!(
            told[0].last_error.as_deref(),
            Some("it refuses the connection")
        );
        assert_eq!(told[1], BackendStatus::unknown("c:3".to_owned()));
        assert_eq!(fail(&health, "a:1", now), News::None);
    }

    proptest! {
        #[test]
        fn every_backend_is_always_tried(steps in proptest::collection::vec((0_usize..3, any::<bool>(), 0_u64..3000), 0..40)) {
            let addresses = ["a:1", "b:2", "c:3"].map(address);
            let backends = Backends::new(addresses.clone()).unwrap();
            let health = Health::default();
            health.follow(&backends);
            let mut now = Instant::now();
            for (which, good, wait) in steps {
                let attempt = health.begin(&addresses[which], now);
                if good {
                    health.succeed(&addresses[which], Duration::ZERO, None);
                } else {
                    health.fail(&addresses[which], attempt, now, &BackendError::Refused);
                }
                now += Duration::from_millis(wait);
                let mut order = health.order(&backends, now);
                order.sort_unstable();
                prop_assert_eq!(order, [0, 1, 2]);
            }
        }
    }
}
