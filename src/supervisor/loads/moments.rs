//! Moments at which files are judged again because of time alone.

use std::time::Duration;

use jiff::Timestamp;

use crate::{config::Config, store::Memo};

/// The shortest pause between a load and one because of time alone.
const SOON: Duration = Duration::from_millis(200);

/// Returns when something on disk begins or ends by itself, if the daemon reads files by itself.
///
/// Files that do not stand still may have left a moment that has passed, which must not make one load
/// follow the other.
pub(super) fn next_change(memo: &Memo, config: &Config) -> Option<Timestamp> {
    let soon = Timestamp::now().saturating_add(SOON);
    let soon = soon.unwrap_or(Timestamp::MAX);
    let change = memo.changes_at().filter(|_| config.watch);
    change.map(|change| change.max(soon))
}
