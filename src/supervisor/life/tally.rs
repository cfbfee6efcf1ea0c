//! Counts what becomes of the sessions that are open when the daemon begins to end. Pure.

use crate::facts::SessionsAtEnd;

/// The counts of an end that has begun, or has not.
#[derive(Debug, Default)]
pub(super) struct Tally(Option<Counts>);

#[derive(Debug)]
struct Counts {
    /// Sessions that were open at the beginning.
    open: u64,
    /// Sessions that had been lost before, since the daemon started.
    lost_before: u64,
    cut: u64,
    /// Whether all that were left have been cut.
    is_over: bool,
}

impl Tally {
    /// Begins, if it has not begun yet, with so many `open` sessions; `lost` is how many have been lost since the daemon
    /// started.
    pub(super) fn begin(&mut self, open: u64, lost: u64) {
        self.0.get_or_insert(Counts {
            open,
            lost_before: lost,
            cut: 0,
            is_over: false,
        });
    }

    /// Counts sessions that a worker has cut at the drain timeout.
    pub(super) fn cut(&mut self, count: u64) {
        if let Some(counts) = self.0.as_mut().filter(|it| !it.is_over) {
            counts.cut = counts.cut.saturating_add(count);
        }
    }

    /// Counts all that are `open` as cut, because the daemon ends at once; `lost` is how many have been lost since the
    /// daemon started.
    pub(super) fn cut_all(&mut self, open: u64, lost: u64) {
        self.cut(open);
        if let Some(counts) = &mut self.0 {
            counts.close(lost);
        }
    }

    /// Returns the counts at the end; `None` if the daemon was not told to end. `lost` is how many have been lost since
    /// the daemon started.
    pub(super) fn finish(&mut self, lost: u64) -> Option<SessionsAtEnd> {
        let counts = self.0.as_mut()?;
        counts.close(lost);
        Some(SessionsAtEnd {
            ended: counts.open.saturating_sub(counts.cut),
            cut: counts.cut,
        })
    }
}

impl Counts {
    /// Counts those that were lost meanwhile as cut, and counts no more from then on.
    fn close(&mut self, lost: u64) {
        if !std::mem::replace(&mut self.is_over, true) {
            let lost = lost.saturating_sub(self.lost_before);
            self.cut = self.cut.saturating_add(lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(ended: u64, cut: u64) -> SessionsAtEnd {
        SessionsAtEnd { ended, cut }
    }

    #[test]
    fn a_daemon_that_was_not_told_to_end_has_no_counts() {
        let mut tally = Tally::default();
        tally.cut(3);
        assert_eq!(tally.finish(3), None);
    }

    #[test]
    fn a_drain_counts_what_workers_cut_and_what_is_lost_with_workers() {
        let mut tally = Tally::default();
        tally.begin(10, 100);
        tally.begin(7, 101);
        tally.cut(2);
        tally.cut(1);
        assert_eq!(tally.finish(101), Some(counts(6, 4)));
    }

    #[test]
    fn an_end_at_once_cuts_all_that_are_open_and_each_once() {
        let mut tally = Tally::default();
        tally.begin(10, 0);
        tally.cut_all(10, 0);
        // Their workers are killed, and so they are lost too.
        assert_eq!(tally.finish(10), Some(counts(0, 10)));
    }

    #[test]
    fn a_drain_that_is_cut_short_counts_what_was_open_by_then() {
        let mut tally = Tally::default();
        tally.begin(10, 0);
        tally.cut(1);
        tally.cut_all(4, 2);
        tally.cut(4);
        assert_eq!(tally.finish(6), Some(counts(3, 7)));
    }

    #[test]
    fn more_than_were_open_can_be_cut() {
        let mut tally = Tally::default();
        tally.begin(1, 0);
        tally.cut(2);
        assert_eq!(tally.finish(0), Some(counts(0, 2)));
    }
}
