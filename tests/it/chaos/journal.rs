//! The timeline of faults: which fault struck when, and how often.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A finding is reported with the faults of this time before it, which may have led to it.
const BEFORE: Duration = Duration::from_secs(15);

/// How long a shortage of the supervisor may have effects after it is over.
const ECHO: Duration = Duration::from_secs(2);

/// A fault that struck.
#[derive(Debug)]
struct Strike {
    fault: &'static str,
    excuses: bool,
    begun: Instant,
    ended: Option<Instant>,
    counts: bool,
    notes: Vec<String>,
}

/// The timeline of faults.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    strikes: Vec<Strike>,
    skipped: BTreeMap<&'static str, String>,
}

/// A strike in the journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry(usize);

impl Journal {
    /// Notes that a fault strikes; with `excuses`, commands may be refused until it is over.
    pub(crate) fn begin(&mut self, fault: &'static str, excuses: bool, at: Instant) -> Entry {
        self.strikes.push(Strike {
            fault,
            excuses,
            begun: at,
            ended: None,
            counts: true,
            notes: Vec::new(),
        });
        Entry(self.strikes.len() - 1)
    }

    /// Adds details of a strike, such as which worker it hits.
    pub(crate) fn note(&mut self, entry: Entry, note: String) {
        self.strikes[entry.0].notes.push(note);
    }

    /// Notes that a strike is over and undone.
    pub(crate) fn end(&mut self, entry: Entry, at: Instant) {
        self.strikes[entry.0].ended = Some(at);
    }

    /// Notes that a strike found nothing to strike.
    pub(crate) fn cancel(&mut self, entry: Entry, at: Instant) {
        self.end(entry, at);
        self.strikes[entry.0].counts = false;
    }

    /// Notes that a fault cannot strike on this machine, and why; returns whether that is new.
    pub(crate) fn skip(&mut self, fault: &'static str, why: &str) -> bool {
        self.skipped.insert(fault, why.to_owned()).is_none()
    }

    /// Returns the faults that could not strike, and why.
    pub(crate) fn skipped(&self) -> &BTreeMap<&'static str, String> {
        &self.skipped
    }

    /// Returns whether a fault excuses the refusal of a command in this time.
    pub(crate) fn excuses(&self, begun: Instant, ended: Instant) -> bool {
        let mut excusing = self.strikes.iter().filter(|strike| strike.excuses);
        excusing.any(|it| it.begun <= ended && it.ended.is_none_or(|end| end + ECHO >= begun))
    }

    /// Returns how often each fault struck.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for strike in self.strikes.iter().filter(|it| it.counts) {
            *counts.entry(strike.fault).or_default() += 1;
        }
        counts
    }

    /// Returns a line for each fault that struck shortly before or after a moment; times count from
    /// `start`.
    pub(crate) fn around(&self, moment: Instant, start: Instant) -> Vec<String> {
        let since = before(moment, BEFORE);
        let near = self.strikes.iter().filter(|it| {
            it.counts && it.begun <= moment && it.ended.is_none_or(|end| end >= since)
        });
        near.map(|strike| strike.line(start)).collect()
    }
}

impl Strike {
    fn line(&self, start: Instant) -> String {
        let begun = seconds(self.begun, start);
        let ended = self
            .ended
            .map_or_else(|| "...".to_owned(), |it| seconds(it, start));
        let notes = self.notes.join("; ");
        format!("{begun} to {ended} {}: {notes}", self.fault)
    }
}

/// Returns an earlier moment.
pub(crate) fn before(moment: Instant, time: Duration) -> Instant {
    moment.checked_sub(time).unwrap_or(moment)
}

/// Writes a moment as seconds since `start`.
pub(crate) fn seconds(moment: Instant, start: Instant) -> String {
    format!("{:.3} s", moment.duration_since(start).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strikes_are_counted_and_told_around_a_moment() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut journal = Journal::default();
        let early = journal.begin("kill", false, at(1));
        journal.end(early, at(2));
        let late = journal.begin("kill", false, at(30));
        journal.note(late, "worker 7".to_owned());
        assert_eq!(journal.counts()["kill"], 2);
        let around = journal.around(at(31), start);
        assert_eq!(around, ["30.000 s to ... kill: worker 7"]);
    }

    #[test]
    fn only_faults_that_starve_the_daemon_excuse_a_refusal() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut journal = Journal::default();
        journal.begin("kill", false, at(1));
        assert!(!journal.excuses(at(1), at(2)));
        let entry = journal.begin("descriptors", true, at(10));
        journal.end(entry, at(11));
        assert!(journal.excuses(at(9), at(10)));
        assert!(!journal.excuses(at(8), at(9)) && !journal.excuses(at(14), at(15)));
    }
}
