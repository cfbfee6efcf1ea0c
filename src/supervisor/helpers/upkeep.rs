//! When a helper process is started, and when it is killed: decided from events and time alone.

use std::time::Duration;

use crate::children::{
    Id,
    restart::{HEALTHY, look_interval, wait_after},
};

/// How long a helper must have run for its wish to be started anew to be no failure: one that always has
/// that wish must not be started without end.
const SETTLED: Duration = Duration::from_secs(1);

/// Keeps one helper process running.
#[derive(Debug)]
pub(super) struct Upkeep {
    state: State,
    last: Id,
    failures: u32,
}

/// How a helper fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is started at this time.
    Waiting { until: Duration },
    /// It was started at one time, and its silence was last measured at another.
    Running {
        since: Duration,
        looked: Duration,
        silence: Duration,
    },
    /// It was killed, and its end was not reported yet.
    Killed { since: Duration },
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Start a process with this id.
    Start(Id),
    /// Kill the process, which has been silent for too long.
    Kill(Id),
}

impl Upkeep {
    /// Begins with a helper that is to be started at once.
    pub(super) fn new() -> Self {
        let until = Duration::ZERO;
        Self {
            state: State::Waiting { until },
            last: Id(0),
            failures: 0,
        }
    }

    /// Returns the id of the process, if there is one.
    pub(super) fn id(&self) -> Option<Id> {
        match self.state {
            State::Waiting { .. } => None,
            State::Running { .. } | State::Killed { .. } => Some(self.last),
        }
    }

    /// Returns when the next order is due, unless something happens before. A helper may be silent for
    /// `patience`.
    pub(super) fn due(&self, patience: Duration) -> Option<Duration> {
        match self.state {
            State::Waiting { until } => Some(until),
            State::Running { looked, .. } => Some(looked + look_interval(patience)),
            State::Killed { .. } => None,
        }
    }

    /// Returns the order that is due now.
    pub(super) fn tick(&mut self, now: Duration, patience: Duration) -> Option<Order> {
        if self.due(patience).is_none_or(|due| now < due) {
            return None;
        }
        match &mut self.state {
            State::Waiting { .. } => {
                self.last = Id(self.last.0 + 1);
                self.state = State::Running {
                    since: now,
                    looked: now,
                    silence: Duration::ZERO,
                };
                Some(Order::Start(self.last))
            }
            State::Running {
                since,
                looked,
                silence,
            } => {
                *silence += now.saturating_sub(*looked).min(look_interval(patience));
                *looked = now;
                if *silence < patience {
                    return None;
                }
                self.state = State::Killed { since: *since };
                Some(Order::Kill(self.last))
            }
            State::Killed { .. } => None,
        }
    }

    /// Notes that the process of this id is alive.
    pub(super) fn heard(&mut self, id: Id) {
        if id != self.last {
            return;
        }
        if let State::Running { silence, .. } = &mut self.state {
            *silence = Duration::ZERO;
        }
    }

    /// Notes the end of the process of this id; returns how long until the next start. An end that the
    /// process `asked` for is no failure, unless it comes right after the start.
    pub(super) fn exited(&mut self, id: Id, asked: bool, now: Duration) -> Option<Duration> {
        if id != self.last {
            return None;
        }
        let (State::Running { since, .. } | State::Killed { since }) = self.state else {
            return None;
        };
        let ran = now.saturating_sub(since);
        let is_failure = !asked || ran < SETTLED;
        if !is_failure || ran >= HEALTHY {
            self.failures = 0;
        }
        self.failures += u32::from(is_failure);
        let wait = wait_after(self.failures);
        self.state = State::Waiting { until: now + wait };
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::children::restart::LONGEST_WAIT;

    const PATIENCE: Duration = Duration::from_secs(3);

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_helper_is_started_at_once_and_left_alone_while_it_is_heard() {
        let mut upkeep = Upkeep::new();
        assert_eq!(upkeep.tick(at(0), PATIENCE), Some(Order::Start(Id(1))));
        for second in 1..20 {
            assert_eq!(upkeep.tick(at(second * 1000), PATIENCE), None);
            upkeep.heard(Id(1));
        }
        assert_eq!(upkeep.id(), Some(Id(1)));
    }

    /// Lets time pass, a tenth of a second a step, until there is an order; returns it and when.
    fn wait(upkeep: &mut Upkeep, from: u64) -> (Order, u64) {
        let mut steps = (from..from + 60_000).step_by(100);
        let ordered = steps.find_map(|now| Some((upkeep.tick(at(now), PATIENCE)?, now)));
        ordered.expect("there is an order")
    }

    #[test]
    fn a_silent_helper_is_killed_once_and_started_again() {
        let mut upkeep = Upkeep::new();
        upkeep.tick(at(0), PATIENCE);
        let (order, killed) = wait(&mut upkeep, 0);
        assert_eq!(order, Order::Kill(Id(1)));
        assert!((3000..4000).contains(&killed), "{killed}");
        assert_eq!(upkeep.tick(at(9000), PATIENCE), None);
        assert_eq!(upkeep.exited(Id(1), false, at(9001)), Some(at(0)));
        assert_eq!(upkeep.tick(at(9001), PATIENCE), Some(Order::Start(Id(2))));
        upkeep.heard(Id(1));
        assert_eq!(wait(&mut upkeep, 9001).0, Order::Kill(Id(2)));
    }

    #[test]
    fn a_supervisor_that_was_held_up_does_not_take_a_helper_for_dead() {
        let mut upkeep = Upkeep::new();
        upkeep.tick(at(0), PATIENCE);
        for minute in 1..9 {
            assert_eq!(upkeep.tick(at(minute * 60_000), PATIENCE), None);
            upkeep.heard(Id(1));
        }
    }

    #[test]
    fn starts_that_fail_in_a_row_wait_longer_and_longer() {
        let mut upkeep = Upkeep::new();
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..12 {
            let Some(Order::Start(id)) = upkeep.tick(now, PATIENCE) else {
                panic!("{upkeep:?}");
            };
            let wait = upkeep.exited(id, false, now).unwrap();
            waits.push(wait);
            now += wait;
        }
        assert_eq!(waits[..4], [at(0), at(100), at(200), at(400)]);
        assert_eq!(waits[11], LONGEST_WAIT);
        let Some(Order::Start(id)) = upkeep.tick(now, PATIENCE) else {
            panic!("{upkeep:?}");
        };
        assert_eq!(upkeep.exited(id, false, now + HEALTHY), Some(at(0)));
    }

    #[test]
    fn an_end_that_the_helper_asked_for_is_no_failure() {
        let mut upkeep = Upkeep::new();
        let mut now = at(0);
        for round in 1..9 {
            assert_eq!(upkeep.tick(now, PATIENCE), Some(Order::Start(Id(round))));
            now += SETTLED;
            assert_eq!(upkeep.exited(Id(round), true, now), Some(at(0)));
        }
    }

    #[test]
    fn a_helper_that_asks_to_be_started_anew_at_once_waits_longer_and_longer() {
        let mut upkeep = Upkeep::new();
        let mut now = at(0);
        let mut waits = Vec::new();
        for round in 1..5 {
            assert_eq!(upkeep.tick(now, PATIENCE), Some(Order::Start(Id(round))));
            now += at(10);
            let wait = upkeep.exited(Id(round), true, now).unwrap();
            waits.push(wait);
            now += wait;
        }
        assert_eq!(waits, [at(0), at(100), at(200), at(400)]);
    }
}
