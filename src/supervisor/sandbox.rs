//! What workers and the resolver report of their confinement: logged once, shown in the status.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::workers::text;
use crate::{
    control::SandboxStatus,
    facts::{Confinement, Enforcement},
};

/// The most sentences that a report may have.
const MOST_SENTENCES: usize = 16;

/// How children are confined.
#[derive(Debug, Default)]
pub(super) struct Sandbox {
    /// The last report of each kind of child.
    reports: BTreeMap<&'static str, Confinement>,
    told: BTreeSet<String>,
}

impl Sandbox {
    /// Notes the report of a child, and logs what the host lacks that was not logged before.
    pub(super) fn note(&mut self, role: &'static str, report: Confinement) {
        let missing = report.missing.into_iter().take(MOST_SENTENCES).map(text);
        let report = Confinement {
            missing: missing.collect(),
            ..report
        };
        for sentence in &report.missing {
            // A child that was taken over must not fill the memory with ever new sentences.
            if self.told.len() < MOST_SENTENCES && self.told.insert(sentence.clone()) {
                warn!("this host cannot fully confine the {role}: {sentence}");
            }
        }
        self.reports.insert(role, report);
    }

    /// Returns what holds for all children, and the calls that workers were refused.
    pub(super) fn status(&self, denied_calls: u64) -> SandboxStatus {
        let all = || self.reports.values();
        let files = all().map(|it| it.files).min_by_key(|it| match it {
            Enforcement::None => 0,
            Enforcement::Partial => 1,
            Enforcement::Full => 2,
        });
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
    fn reports_without_end_are_not_kept() {
        let mut sandbox = Sandbox::default();
        for number in 0..1000 {
            let sentence = format!("{number} {}", "x".repeat(10_000));
            let many = vec![&*sentence; 100];
            sandbox.note("worker", report(Enforcement::Full, &many));
        }
        assert_eq!(sandbox.told.len(), MOST_SENTENCES);
        assert!(sandbox.status(0).missing.iter().all(|it| it.len() < 2000));
    }
}
