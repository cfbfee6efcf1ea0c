//! The result of a load, in words: for the log, for events, and for the requests that wait for it.

use super::disk::Reading;
use crate::{
    control::ReloadReport,
    facts::{IdentityChange, IdentityOutcome, Problem, RevokedSessions},
    store::Changes,
};

/// The most problems or identities that a log line or an event names; an answer has them all.
const TOLD_AT_ONCE: usize = 20;

/// The result of a load, for the requests that wait for it.
#[derive(Debug)]
pub(super) struct Report {
    /// The generation in force after the load.
    pub(super) generation: u64,
    /// Whether the load brought that generation.
    pub(super) changed: bool,
    pub(super) changes: Changes,
    pub(super) problems: Vec<Problem>,
    /// The listeners whose trust in clients went back by a rollback.
    pub(super) trust_went_back: Vec<String>,
}

impl Report {
    /// Returns the answer to a request; `workers` is how many have confirmed the generation.
    pub(super) fn answer(self, workers: usize) -> ReloadReport {
        ReloadReport {
            generation: self.generation,
            changed: self.changed,
            workers,
            identities: self.changes.identities,
            unchanged: self.changes.unchanged,
            problems: self.problems,
            trust_went_back: self.trust_went_back,
            revoked: RevokedSessions::default(),
        }
    }
}

/// Returns all that a reading found wrong.
pub(super) fn problems_of(reading: &Reading) -> Vec<Problem> {
    let mut problems = reading.refused.clone();
    for problem in &reading.loaded.problems {
        // The problems of a refused configuration are in the list already.
        if !problems.contains(problem) {
            problems.push(problem.clone());
        }
    }
    problems
}

/// Says in one line what is wrong, and that the last good state is still served.
pub(super) fn still_served(problems: &[Problem], generation: u64) -> String {
    let lines = problems.iter().map(ToString::to_string);
    format!(
        "{}; the last good state of it is still served, as generation {generation}",
        some_of(problems.len(), lines, "; ")
    )
}

/// Lists the first of `all` things in one line, so that it stays readable with thousands of them.
fn some_of(all: usize, things: impl Iterator<Item = String>, between: &str) -> String {
    let mut list: Vec<String> = things.take(TOLD_AT_ONCE).collect();
    if let Some(rest @ 1..) = all.checked_sub(list.len()) {
        list.push(format!("and {rest} more"));
    }
    list.join(between)
}

/// Names the identities that a load has updated, as the end of a sentence.
pub(super) fn updated(identities: &[IdentityChange]) -> String {
    let updated = identities
        .iter()
        .filter(|identity| identity.outcome == IdentityOutcome::Updated);
    let names = updated.clone().filter_map(|identity| {
        let end = identity.new.as_ref()?.not_after;
        Some(format!("identity \"{}\", valid until {end}", identity.name))
    });
    match updated.clone().count() {
        0 => String::new(),
        all => format!(" with {}", some_of(all, names, ", ")),
    }
}
