//! Moments at which files are judged again because of time alone.

use std::time::Duration;

use jiff::Timestamp;

use crate::config::Config;

/// The shortest pause between a load and one because of time alone.
const SOON: Duration = Duration::from_millis(200);

/// Returns when to load again because something begins or ends by itself at `change`, if the daemon reads
/// files by itself.
///
/// A moment that has passed while the files were being read comes soon, but does not make one load follow
/// the other: no load gives a moment that is not after the one by which it judged.
pub(super) fn next_change(
    change: Option<Timestamp>,
    config: &Config,
    now: Timestamp,
) -> Option<Timestamp> {
    let soon = now.saturating_add(SOON).unwrap_or(Timestamp::MAX);
    let change = change.filter(|_| config.watch);
    change.map(|change| change.max(soon))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing;

    #[test]
    fn a_moment_comes_when_it_comes_and_one_that_passed_comes_soon() {
        let mut config = testing::config(vec![]);
        config.watch = true;
        let now = Timestamp::now();
        let (hour, soon) = (Duration::from_secs(3600), now + SOON);
        let next = |change| next_change(change, &config, now);
        assert_eq!(next(Some(now + hour)), Some(now + hour));
        assert_eq!(next(Some(now - hour)), Some(soon));
        assert_eq!(next(None), None);
        config.watch = false;
        assert_eq!(next_change(Some(now + hour), &config, now), None);
    }
}
