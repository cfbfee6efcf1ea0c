//! When to look at the files, and when to load what a look saw. Pure; times are handed in.
//!
//! After an event, a look comes when there were no events for a moment and no writer holds a file
//! open. Without events, a look comes once an interval. A load is due when it differs from what the
//! last load began with and stands still: two looks saw the same, or the kernel reports every change
//! and reported none for as long as two looks take, up to the end of the only one. Files that change without end are loaded too: the
//! load itself recognizes files that do not stand still.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::hint::{Entry, Heard};

/// How long there must have been no events before a look; twice that before one that stands alone.
pub(super) const QUIET: Duration = Duration::from_millis(150);

/// How long events or one file held open for writing may delay a look.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// How long many files held open one after the other may delay a look.
const MAX_WAIT_ALL: Duration = Duration::from_secs(5);

/// The time between two comparisons while broken files may still be being written.
const SETTLING: Duration = Duration::from_secs(1);

/// How long after a load the disk is loaded again even if no file has changed: certificates become
/// valid and expire by time alone, and the system's authorities are not among the files compared.
const RELOAD: Duration = Duration::from_secs(60);

/// A hash over all files.
pub(super) type Print = [u8; 32];

/// What earlier looks and events have shown.
#[derive(Debug, Default)]
pub(super) struct Pace {
    told: Option<(Print, Instant)>,
    seen: Option<(Print, Instant)>,
    stir: Option<Stir>,
    /// The files that a writer holds open, and since when.
    writing: HashMap<Entry, Instant>,
}

/// Events since the last look: the first and the last.
#[derive(Debug, Clone, Copy)]
struct Stir {
    first: Instant,
    last: Instant,
}

/// What the configuration and the disk say about the pace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure {
    /// The time between two comparisons.
    pub(super) interval: Duration,
    /// Whether broken files may still be being written.
    pub(super) settling: bool,
    /// Whether the kernel reports every change.
    pub(super) hears_all: bool,
}

impl Pace {
    /// Notes that the files should be looked at.
    pub(super) fn stir(&mut self, now: Instant) {
        let first = self.stir.map_or(now, |stir| stir.first);
        self.stir = Some(Stir { first, last: now });
    }

    /// Notes an event.
    pub(super) fn hear(&mut self, heard: Heard, now: Instant) {
        match heard {
            Heard::Writing(entry) => _ = self.writing.entry(entry).or_insert(now),
            Heard::Done(entry) => _ = self.writing.remove(&entry),
            Heard::Stir => {}
        }
        self.stir(now);
    }

    /// Returns when to look; `None` means at once.
    pub(super) fn due(&self, measure: Measure) -> Option<Instant> {
        if let Some(stir) = self.stir {
            let pause = if measure.hears_all { 2 * QUIET } else { QUIET };
            let quiet = (stir.last + pause).min(stir.first + MAX_WAIT);
            let closed = self.writing.values().map(|since| *since + MAX_WAIT).max();
            let due = closed.map_or(quiet, |closed| closed.max(quiet));
            return Some(due.min(stir.first + MAX_WAIT_ALL));
        }
        let interval = if measure.settling {
            measure.interval.min(SETTLING)
        } else {
            measure.interval
        };
        self.seen.map(|(_, at)| at + interval)
    }

    /// Notes what a look saw at `now`; returns whether to load. `heard` are the events that came while
    /// it looked.
    pub(super) fn looked(
        &mut self,
        print: Print,
        heard: Vec<Heard>,
        now: Instant,
        measure: Measure,
    ) -> bool {
        let is_complete = measure.hears_all && self.stir.is_some();
        let is_quiet = is_complete && heard.is_empty() && self.writing.is_empty();
        let stood_still = is_quiet || self.seen.is_some_and(|(seen, _)| seen == print);
        self.seen = Some((print, now));
        // A writer that is not done causes further events.
        self.writing.clear();
        let since = self.stir.take().map_or(now, |stir| stir.first);
        for heard in heard {
            self.hear(heard, now);
        }
        let known = self
            .told
            .is_some_and(|(told, at)| told == print && !measure.settling && now < at + RELOAD);
        if known {
            return false;
        }
        if stood_still || now >= since + MAX_WAIT {
            self.told = Some((print, now));
            return true;
        }
        self.stir = Some(Stir {
            first: since,
            last: now,
        });
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Measure = Measure {
        interval: Duration::from_secs(5),
        settling: false,
        hears_all: false,
    };
    const SETTLES: Measure = Measure {
        settling: true,
        ..EVERY
    };
    const OLD: Print = [1; 32];
    const NEW: Print = [2; 32];

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    fn cert() -> Entry {
        (1, "cert".into())
    }

    /// Returns a pace that has asked for a load of what it saw, and when that was.
    fn told() -> (Pace, Instant) {
        let (mut pace, first) = (Pace::default(), Instant::now());
        assert_eq!(pace.due(EVERY), None);
        assert!(!pace.looked(OLD, vec![], first, EVERY));
        let now = first + QUIET;
        assert_eq!(pace.due(EVERY), Some(now));
        assert!(pace.looked(OLD, vec![], now, EVERY));
        (pace, now)
    }

    #[test]
    fn without_a_word_there_is_a_look_each_interval() {
        let (mut pace, now) = told();
        assert_eq!(pace.due(EVERY), Some(now + EVERY.interval));
        let later = now + EVERY.interval;
        assert!(!pace.looked(OLD, vec![], later, EVERY));
        assert_eq!(pace.due(EVERY), Some(later + EVERY.interval));
    }

    #[test]
    fn what_a_comparison_finds_is_loaded_when_it_stands_still() {
        let (mut pace, now) = told();
        let later = now + EVERY.interval;
        assert!(!pace.looked(NEW, vec![], later, EVERY));
        assert_eq!(pace.due(EVERY), Some(later + QUIET));
        assert!(pace.looked(NEW, vec![], later + QUIET, EVERY));
        assert_eq!(pace.due(EVERY), Some(later + QUIET + EVERY.interval));
        assert!(!pace.looked(NEW, vec![], later + QUIET + EVERY.interval, EVERY));
    }

    #[test]
    fn where_all_is_heard_one_look_is_enough_unless_something_comes_meanwhile() {
        let hears = Measure {
            hears_all: true,
            ..EVERY
        };
        let (mut pace, now) = told();
        let due = now + 2 * QUIET;
        pace.hear(Heard::Done(cert()), now);
        assert_eq!(pace.due(hears), Some(due));
        assert!(pace.looked(NEW, vec![], due, hears));
        // What no event has told of must be seen twice.
        assert!(!pace.looked(OLD, vec![], due + ms(5000), hears));
        let (mut pace, now) = told();
        let due = now + 2 * QUIET;
        pace.hear(Heard::Done(cert()), now);
        assert!(!pace.looked(NEW, vec![Heard::Stir], due, hears));
        assert_eq!(pace.due(hears), Some(due + 2 * QUIET));
        assert!(pace.looked(NEW, vec![], due + 2 * QUIET, hears));
    }

    #[test]
    fn what_was_and_is_again_is_no_news() {
        let (mut pace, now) = told();
        assert!(!pace.looked(NEW, vec![], now + ms(500), EVERY));
        assert!(!pace.looked(OLD, vec![], now + ms(650), EVERY));
        assert_eq!(pace.due(EVERY), Some(now + ms(650) + EVERY.interval));
    }

    #[test]
    fn a_look_waits_for_quiet_but_not_for_ever() {
        let (mut pace, now) = told();
        let mut at = now;
        while pace.due(EVERY).is_none_or(|due| due > at) {
            pace.hear(Heard::Stir, at);
            at += ms(100);
        }
        assert_eq!(at, now + MAX_WAIT);
    }

    #[test]
    fn who_has_a_file_open_is_waited_for() {
        let (mut pace, now) = told();
        pace.hear(Heard::Writing(cert()), now);
        assert_eq!(pace.due(EVERY), Some(now + MAX_WAIT));
        pace.hear(Heard::Done(cert()), now + ms(700));
        assert_eq!(pace.due(EVERY), Some(now + ms(700) + QUIET));
    }

    #[test]
    fn many_who_hold_files_open_in_turn_are_not_waited_for_without_end() {
        let (mut pace, now) = told();
        let mut at = now;
        for number in 0_u32.. {
            let file = || (1, number.to_string().into());
            pace.hear(Heard::Writing(file()), at);
            at += ms(500);
            if pace.due(EVERY).is_some_and(|due| due <= at) {
                break;
            }
            pace.hear(Heard::Done(file()), at);
        }
        assert_eq!(at, now + MAX_WAIT_ALL);
    }

    #[test]
    fn what_never_stands_still_is_loaded_in_the_end() {
        let (mut pace, now) = told();
        let mut at = now;
        for round in 0_u8.. {
            at += QUIET;
            if pace.looked([round + 10; 32], vec![], at, EVERY) {
                break;
            }
        }
        assert!(at <= now + MAX_WAIT + QUIET * 2);
    }

    #[test]
    fn while_something_settles_it_is_loaded_again_and_again() {
        let (mut pace, now) = told();
        assert_eq!(pace.due(SETTLES), Some(now + SETTLING));
        assert!(pace.looked(OLD, vec![], now + SETTLING, SETTLES));
        let short = Measure {
            interval: ms(100),
            ..SETTLES
        };
        assert_eq!(pace.due(short), Some(now + SETTLING + ms(100)));
    }

    #[test]
    fn time_alone_is_a_reason_in_the_end() {
        let (mut pace, now) = told();
        assert!(!pace.looked(OLD, vec![], now + RELOAD.saturating_sub(ms(1)), EVERY));
        assert!(pace.looked(OLD, vec![], now + RELOAD, EVERY));
        assert!(!pace.looked(OLD, vec![], now + RELOAD + ms(1), EVERY));
    }
}
