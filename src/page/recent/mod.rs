//! What the page remembers by itself: the last hour in numbers, and the newest events.
//!
//! It is gone with the process: after a restart of the page, and after an upgrade of the daemon, it begins anew.

mod history;

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;

pub(super) use self::history::{History, POINTS, Point, STEP};
use crate::{
    control::Event,
    link::{News, Numbers},
};

/// The most events that are remembered.
const MOST_EVENTS: usize = 1024;

/// What is remembered.
#[derive(Debug)]
pub(super) struct Recent {
    /// Since when.
    pub(super) since: Timestamp,
    /// The last hour.
    pub(super) history: History,
    /// The newest events, the oldest first.
    pub(super) events: VecDeque<Event>,
    /// The newest numbers of listeners.
    newest: Vec<Numbers>,
}

impl Recent {
    /// Remembers nothing yet.
    pub(super) fn new(since: Timestamp) -> Self {
        Self {
            since,
            history: History::default(),
            events: VecDeque::new(),
            newest: Vec::new(),
        }
    }

    /// Returns the number of the newest event; 0 if none is known.
    pub(super) fn last_event(&self) -> u64 {
        self.events.back().map_or(0, |it| it.seq)
    }

    /// Takes news.
    pub(super) fn learn(&mut self, news: News) {
        self.newest = news.listeners;
        let last = self.last_event();
        self.events
            .extend(news.events.into_iter().filter(|it| it.seq > last));
        let surplus = self.events.len().saturating_sub(MOST_EVENTS);
        self.events.drain(..surplus);
    }

    /// Adds a point to the history at this time since the process began; a gap if there were no news.
    pub(super) fn step(&mut self, at: Duration, told: bool) {
        self.history.add(at, told.then_some(&self.newest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{EventKind, fixture::at};

    #[test]
    fn events_are_remembered_once_and_no_more_than_there_is_room_for() {
        let mut recent = Recent::new(at("2026-01-01T00:00:00Z"));
        let news = |numbers: std::ops::RangeInclusive<u64>| News {
            listeners: vec![],
            events: numbers
                .map(|seq| Event {
                    seq,
                    at: at("2026-01-01T00:00:00Z"),
                    kind: EventKind::Reloaded,
                    message: String::new(),
                })
                .collect(),
        };
        assert_eq!(recent.last_event(), 0);
        recent.learn(news(1..=5));
        recent.learn(news(4..=6));
        assert!(recent.events.iter().map(|it| it.seq).eq(1..=6));
        recent.learn(news(7..=2000));
        assert_eq!(
            (recent.events.len(), recent.last_event()),
            (MOST_EVENTS, 2000)
        );
    }
}
