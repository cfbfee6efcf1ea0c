//! Lists of sessions, page by page from each worker.

use std::collections::{HashMap, HashSet};

use crate::{
    facts::{MOST_LISTED, Selection, SessionEntry, SessionId, SessionList},
    link::ToWorker,
    supervisor::plan::WorkerId,
};

/// A page of sessions, as a worker has told it and as far as it can be believed.
#[derive(Debug)]
pub(in crate::supervisor) struct Page {
    pub(in crate::supervisor) entries: Vec<SessionEntry>,
    pub(in crate::supervisor) has_more: bool,
    pub(in crate::supervisor) total: u64,
}

/// The list of sessions that is being put together.
#[derive(Debug)]
pub(super) struct List {
    selection: Selection,
    /// The most sessions.
    most: u64,
    sessions: Vec<SessionEntry>,
    /// How many there are in all.
    total: u64,
    /// How many each worker has told.
    told: HashMap<WorkerId, u64>,
}

impl List {
    /// Begins a list of no more than `most` sessions of a selection.
    pub(super) fn new(selection: Selection, most: u64) -> Self {
        Self {
            selection,
            most: most.clamp(1, MOST_LISTED),
            sessions: Vec::new(),
            total: 0,
            told: HashMap::new(),
        }
    }

    /// Returns the first question to each worker.
    pub(super) fn first_question(&self, ask: u64) -> ToWorker {
        self.question(ask, None, self.most)
    }

    fn question(&self, ask: u64, after: Option<SessionId>, most: u64) -> ToWorker {
        ToWorker::Sessions {
            ask,
            selection: self.selection.clone(),
            after,
            most,
        }
    }

    /// Takes a page; returns the question for the next, if the worker has more that may be of the list.
    pub(super) fn take(&mut self, worker: WorkerId, ask: u64, page: Page) -> Option<ToWorker> {
        let told = self.told.entry(worker).or_default();
        let left = usize::try_from(self.most - *told).unwrap_or(usize::MAX);
        if *told == 0 {
            self.total = self.total.saturating_add(page.total);
        }
        let mut entries = page.entries;
        entries.truncate(left);
        *told += entries.len() as u64;
        let left = self.most - *told;
        let last = entries.last().map(|entry| entry.id);
        self.sessions.append(&mut entries);
        if self.sessions.len() as u64 > 2 * self.most {
            self.trim();
        }
        let after = last.filter(|_| page.has_more && left > 0)?;
        Some(self.question(ask, Some(after), left))
    }

    /// Keeps the oldest sessions, each once: both workers have told of a session that one took over from the other
    /// meanwhile.
    fn trim(&mut self) {
        let mut known = HashSet::new();
        // What was told last is newer.
        self.sessions.reverse();
        let all = self.sessions.len();
        self.sessions.retain(|it| known.insert(it.id));
        let again = all - self.sessions.len();
        self.total = self.total.saturating_sub(again as u64);
        self.sessions.sort_by_key(|it| (it.started_at, it.id));
        let most = usize::try_from(self.most).unwrap_or(usize::MAX);
        self.sessions.truncate(most);
    }

    /// Returns the answer; `silent` are the workers that have not told all.
    pub(super) fn finish(mut self, silent: Vec<u32>) -> SessionList {
        self.trim();
        SessionList {
            left_out: self.total.saturating_sub(self.sessions.len() as u64),
            sessions: self.sessions,
            silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn entry(origin: u64, number: u64) -> SessionEntry {
        // Those of one worker are younger than those of the other.
        let started = i64::try_from(origin + 10 * number).unwrap();
        let started = Timestamp::from_second(started).unwrap();
        SessionEntry::sample(SessionId { origin, number }, started)
    }

    fn page(
        origin: u64,
        numbers: std::ops::RangeInclusive<u64>,
        has_more: bool,
        total: u64,
    ) -> Page {
        Page {
            entries: numbers.map(|number| entry(origin, number)).collect(),
            has_more,
            total,
        }
    }

    fn list(most: u64) -> List {
        List::new(Selection::default(), most)
    }

    const ONE: WorkerId = WorkerId(1);
    const OTHER: WorkerId = WorkerId(2);

    fn asks(question: Option<ToWorker>) -> Option<(Option<SessionId>, u64)> {
        question.map(|question| match question {
            ToWorker::Sessions { after, most, .. } => (after, most),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn pages_are_asked_for_until_there_are_no_more() {
        let mut list = list(10);
        assert_eq!(
            asks(list.take(ONE, 1, page(1, 1..=3, true, 5))),
            Some((
                Some(SessionId {
                    origin: 1,
                    number: 3
                }),
                7
            ))
        );
        assert_eq!(asks(list.take(ONE, 1, page(1, 4..=5, false, 0))), None);
        let done = list.finish(vec![]);
        assert_eq!((done.sessions.len(), done.left_out), (5, 0));
    }

    #[test]
    fn the_oldest_of_all_workers_are_told_and_the_rest_is_counted() {
        let mut list = list(3);
        assert_eq!(asks(list.take(ONE, 1, page(1, 1..=3, true, 100))), None);
        assert_eq!(asks(list.take(OTHER, 1, page(2, 1..=3, true, 50))), None);
        let done = list.finish(vec![]);
        let ids = done.sessions.iter().map(|it| (it.id.origin, it.id.number));
        assert_eq!(ids.collect::<Vec<_>>(), [(1, 1), (2, 1), (1, 2)]);
        assert_eq!(done.left_out, 147);
    }

    #[test]
    fn a_worker_that_says_without_end_that_there_are_more_is_not_asked_without_end() {
        let mut list = list(1000);
        let nothing = Page {
            entries: Vec::new(),
            has_more: true,
            total: 9,
        };
        assert_eq!(asks(list.take(ONE, 1, nothing)), None);
        let mut questions = 0;
        let mut next = Some(());
        while next.is_some() {
            questions += 1;
            next = list.take(OTHER, 1, page(2, 1..=200, true, 9)).map(drop);
        }
        assert_eq!(questions, 5);
        assert_eq!(list.sessions.len(), 1000);
    }
    #[test]
    fn a_session_that_was_taken_over_meanwhile_is_listed_once() {
        let mut list = list(10);
        assert_eq!(asks(list.take(ONE, 1, page(1, 1..=2, false, 2))), None);
        let mut again = page(1, 2..=2, false, 1);
        again.entries[0].takeovers = 1;
        assert_eq!(asks(list.take(OTHER, 1, again)), None);
        let done = list.finish(vec![]);
        let told = done.sessions.iter().map(|it| (it.id.number, it.takeovers));
        assert_eq!(told.collect::<Vec<_>>(), [(1, 0), (2, 1)]);
        assert_eq!(done.left_out, 0);
    }
}
