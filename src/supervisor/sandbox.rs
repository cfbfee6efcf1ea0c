//! What workers and the resolver report of their confinement: logged once, shown in the status.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::workers::text;
use crate::{
    control::SandboxStatus,
    facts::{Confinement, Enforcement},
};

/// The most sentences that are kept of a kind of child: several times what a host can lack. A child that
/// was taken over must not fill the memory with ever new ones, nor take the room of another kind's.
const MOST_SENTENCES: usize = 16;

/// What is known of a kind of child before its first report.
const UNCHECKED: Confinement = Confinement {
    files: Enforcement::Full,
    scopes: true,
    system_calls: true,
    missing: Vec::new(),
};

/// How children are confined.
#[derive(Debug, Default)]
pub(super) struct Sandbox {
    /// The weakest that each kind of child has reported.
    reports: BTreeMap<&'static str, Confinement>,
}

impl Sandbox {
    /// Notes the report of a child, and logs what the host lacks that was not logged before.
    ///
    /// A later report never makes the picture better: another child of the kind may run that is confined
    /// less, and a child that was taken over may claim anything.
    pub(super) fn note(&mut self, role: &'static str, report: Confinement) {
        let known = self.reports.entry(role).or_insert(UNCHECKED);
        known.files = weaker(known.files, report.files);
        known.scopes &= report.scopes;
        known.system_calls &= report.system_calls;
        for sentence in report.missing.into_iter().map(text) {
            if known.missing.len() >= MOST_SENTENCES {
                return;
            }
            if !known.missing.contains(&sentence) {
                warn!("this host cannot fully confine the {role}: {sentence}");
                known.missing.push(sentence);
            }
        }
    }

    /// Returns what holds for all children, and the calls that workers were refused.
    pub(super) fn status(&self, denied_calls: u64) -> SandboxStatus {
        let all = || self.reports.values();
        let files = all().map(|it| it.files).reduce(weaker);
        let missing: BTreeSet<_> = all().flat_map(|it| it.missing.clone()).collect();
        SandboxStatus {
            files: files.unwrap_or(Enforcement::None),
            scopes: all().all(|it| it.scopes) && !self.reports.is_empty(),
            system_calls: all().all(|it| it.system_calls) && !self.reports.is_empty(),
            missing: missing.into_iter().collect(),
            denied_calls,
        }
    }
}

fn weaker(one: Enforcement, other: Enforcement) -> Enforcement {
    match (one, other) {
        (Enforcement::None, _) | (_, Enforcement::None) => Enforcement::None,
        (Enforcement::Partial, _) | (_, Enforcement::Partial) => Enforcement::Partial,
        (Enforcement::Full, Enforcement::Full) => Enforcement::Full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(files: Enforcement, missing: &[&str]) -> Confinement {
        Confinement {
            files,
            scopes: true,
            system_calls: files == Enforcement::Full,
            missing: missing.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn the_weakest_child_is_told_of() {
        let mut sandbox = Sandbox::default();
        assert_eq!(sandbox.status(0).files, Enforcement::None);
        sandbox.note("worker", report(Enforcement::Full, &[]));
        sandbox.note("resolver", report(Enforcement::Partial, &["no filter"]));
        let status = sandbox.status(3);
        assert_eq!(status.files, Enforcement::Partial);
        assert!(status.scopes && !status.system_calls);
        assert_eq!(status.missing, ["no filter"]);
        assert_eq!(status.denied_calls, 3);
    }

    #[test]
    fn a_later_report_of_a_better_off_child_does_not_hide_a_weaker_one() {
        let mut sandbox = Sandbox::default();
        sandbox.note("worker", report(Enforcement::Partial, &["no filter"]));
        sandbox.note("worker", report(Enforcement::Full, &[]));
        let status = sandbox.status(0);
        assert_eq!(status.files, Enforcement::Partial);
        assert!(!status.system_calls);
        assert_eq!(status.missing, ["no filter"]);
        sandbox.note("worker", report(Enforcement::None, &[]));
        assert_eq!(sandbox.status(0).files, Enforcement::None);
    }

    #[test]
    fn sentences_without_end_are_not_kept_and_silence_no_other_kind_of_child() {
        let mut sandbox = Sandbox::default();
        for number in 0..1000 {
            let sentence = format!("{number} {}", "x".repeat(10_000));
            let many = vec![&*sentence; 100];
            sandbox.note("worker", report(Enforcement::Full, &many));
        }
        assert_eq!(sandbox.status(0).missing.len(), MOST_SENTENCES);
        sandbox.note("resolver", report(Enforcement::Partial, &["no filter"]));
        let missing = sandbox.status(0).missing;
        assert_eq!(missing.len(), MOST_SENTENCES + 1);
        assert!(missing.iter().any(|it| it == "no filter"));
        assert!(missing.iter().all(|it| it.len() < 2000));
    }
}
