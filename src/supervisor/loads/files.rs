//! What is known of the TLS files on disk, beside the material loaded from them.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use jiff::Timestamp;
use tracing::info;

use super::{debounce::Debounce, disk_state::DiskHistory, watch::Watching};
use crate::{
    config::Config,
    facts::{IdentityChange, IdentityOutcome, Problem, Trigger},
};

/// What is known of the TLS files on disk.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Files {
    /// What is broken: reported already, or perhaps still being written.
    pub(super) debounce: Debounce,
    /// How the disk compares with what is served.
    pub(super) disk_state: DiskHistory,
    /// The watch that notices changes of the files.
    pub(super) watching: Rc<Watching>,
    /// Whether the last reload that read the configuration refused it. A load of the TLS files alone
    /// leaves this as it is.
    pub(super) config_refused: bool,
    /// The fingerprint of the files when all of them were refused because a part was broken; kept until
    /// an operator asks for a load that may take parts, or the files change.
    pub(super) held: Option<[u8; 32]>,
    kept: BTreeMap<String, Timestamp>,
    warned: BTreeSet<String>,
}

impl Files {
    /// Notes what a load found; returns the problems to report now.
    ///
    /// Problems of files that may still be written wait, unless an operator asked for the load.
    pub(super) fn loaded(
        &mut self,
        config: &Config,
        trigger: Trigger,
        identities: &[IdentityChange],
        problems: &[Problem],
        now: Duration,
    ) -> Vec<Problem> {
        self.disk_state.loaded(problems.is_empty(), now);
        self.note_kept(identities);
        let patience = match trigger {
            Trigger::Watch | Trigger::Crash if config.watch => config.watch_grace,
            _ => Duration::ZERO,
        };
        let split = self.debounce.split(problems, now, patience);
        for problem in &split.waiting {
            info!(
                %trigger,
                "{problem}; the file may still be being written, so this is reported as a failure only \
                 if it lasts for {patience:?}"
            );
        }
        self.watching.settle(self.debounce.is_waiting());
        split.told
    }

    /// Returns the warnings of a load that the load before did not have.
    pub(in crate::supervisor) fn news<'p>(
        &mut self,
        warnings: impl IntoIterator<Item = &'p Problem>,
    ) -> Vec<String> {
        let now: BTreeSet<String> = warnings.into_iter().map(ToString::to_string).collect();
        let news = now.difference(&self.warned).cloned().collect();
        self.warned = now;
        news
    }

    fn note_kept(&mut self, identities: &[IdentityChange]) {
        let now = Timestamp::now();
        let kept = identities
            .iter()
            .filter(|identity| identity.outcome == IdentityOutcome::Kept)
            .map(|identity| {
                let since = self.kept.get(&identity.name).copied().unwrap_or(now);
                (identity.name.clone(), since)
            });
        self.kept = kept.collect();
    }

    /// Returns since when the last good state of an identity has been served, because its files are
    /// broken.
    pub(super) fn kept_since(&self, identity: &str) -> Option<Timestamp> {
        self.kept.get(identity).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_news_until_it_was_told_and_again_after_it_was_gone() {
        let warning = |reason: &str| Problem {
            subject: "thing".to_owned(),
            file: None,
            reason: reason.to_owned(),
        };
        let (one, two) = (warning("one"), warning("two"));
        let mut files = Files::default();
        assert_eq!(files.news(std::slice::from_ref(&one)), ["thing: one"]);
        assert_eq!(files.news(&[one.clone(), two.clone()]), ["thing: two"]);
        assert!(files.news(&[two]).is_empty());
        assert_eq!(files.news(std::slice::from_ref(&one)), ["thing: one"]);
    }
}
