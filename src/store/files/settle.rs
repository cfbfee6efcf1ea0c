//! Reading files that somebody may be writing at this moment.
//!
//! A certificate and its key are two files, and tools write one after the other. So what was
//! judged good counts only if the files still hold the same when looked at again, and what was judged
//! bad is looked at again until it stands still. To look again is to read, but where the file system
//! promises that a write would show (see [`super::promise`]). All pieces are read side by side and wait together, so
//! that a thousand broken ones take no longer than one.

use std::{thread, time::Duration};

use jiff::Timestamp;

use super::{
    memo::{Begun, Depth, Memo, Perishable, Shelf},
    parallel,
    parts::Parts,
    piece::{Piece, Read},
};
use crate::store::judge::{Judge, Verdict};

/// Between two reads of what is broken.
const PAUSE: Duration = Duration::from_millis(50);
/// Reads before files that keep changing are given up on, for this time.
const READS: usize = 10;

/// How pieces are read and judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settler<'m> {
    /// What earlier reads found.
    pub(crate) memo: &'m Memo,
    /// How far it is believed.
    pub(crate) depth: Depth,
    /// The time by which certificates are judged.
    pub(crate) now: Timestamp,
}

/// A verdict that holds if the files are the same when read again.
struct Open<T> {
    index: usize,
    verdict: Verdict<T>,
    digest: [u8; 32],
}

impl Settler<'_> {
    /// Judges pieces of a kind once their files stand still; the verdicts come in the same order.
    pub(crate) fn settle<T: Perishable>(
        &self,
        pieces: &[Piece],
        kind: &Shelf<T>,
        judge: impl Fn(usize, &Judge<'_>, &Parts<Read>) -> Verdict<T> + Sync,
    ) -> Vec<Verdict<T>> {
        self.settle_reading(pieces, kind, Piece::read, judge)
    }

    fn settle_reading<T: Perishable>(
        &self,
        pieces: &[Piece],
        kind: &Shelf<T>,
        read: impl Fn(&Piece) -> Parts<Read> + Sync,
        judge: impl Fn(usize, &Judge<'_>, &Parts<Read>) -> Verdict<T> + Sync,
    ) -> Vec<Verdict<T>> {
        let judge = |index: usize, reads: &Parts<Read>| Open {
            index,
            verdict: judge(index, &Judge::new(&pieces[index], self.now), reads),
            digest: pieces[index].digest(reads),
        };
        let read = |piece: &Piece| {
            let begun = Begun::now();
            let reads = read(piece);
            self.memo.remember(piece, &reads, begun);
            reads
        };
        let first = parallel::map(pieces, |index, piece| {
            if let Some(verdict) = self.recall(piece, kind) {
                return Ok(verdict);
            }
            let reads = read(piece);
            let known = kind.find(piece, piece.digest(&reads), (self.depth, self.now));
            known.ok_or_else(|| judge(index, &reads))
        });
        let (mut done, mut open) = sort(first);
        for _ in 0..READS {
            if open.iter().any(|it| it.verdict.result.is_err()) {
                pause();
            }
            let changed = parallel::map(&open, |_, it| {
                let piece = &pieces[it.index];
                if self.memo.glance(piece, Depth::Promised) == Some(it.digest) {
                    return None;
                }
                Some(read(piece)).filter(|reads| piece.digest(reads) != it.digest)
            });
            let looked_at = std::mem::take(&mut open);
            for (it, changed) in looked_at.into_iter().zip(changed) {
                if let Some(reads) = changed {
                    open.push(judge(it.index, &reads));
                } else {
                    kind.put(&pieces[it.index], it.digest, &it.verdict, self.now);
                    done[it.index] = Some(it.verdict);
                }
            }
            if open.is_empty() {
                break;
            }
        }
        let unstable = |piece| Verdict::bad(vec![Judge::new(piece, self.now).unstable()]);
        let ends = done.into_iter().zip(pieces);
        ends.map(|(verdict, piece)| verdict.unwrap_or_else(|| unstable(piece)))
            .collect()
    }

    /// Returns the verdict on files that look untouched since they were judged.
    pub(crate) fn recall<T: Perishable>(
        &self,
        piece: &Piece,
        kind: &Shelf<T>,
    ) -> Option<Verdict<T>> {
        let digest = self.memo.glance(piece, self.depth)?;
        kind.find(piece, digest, (self.depth, self.now))
    }
}

/// Sorts verdicts into those that hold, each at its place, and those that are open.
fn sort<T>(first: Vec<Result<Verdict<T>, Open<T>>>) -> (Vec<Option<Verdict<T>>>, Vec<Open<T>>) {
    let mut open = Vec::new();
    let done = first.into_iter().map(|it| match it {
        Ok(verdict) => Some(verdict),
        Err(it) => {
            open.push(it);
            None
        }
    });
    (done.collect(), open)
}

#[expect(
    clippy::disallowed_methods,
    reason = "loading is called where it may block; only time tells that a writer is done"
)]
fn pause() {
    thread::sleep(PAUSE);
}

#[cfg(test)]
mod tests {
    use std::{
        path::{Path, PathBuf},
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::store::files::read::Content;

    impl Perishable for String {
        fn next_change(&self, _now: Timestamp) -> Timestamp {
            Timestamp::MAX
        }
    }

    fn piece() -> Piece {
        let file = Parts::bundle(PathBuf::from("/file"), vec![]);
        Piece::new("thing".to_owned(), file, 1)
    }

    fn judge(_: usize, at: &Judge<'_>, reads: &Parts<Read>) -> Verdict<String> {
        let bytes = reads.certs.as_ref().unwrap().bytes.to_vec();
        let text = String::from_utf8(bytes).unwrap();
        if text == "torn" {
            return Verdict::bad(vec![at.problem(Path::new("/file"), &text)]);
        }
        Verdict::good(text, Vec::new())
    }

    /// Settles a file that holds these contents, one after the other and over again.
    fn settled(memo: &Memo, kind: &Shelf<String>, contents: &[&str]) -> Result<String, String> {
        let at = AtomicUsize::new(0);
        let read = |_: &Piece| {
            let text = contents[at.fetch_add(1, Ordering::Relaxed) % contents.len()];
            Parts::bundle(Ok(Content::of(text.as_bytes())), vec![])
        };
        let settler = Settler {
            memo,
            depth: Depth::Contents,
            now: Timestamp::now(),
        };
        let mut verdicts = settler.settle_reading(&[piece()], kind, read, judge);
        verdicts
            .remove(0)
            .result
            .map_err(|problems| problems[0].reason.clone())
    }

    fn verdict(contents: &[&str]) -> Result<String, String> {
        settled(&Memo::default(), &Shelf::default(), contents)
    }

    #[test]
    fn a_verdict_needs_two_reads_that_agree() {
        let good = Ok("good".to_owned());
        assert_eq!(verdict(&["good"]), good);
        assert_eq!(verdict(&["torn", "good", "good"]), good);
        assert_eq!(verdict(&["good", "new", "new"]), Ok("new".to_owned()));
        assert_eq!(verdict(&["torn", "torn"]), Err("torn".to_owned()));
    }

    #[test]
    fn files_that_never_stand_still_get_no_verdict() {
        let reason = verdict(&["good", "torn"]).unwrap_err();
        assert!(reason.contains("being written"), "{reason}");
    }

    #[test]
    fn what_was_found_good_before_is_believed_at_once() {
        let (memo, kind) = (Memo::default(), Shelf::default());
        settled(&memo, &kind, &["good"]).unwrap();
        assert_eq!(
            settled(&memo, &kind, &["good", "torn"]),
            Ok("good".to_owned())
        );
    }
}
