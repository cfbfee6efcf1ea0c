//! When which of several addresses is tried: the decisions of RFC 8305, section 5, without clock or
//! sockets.

use std::time::{Duration, Instant};

/// The longest time until the next address is tried beside one that has not answered (RFC 8305,
/// section 8: "Connection Attempt Delay").
const LONGEST_DELAY: Duration = Duration::from_millis(250);

/// The shortest, for patience that is short (there: "MUST NOT be less than 10 milliseconds").
const SHORTEST_DELAY: Duration = Duration::from_millis(10);

/// Returns the time until the next of `count` addresses is tried, so that the last of them still has
/// half of `patience`.
pub(super) fn delay(patience: Duration, count: usize) -> Duration {
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    let share = patience / count.saturating_mul(2);
    share.clamp(SHORTEST_DELAY, LONGEST_DELAY)
}

/// The attempts at several addresses, which are known by their positions.
#[derive(Debug)]
pub(super) struct Schedule {
    states: Vec<State>,
    delay: Duration,
    /// When the next attempt may begin.
    next_at: Instant,
    /// When all of them are given up.
    by: Instant,
}

/// How an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It has not begun.
    Waiting,
    /// It has begun then, and has not ended.
    Running(Instant),
    /// It has failed.
    Failed,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Begin the attempt at this position.
    Start(usize),
    /// Wait until one ends, but no longer than this.
    Wait(Instant),
    /// Nothing more: all have failed, or the time is up.
    GiveUp,
}

impl Schedule {
    /// Plans attempts at `count` addresses, in the order of their positions.
    pub(super) fn new(count: usize, delay: Duration, now: Instant, by: Instant) -> Self {
        Self {
            states: vec![State::Waiting; count],
            delay,
            next_at: now,
            by,
        }
    }

    /// Returns what is to be done now.
    pub(super) fn next(&self, now: Instant) -> Step {
        if now >= self.by {
            return Step::GiveUp;
        }
        let is_running = |state: &State| matches!(state, State::Running(_));
        let waiting = self.states.iter().position(|it| *it == State::Waiting);
        let runs = self.states.iter().any(is_running);
        match waiting {
            Some(position) if !runs || now >= self.next_at => Step::Start(position),
            Some(_) => Step::Wait(self.next_at.min(self.by)),
            None if runs => Step::Wait(self.by),
            None => Step::GiveUp,
        }
    }

    /// Notes that an attempt has begun.
    pub(super) fn start(&mut self, position: usize, now: Instant) {
        self.states[position] = State::Running(now);
        self.next_at = now + self.delay;
    }

    /// Notes that an attempt has failed. The next does not wait for its turn.
    pub(super) fn fail(&mut self, position: usize, now: Instant) {
        self.states[position] = State::Failed;
        self.next_at = now;
    }

    /// Returns how long an attempt has been without an answer, in the time that there was for it; `None`
    /// if it does not run.
    pub(super) fn waited(&self, position: usize, now: Instant) -> Option<Duration> {
        match self.states[position] {
            State::Running(since) => Some(now.min(self.by).saturating_duration_since(since)),
            State::Waiting | State::Failed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// What an address does with an attempt, so long after it began.
    #[derive(Debug, Clone, Copy)]
    enum Answer {
        Connects(u64),
        Refuses(u64),
        Never,
    }

    /// How a simulated race went.
    #[derive(Debug, Default)]
    struct Past {
        starts: Vec<(usize, Instant)>,
        failures: Vec<Instant>,
        winner: Option<usize>,
        ended: Option<Instant>,
    }

    /// Returns when the next attempt that runs ends, and how.
    fn next_end(past: &Past, done: &[usize], answers: &[Answer]) -> Option<(Instant, usize, bool)> {
        let ends = past.starts.iter().filter_map(|(position, began)| {
            let (after, connects) = match answers[*position] {
                Answer::Connects(after) => (after, true),
                Answer::Refuses(after) => (after, false),
                Answer::Never => return None,
            };
            (!done.contains(position)).then(|| (*began + ms(after), *position, connects))
        });
        ends.min()
    }

    /// Carries a schedule out against addresses that answer so.
    fn simulate(answers: &[Answer], delay: Duration, begin: Instant, by: Instant) -> Past {
        let mut schedule = Schedule::new(answers.len(), delay, begin, by);
        let (mut past, mut done, mut now) = (Past::default(), Vec::new(), begin);
        loop {
            match schedule.next(now) {
                Step::Start(position) => {
                    schedule.start(position, now);
                    past.starts.push((position, now));
                }
                Step::Wait(until) => {
                    assert!(until > now && until <= by, "a wait ends, and in time");
                    match next_end(&past, &done, answers) {
                        Some((at, position, connects)) if at <= until => {
                            now = at;
                            done.push(position);
                            if connects {
                                past.winner = Some(position);
                                past.ended = Some(now);
                                return past;
                            }
                            schedule.fail(position, now);
                            past.failures.push(now);
                        }
                        _ => now = until,
                    }
                }
                Step::GiveUp => {
                    past.ended = Some(now);
                    return past;
                }
            }
        }
    }

    fn answer() -> impl Strategy<Value = Answer> {
        prop_oneof![
            (0_u64..2000).prop_map(Answer::Connects),
            (0_u64..2000).prop_map(Answer::Refuses),
            Just(Answer::Never),
        ]
    }

    proptest! {
        #[test]
        fn an_address_that_answers_is_reached_however_the_others_behave(
            answers in proptest::collection::vec(answer(), 1..9),
            patience in 100_u64..6000,
        ) {
            let (begin, limit) = (Instant::now(), ms(patience));
            let delay = delay(limit, answers.len());
            let past = simulate(&answers, delay, begin, begin + limit);
            let reachable = answers.iter().zip(0_u32..).filter_map(|(answer, turn)| match answer {
                Answer::Connects(after) => Some(delay * turn + ms(*after)),
                _ => None,
            });
            match reachable.min() {
                Some(time) if time < limit => {
                    prop_assert!(past.winner.is_some());
                    prop_assert!(past.ended.unwrap() <= begin + time);
                }
                _ => prop_assert!(past.ended.unwrap() <= begin + limit),
            }
        }

        #[test]
        fn attempts_begin_in_order_each_in_its_turn_or_for_one_that_failed(
            answers in proptest::collection::vec(answer(), 1..9),
        ) {
            let (begin, delay) = (Instant::now(), ms(250));
            let past = simulate(&answers, delay, begin, begin + ms(5000));
            for (turn, (position, at)) in past.starts.iter().enumerate() {
                prop_assert_eq!(turn, *position);
                let Some((_, before)) = turn.checked_sub(1).map(|it| past.starts[it]) else {
                    prop_assert_eq!(*at, begin);
                    continue;
                };
                let in_turn = *at == before + delay;
                let for_failure = past.failures.iter().any(|it| it == at);
                prop_assert!(in_turn || for_failure, "{past:?}");
            }
        }

        #[test]
        fn it_is_given_up_early_only_when_all_have_failed(
            answers in proptest::collection::vec(answer(), 1..9),
        ) {
            let begin = Instant::now();
            let by = begin + ms(3000);
            let past = simulate(&answers, ms(250), begin, by);
            if past.winner.is_none() && past.ended.unwrap() < by {
                prop_assert_eq!(past.failures.len(), answers.len());
            }
        }

        #[test]
        fn the_last_address_has_half_of_the_patience(count in 1_usize..9, patience in 200_u64..60_000) {
            let delay = delay(ms(patience), count);
            prop_assert!(delay * u32::try_from(count - 1).unwrap() <= ms(patience) / 2);
            prop_assert!(delay <= LONGEST_DELAY && delay >= SHORTEST_DELAY);
        }
    }

    #[test]
    fn the_next_address_is_tried_after_the_delay_or_at_once_when_one_fails() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(3, ms(250), begin, begin + ms(5000));
        assert_eq!(schedule.next(begin), Step::Start(0));
        schedule.start(0, begin);
        assert_eq!(schedule.next(begin), Step::Wait(begin + ms(250)));
        assert_eq!(schedule.next(begin + ms(250)), Step::Start(1));
        schedule.start(1, begin + ms(250));
        schedule.fail(1, begin + ms(260));
        assert_eq!(schedule.next(begin + ms(260)), Step::Start(2));
        schedule.start(2, begin + ms(260));
        assert_eq!(schedule.next(begin + ms(260)), Step::Wait(begin + ms(5000)));
        assert_eq!(schedule.waited(0, begin + ms(300)), Some(ms(300)));
        assert_eq!(schedule.waited(1, begin + ms(300)), None);
        assert_eq!(schedule.waited(0, begin + ms(5001)), Some(ms(5000)));
        assert_eq!(schedule.next(begin + ms(5000)), Step::GiveUp);
    }
}
