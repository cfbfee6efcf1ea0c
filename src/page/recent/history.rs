//! The last hour of each listener: a point every ten seconds, in a ring.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::link::Numbers;

/// The time between two points.
pub(in crate::page) const STEP: Duration = Duration::from_secs(10);

/// Points of a ring: an hour.
pub(in crate::page) const POINTS: usize = 360;

/// Rings, of removed listeners too: with 32 bytes a point they take 3 MB at most.
const MOST_SERIES: usize = 256;

/// What a listener did within a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::page) struct Point {
    /// Sessions open at its end.
    pub(in crate::page) open: u32,
    /// Sessions that never came to relay.
    pub(in crate::page) failed: u32,
    /// Bytes from clients to backends.
    pub(in crate::page) bytes_up: u64,
    /// Bytes from backends to clients.
    pub(in crate::page) bytes_down: u64,
}

/// The last hour. All rings have the same length, and gaps where nothing was told.
#[derive(Debug, Default)]
pub(in crate::page) struct History {
    series: BTreeMap<String, Series>,
    length: usize,
    last: Option<Duration>,
}

/// The ring of a listener, with the counters that its newest point comes of.
#[derive(Debug)]
struct Series {
    counters: Numbers,
    points: VecDeque<Option<Point>>,
}

impl History {
    /// Returns how many points there are, gaps included.
    pub(in crate::page) fn length(&self) -> usize {
        self.length
    }

    /// Returns the points of a listener, the oldest first; `None` if it has none.
    pub(in crate::page) fn of(&self, listener: &str) -> Option<&VecDeque<Option<Point>>> {
        self.series.get(listener).map(|it| &it.points)
    }

    /// Adds a point for each listener; a gap for all if there are no numbers. Steps that were left out, because
    /// the host slept or the process was stopped, become gaps.
    pub(in crate::page) fn add(&mut self, at: Duration, numbers: Option<&Vec<Numbers>>) {
        let missed = self.last.map_or(0, |last| missed(at.saturating_sub(last)));
        self.last = Some(at);
        for _ in 0..missed {
            self.push(&[]);
        }
        self.push(numbers.map_or(&[], Vec::as_slice));
        let is_known = |it: &mut Series| it.points.iter().any(Option::is_some);
        self.series.retain(|_, it| is_known(it));
    }

    fn push(&mut self, numbers: &[Numbers]) {
        for numbers in numbers {
            if !self.series.contains_key(&numbers.listener) && self.series.len() < MOST_SERIES {
                let series = Series {
                    counters: numbers.clone(),
                    points: std::iter::repeat_n(None, self.length).collect(),
                };
                self.series.insert(numbers.listener.clone(), series);
            }
            if let Some(series) = self.series.get_mut(&numbers.listener) {
                series
                    .points
                    .push_back(Some(point(&series.counters, numbers)));
                series.counters.clone_from(numbers);
            }
        }
        self.length += 1;
        for series in self.series.values_mut() {
            if series.points.len() < self.length {
                series.points.push_back(None);
            }
        }
        if self.length > POINTS {
            self.length = POINTS;
            for series in self.series.values_mut() {
                series.points.pop_front();
            }
        }
    }
}

/// Returns how many steps were left out before one that came so long after the one before.
fn missed(time: Duration) -> usize {
    let half = STEP / 2;
    let steps = (time + half).as_secs() / STEP.as_secs();
    usize::try_from(steps).map_or(POINTS, |it| it.saturating_sub(1).min(POINTS))
}

/// Returns what a listener did between two counts. A count that is lower than the one before began anew.
fn point(before: &Numbers, now: &Numbers) -> Point {
    let since = |before: u64, now: u64| now.checked_sub(before).unwrap_or(now);
    let small = |it: u64| u32::try_from(it).unwrap_or(u32::MAX);
    Point {
        open: small(now.open),
        failed: small(since(before.failed, now.failed)),
        bytes_up: since(before.bytes_up, now.bytes_up),
        bytes_down: since(before.bytes_down, now.bytes_down),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(listener: &str, open: u64, counted: u64) -> Numbers {
        Numbers {
            listener: listener.to_owned(),
            open,
            failed: counted,
            bytes_up: counted * 10,
            bytes_down: counted * 100,
        }
    }

    /// Adds one point after the other, each with a count of the listener `a`.
    fn of(counts: impl IntoIterator<Item = Option<u64>>) -> History {
        let mut history = History::default();
        for (step, count) in counts.into_iter().enumerate() {
            let told = count.map(|it| vec![numbers("a", it, it)]);
            history.add(STEP * u32::try_from(step).unwrap(), told.as_ref());
        }
        history
    }

    fn failed(history: &History, listener: &str) -> Vec<Option<u32>> {
        let points = history.of(listener).unwrap().iter();
        points.map(|it| it.map(|it| it.failed)).collect()
    }

    #[test]
    fn a_point_has_what_was_counted_since_the_one_before() {
        let history = of([Some(5), Some(7), Some(7)]);
        assert_eq!(failed(&history, "a"), [Some(0), Some(2), Some(0)]);
        let last = history.of("a").unwrap()[1].unwrap();
        assert_eq!((last.open, last.bytes_up, last.bytes_down), (7, 20, 200));
    }

    #[test]
    fn a_count_that_goes_back_began_anew() {
        let history = of([Some(100), Some(3), Some(4)]);
        assert_eq!(failed(&history, "a"), [Some(0), Some(3), Some(1)]);
    }

    #[test]
    fn what_was_not_told_is_a_gap_and_its_counts_come_after_it() {
        let history = of([Some(1), None, Some(4)]);
        assert_eq!(failed(&history, "a"), [Some(0), None, Some(3)]);
    }

    #[test]
    fn time_that_was_slept_through_is_a_gap() {
        let mut history = of([Some(1)]);
        let told = vec![numbers("a", 1, 2)];
        history.add(STEP * 3 + Duration::from_secs(1), Some(&told));
        assert_eq!(failed(&history, "a"), [Some(0), None, None, Some(1)]);
        history.add(STEP * 100_000, Some(&told));
        assert_eq!(history.length(), POINTS);
    }

    #[test]
    fn an_hour_is_remembered_and_no_more() {
        let history = of((0..1000).map(Some));
        assert_eq!(history.length(), POINTS);
        let points = history.of("a").unwrap();
        assert_eq!((points.len(), points[0].unwrap().open), (POINTS, 640));
    }

    #[test]
    fn a_listener_that_comes_later_has_gaps_before_and_one_that_is_gone_is_forgotten() {
        let mut history = of([Some(1), Some(1)]);
        let told = vec![numbers("b", 1, 1)];
        history.add(STEP * 2, Some(&told));
        assert_eq!(failed(&history, "a"), [Some(0), Some(0), None]);
        assert_eq!(failed(&history, "b"), [None, None, Some(0)]);
        for step in 3..400 {
            history.add(STEP * step, Some(&told));
        }
        assert!(history.of("a").is_none());
    }

    #[test]
    fn there_are_no_more_rings_than_there_is_room_for() {
        let mut history = History::default();
        let many: Vec<_> = (0..1000).map(|it| numbers(&it.to_string(), 1, 1)).collect();
        history.add(STEP, Some(&many));
        history.add(STEP * 2, Some(&many));
        assert_eq!(history.series.len(), MOST_SERIES);
        assert!(history.series.values().all(|it| it.points.len() == 2));
    }
}
