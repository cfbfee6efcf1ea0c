//! Which faults struck which worker and when, and so which ends of connections are no findings.

use std::time::{Duration, Instant};

use super::journal::before;

/// How long after a worker's end its clients may hear of it.
const ECHO: Duration = Duration::from_millis(500);

/// A fault that strikes a worker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Blow {
    /// It was killed, or the supervisor will kill it because it does not answer.
    Deadly,
    /// It was disturbed for a while: on a busy machine the supervisor may have taken it for hung.
    Passing,
    /// It had no descriptors for a while, and had to turn clients away.
    Shortage,
    /// It is the supervisor, which had no descriptors for a while, and could not keep sessions.
    SupervisorShortage,
}

/// All faults that struck workers.
#[derive(Debug, Default)]
pub(crate) struct Deaths(Vec<Struck>);

#[derive(Debug)]
struct Struck {
    pid: u32,
    blow: Blow,
    begun: Instant,
    ended: Option<Instant>,
}

impl Struck {
    fn overlaps(&self, begun: Instant, ended: Instant) -> bool {
        self.begun <= ended && self.ended.is_none_or(|it| it + ECHO >= begun)
    }
}

impl Deaths {
    /// Notes that a fault is about to strike a worker.
    pub(crate) fn begin(&mut self, pid: u32, blow: Blow, at: Instant) {
        self.0.push(Struck {
            pid,
            blow,
            begun: at,
            ended: None,
        });
    }

    /// Notes that the fault is over: the worker works as before, or has ended because of it.
    pub(crate) fn end(&mut self, pid: u32, at: Instant, dead: bool) {
        let mut struck = self.0.iter_mut().rev();
        if let Some(struck) = struck.find(|it| it.pid == pid && it.ended.is_none()) {
            struck.ended = Some(at);
            if dead && struck.blow == Blow::Passing {
                struck.blow = Blow::Deadly;
            }
        }
    }

    /// Returns whether any worker may have ended in this time.
    pub(crate) fn any(&self, begun: Instant, ended: Instant) -> bool {
        let is_deadly = |blow| matches!(blow, Blow::Deadly | Blow::Passing);
        let mut struck = self.0.iter().filter(|it| is_deadly(it.blow));
        struck.any(|it| it.overlaps(begun, ended))
    }

    /// Returns whether any worker was short of descriptors in this time.
    pub(crate) fn shortage(&self, begun: Instant, ended: Instant) -> bool {
        let mut struck = self.0.iter().filter(|it| it.blow == Blow::Shortage);
        struck.any(|it| it.overlaps(begun, ended))
    }

    /// Returns whether any process was short of the descriptors that it takes to keep a session or to take
    /// it over in this time.
    pub(crate) fn unkept(&self, begun: Instant, ended: Instant) -> bool {
        let is_short = |blow| matches!(blow, Blow::Shortage | Blow::SupervisorShortage);
        let mut struck = self.0.iter().filter(|it| is_short(it.blow));
        struck.any(|it| it.overlaps(begun, ended))
    }

    /// Returns whether a blow explains this worker's end, if it ended before `at`.
    pub(crate) fn explain(&self, pid: u32, at: Instant) -> bool {
        self.0.iter().any(|it| {
            let mine = it.pid == pid && it.begun <= at;
            mine && match it.blow {
                Blow::Deadly => true,
                Blow::Passing => it.overlaps(before(at, ECHO), at),
                Blow::Shortage | Blow::SupervisorShortage => false,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_worker_explains_what_ends_afterwards_and_nothing_before() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deaths = Deaths::default();
        deaths.begin(7, Blow::Deadly, at(10));
        deaths.end(7, at(11), true);
        assert!(deaths.any(at(9), at(10)) && deaths.any(at(11), at(20)));
        assert!(!deaths.any(at(8), at(9)) && !deaths.any(at(12), at(20)));
        assert!(deaths.explain(7, at(30)) && !deaths.explain(7, at(9)));
        assert!(!deaths.explain(8, at(10)));
    }

    #[test]
    fn a_shortage_explains_no_death() {
        let now = Instant::now();
        let mut deaths = Deaths::default();
        deaths.begin(7, Blow::Shortage, now);
        assert!(deaths.shortage(now, now));
        assert!(!deaths.any(now, now) && !deaths.explain(7, now));
    }

    #[test]
    fn a_shortage_of_either_process_explains_why_a_session_was_not_kept() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for blow in [Blow::Shortage, Blow::SupervisorShortage] {
            let mut deaths = Deaths::default();
            deaths.begin(7, blow, at(10));
            deaths.end(7, at(11), false);
            assert!(deaths.unkept(at(9), at(10)) && deaths.unkept(at(11), at(20)));
            assert!(!deaths.unkept(at(8), at(9)) && !deaths.unkept(at(12), at(20)));
            assert!(!deaths.any(at(10), at(11)));
        }
        let mut deaths = Deaths::default();
        deaths.begin(7, Blow::SupervisorShortage, start);
        assert!(!deaths.shortage(start, start));
        deaths.begin(8, Blow::Deadly, start);
        assert!(deaths.any(start, start));
    }

    #[test]
    fn a_passing_blow_explains_a_death_for_a_while_only() {
        let now = Instant::now();
        let later = now + Duration::from_secs(9);
        let mut deaths = Deaths::default();
        deaths.begin(7, Blow::Passing, now);
        deaths.end(7, now, false);
        assert!(deaths.explain(7, now) && !deaths.explain(7, later));
        deaths.begin(8, Blow::Passing, now);
        deaths.end(8, now, true);
        assert!(deaths.explain(8, later));
    }
}
