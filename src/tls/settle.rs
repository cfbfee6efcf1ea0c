//! Reading files that somebody may be writing at this moment.
//!
//! A certificate and its key are two files, and tools write one after the other. So what was
//! judged good counts only if the files still hold the same when read again, and what was judged
//! bad is read again until it stands still.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    files::{self, Content, FileFault},
    material::ContentHash,
};

/// Between two reads of what is broken.
const PAUSE: Duration = Duration::from_millis(50);
/// Reads before files that keep changing are given up on, for this time.
const READS: usize = 10;

/// Files that mean something only together, and how large each may be.
#[derive(Debug, Clone)]
pub(super) struct FileSet {
    pub(super) paths: Vec<PathBuf>,
    pub(super) limit: u64,
}

/// What reading one of them gave.
pub(super) type Read = Result<Content, FileFault>;

/// A verdict on a set of files.
pub(super) enum Settled<V> {
    /// It was reached on files that stood still.
    Verdict(V),
    /// The files changed at every look.
    Restless,
}

impl FileSet {
    pub(super) fn read(&self) -> Vec<Read> {
        self.paths
            .iter()
            .map(|it| files::read(it, self.limit))
            .collect()
    }

    /// Judges the files once they stand still; `is_good` tells the verdicts that need no pause.
    pub(super) fn settle<V>(
        &self,
        judge: impl Fn(&[Read]) -> V,
        is_good: impl Fn(&V) -> bool,
    ) -> Settled<V> {
        self.settle_reading(|| self.read(), judge, is_good)
    }

    fn settle_reading<V>(
        &self,
        mut read: impl FnMut() -> Vec<Read>,
        judge: impl Fn(&[Read]) -> V,
        is_good: impl Fn(&V) -> bool,
    ) -> Settled<V> {
        let mut before = read();
        for _ in 0..READS {
            let verdict = judge(&before);
            if !is_good(&verdict) {
                pause();
            }
            let after = read();
            if self.digest(&before) == self.digest(&after) {
                return Settled::Verdict(verdict);
            }
            before = after;
        }
        Settled::Restless
    }

    /// Returns SHA-256 over what was read, or why it was not.
    pub(super) fn digest(&self, reads: &[Read]) -> [u8; 32] {
        let mut hash = ContentHash::new();
        for (path, read) in self.paths.iter().zip(reads) {
            feed(&mut hash, path, read);
        }
        hash.finish()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "loading is called where it may block; only time tells that a writer is done"
)]
fn pause() {
    thread::sleep(PAUSE);
}

fn feed(hash: &mut ContentHash, path: &Path, read: &Read) {
    hash.text("path", &path.to_string_lossy());
    match read {
        Ok(content) => hash.field("content", &content.bytes),
        Err(fault) => hash.text("fault", &fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use zeroize::Zeroizing;

    use super::*;

    fn verdict(contents: &[&str]) -> Option<String> {
        let set = FileSet {
            paths: vec![PathBuf::from("/file")],
            limit: 1,
        };
        let at = Cell::new(0);
        let read = || {
            let text = contents[at.get() % contents.len()];
            at.set(at.get() + 1);
            vec![Ok(Content {
                bytes: Zeroizing::new(text.as_bytes().to_vec()),
                mode: 0o600,
                owner: 0,
                group: 0,
            })]
        };
        let judge = |reads: &[Read]| {
            let bytes = reads[0].as_ref().unwrap().bytes.to_vec();
            String::from_utf8(bytes).unwrap()
        };
        match set.settle_reading(read, judge, |it| it == "good") {
            Settled::Verdict(verdict) => Some(verdict),
            Settled::Restless => None,
        }
    }

    #[test]
    fn a_verdict_needs_two_reads_that_agree() {
        assert_eq!(verdict(&["good"]).as_deref(), Some("good"));
        assert_eq!(verdict(&["torn", "good", "good"]).as_deref(), Some("good"));
        assert_eq!(verdict(&["good", "new", "new"]).as_deref(), Some("new"));
        assert_eq!(verdict(&["bad", "bad"]).as_deref(), Some("bad"));
    }

    #[test]
    fn files_that_never_stand_still_get_no_verdict() {
        assert_eq!(verdict(&["good", "torn"]), None);
    }
}
