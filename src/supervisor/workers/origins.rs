//! Numbers of workers that are not used again, not even by the daemon's next start.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::supervisor::state::IdsBook;

/// How many origins are left to the next supervisor: those of more workers than are started while a session lasts.
const LEFT: usize = 4096;

/// Makes the origins of workers, with which the ids of their sessions begin.
#[derive(Debug, Default)]
pub(super) struct Origins {
    /// All that were given out, the lowest first: a session keeps the origin of the worker that accepted its client,
    /// however many workers it outlives.
    given: Vec<u64>,
}

impl Origins {
    /// Goes on after the origins that an earlier supervisor gave out.
    pub(super) fn resume(ids: &IdsBook) -> Self {
        let given: BTreeSet<u64> = ids.origins.iter().copied().collect();
        Self {
            given: given.into_iter().collect(),
        }
    }

    /// Writes the newest of them down for the next supervisor.
    pub(super) fn bequeath(&self, ids: &mut IdsBook) {
        let older = self.given.len().saturating_sub(LEFT);
        ids.origins = self.given[older..].to_vec();
    }

    /// Returns the origin of a worker that is started `now`: microseconds since 1970, or one more than the last
    /// if the clock has not gone on since that.
    pub(super) fn next(&mut self, now: Timestamp) -> u64 {
        let now = u64::try_from(now.as_microsecond()).unwrap_or(0);
        let last = self.given.last().copied().unwrap_or(0);
        let origin = now.max(last + 1);
        self.given.push(origin);
        origin
    }

    /// Notes the origin of a worker that another supervisor has started.
    pub(super) fn note(&mut self, origin: u64) {
        if let Err(place) = self.given.binary_search(&origin) {
            self.given.insert(place, origin);
        }
    }

    /// Returns the origins of workers that have ended: all that were given out but those of the `living` and `own`.
    pub(super) fn of_ended(&self, living: &BTreeSet<u64>, own: u64) -> impl Iterator<Item = u64> {
        let all = self.given.iter().copied();
        all.filter(move |it| *it != own && !living.contains(it))
    }

    /// Returns whether a worker can have a session of this `origin`: the worker itself accepted the client,
    /// or it took the session over from a worker that has ended, and so is not among the `living`.
    pub(super) fn can_have(&self, own: u64, origin: u64, living: &BTreeSet<u64>) -> bool {
        let has_ended = || self.given.binary_search(&origin).is_ok() && !living.contains(&origin);
        origin == own || has_ended()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_workers_have_the_same_though_the_clock_is_set_back() {
        let mut origins = Origins::default();
        let at = |microseconds| Timestamp::from_microsecond(microseconds).unwrap();
        let all = [100, 100, 90, -5, 200].map(|it| origins.next(at(it)));
        assert_eq!(all, [100, 101, 102, 103, 200]);
    }

    #[test]
    fn the_next_supervisor_gives_out_none_of_them_again() {
        let mut origins = Origins::default();
        let at = |microseconds| Timestamp::from_microsecond(microseconds).unwrap();
        let first: Vec<u64> = (0..LEFT + 2).map(|_| origins.next(at(100))).collect();
        let mut ids = IdsBook::default();
        origins.bequeath(&mut ids);
        assert_eq!(ids.origins, first[2..]);
        let mut next = Origins::resume(&ids);
        let new = next.next(at(100));
        assert!(new > first[LEFT + 1]);
        assert!(next.can_have(new, first[LEFT + 1], &[new].into()));
    }

    #[test]
    fn a_worker_has_sessions_of_its_own_and_of_workers_that_have_ended() {
        let mut origins = Origins::default();
        let now = Timestamp::from_microsecond(100).unwrap();
        let [ended, own, other] = [0; 3].map(|_| origins.next(now));
        let living = [own, other].into();
        assert!(origins.can_have(own, own, &living));
        assert!(origins.can_have(own, ended, &living));
        assert!(!origins.can_have(own, other, &living));
        // No worker has had it.
        assert!(!origins.can_have(own, 99, &living));
    }
}
