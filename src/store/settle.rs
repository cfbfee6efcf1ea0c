//! Judging pieces that a program may be writing at this moment.
//!
//! A certificate and its key are two files, and tools write one after the other. So what was
//! judged good counts only if the source says afterwards that nothing has changed, and what was judged
//! bad is looked at again until it stands still. All pieces are read side by side and wait together, so
//! that a thousand broken ones take no longer than one.

use std::{thread, time::Duration};

use jiff::Timestamp;

use super::{
    files::{
        memo::{Depth, Perishable, Shelf},
        parallel,
        parts::Parts,
        piece::{Piece, Read},
    },
    judge::{Judge, Verdict},
    source::{Snapshot, Source, Version},
};

/// Between two looks at what is broken.
const PAUSE: Duration = Duration::from_millis(50);
/// Looks before what keeps changing is given up on, for this time.
const LOOKS: usize = 10;

/// How pieces are judged.
pub(crate) struct Settler<S> {
    /// Where they come from.
    pub(crate) source: S,
    /// How far earlier verdicts are believed.
    pub(crate) depth: Depth,
    /// The time by which certificates are judged.
    pub(crate) now: Timestamp,
}

/// A verdict that holds if the source says that nothing has changed.
struct Open<T> {
    index: usize,
    verdict: Verdict<T>,
    version: Version,
}

impl<S: Source> Settler<S> {
    /// Judges pieces of a kind once they stand still; the verdicts come in the same order.
    pub(crate) fn settle<T: Perishable>(
        &self,
        pieces: &[Piece],
        kind: &Shelf<T>,
        judge: impl Fn(usize, &Judge<'_>, &Parts<Read>) -> Verdict<T> + Sync,
    ) -> Vec<Verdict<T>> {
        let at = |piece| Judge::new(&self.source, piece, self.now);
        let judge = |index: usize, snapshot: &Snapshot| Open {
            index,
            verdict: judge(index, &at(&pieces[index]), &snapshot.parts),
            version: snapshot.version,
        };
        let first = parallel::map(pieces, |index, piece| {
            if let Some(verdict) = self.recall(piece, kind) {
                return Ok(verdict);
            }
            let snapshot = self.source.snapshot(piece);
            let known = kind.find(piece, snapshot.version, (self.depth, self.now));
            known.ok_or_else(|| judge(index, &snapshot))
        });
        let (mut done, mut open) = sort(first);
        for _ in 0..LOOKS {
            if open.iter().any(|it| it.verdict.result.is_err()) {
                pause();
            }
            let changed = parallel::map(&open, |_, it| {
                self.source.changed(&pieces[it.index], it.version)
            });
            let looked_at = std::mem::take(&mut open);
            for (it, changed) in looked_at.into_iter().zip(changed) {
                if let Some(snapshot) = changed {
                    open.push(judge(it.index, &snapshot));
                } else {
                    kind.put(&pieces[it.index], it.version, &it.verdict, self.now);
                    done[it.index] = Some(it.verdict);
                }
            }
            if open.is_empty() {
                break;
            }
        }
        let unstable = |piece| Verdict::bad(vec![at(piece).unstable()]);
        let ends = done.into_iter().zip(pieces);
        ends.map(|(verdict, piece)| verdict.unwrap_or_else(|| unstable(piece)))
            .collect()
    }

    /// Returns the verdict on what the source says is untouched since it was judged.
    pub(crate) fn recall<T: Perishable>(
        &self,
        piece: &Piece,
        kind: &Shelf<T>,
    ) -> Option<Verdict<T>> {
        let version = self.source.version(piece)?;
        kind.find(piece, version, (self.depth, self.now))
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
    use crate::{
        config::Config,
        store::{files::read::Content, source::Stock},
    };

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

    /// A source of one piece that holds these contents, one after the other and over again.
    struct Flicker<'c> {
        contents: &'c [&'c str],
        looks: AtomicUsize,
    }

    impl Source for Flicker<'_> {
        fn stock(&self, _config: &Config) -> Stock {
            unreachable!("it is not asked")
        }

        fn version(&self, _piece: &Piece) -> Option<Version> {
            None
        }

        fn snapshot(&self, piece: &Piece) -> Snapshot {
            let look = self.looks.fetch_add(1, Ordering::Relaxed);
            let text = self.contents[look % self.contents.len()];
            let parts = Parts::bundle(Ok(Content::of(text.as_bytes())), vec![]);
            Snapshot {
                version: piece.digest(&parts),
                parts,
            }
        }

        fn beside_key(&self, _piece: &Piece, _public_half: &[u8]) -> Option<String> {
            None
        }
    }

    fn settled(kind: &Shelf<String>, contents: &[&str]) -> Result<String, String> {
        let settler = Settler {
            source: Flicker {
                contents,
                looks: AtomicUsize::new(0),
            },
            depth: Depth::Contents,
            now: Timestamp::now(),
        };
        let mut verdicts = settler.settle(&[piece()], kind, judge);
        verdicts
            .remove(0)
            .result
            .map_err(|problems| problems[0].reason.clone())
    }

    fn verdict(contents: &[&str]) -> Result<String, String> {
        settled(&Shelf::default(), contents)
    }

    #[test]
    fn a_verdict_needs_two_looks_that_agree() {
        let good = Ok("good".to_owned());
        assert_eq!(verdict(&["good"]), good);
        assert_eq!(verdict(&["torn", "good", "good"]), good);
        assert_eq!(verdict(&["good", "new", "new"]), Ok("new".to_owned()));
        assert_eq!(verdict(&["torn", "torn"]), Err("torn".to_owned()));
    }

    #[test]
    fn what_never_stands_still_gets_no_verdict() {
        let reason = verdict(&["good", "torn"]).unwrap_err();
        assert!(reason.contains("being written"), "{reason}");
    }

    #[test]
    fn what_was_found_good_before_is_believed_at_once() {
        let kind = Shelf::default();
        settled(&kind, &["good"]).unwrap();
        assert_eq!(settled(&kind, &["good", "torn"]), Ok("good".to_owned()));
    }
}
