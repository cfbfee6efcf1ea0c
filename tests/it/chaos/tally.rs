//! The counts and the findings of a run.

use std::{
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use super::say;

/// Findings that are told when they are made; the end tells all.
const TOLD_AT_ONCE: usize = 50;

/// The kinds of findings.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    /// A client was refused, or cut off before it was served.
    Refused,
    /// A client was neither served nor refused for too long.
    HungHandshake,
    /// A client was shown a certificate that was wrong at that time.
    WrongCertificate,
    /// A session broke or hung that should have outlived its worker.
    LostSession,
    /// A session carried other bytes than were sent.
    WrongBytes,
    /// The status, the page or `check` said something that was not true.
    WrongStatus,
    /// A command succeeded or failed contrary to the truth.
    WrongAnswer,
    /// A command or a page had no answer in time.
    HungCommand,
    /// A worker ended that no fault struck.
    LostWorker,
    /// The daemon was not whole again in time after all faults were undone.
    Unsettled,
    /// The daemon used more memory or descriptors than at the beginning.
    Growth,
    /// The daemon did not end as it should, or left a process behind.
    BadEnd,
}

impl Kind {
    /// All kinds, in the order of the summary.
    pub(crate) const ALL: [Self; 12] = [
        Self::Refused,
        Self::HungHandshake,
        Self::WrongCertificate,
        Self::LostSession,
        Self::WrongBytes,
        Self::WrongStatus,
        Self::WrongAnswer,
        Self::HungCommand,
        Self::LostWorker,
        Self::Unsettled,
        Self::Growth,
        Self::BadEnd,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Refused => "refused clients",
            Self::HungHandshake => "hung handshakes",
            Self::WrongCertificate => "wrong certificates",
            Self::LostSession => "lost sessions",
            Self::WrongBytes => "sessions with wrong bytes",
            Self::WrongStatus => "wrong statuses",
            Self::WrongAnswer => "wrong answers of commands",
            Self::HungCommand => "hung commands",
            Self::LostWorker => "workers that ended by themselves",
            Self::Unsettled => "times that the daemon did not recover",
            Self::Growth => "growth beyond the bounds",
            Self::BadEnd => "bad ends",
        })
    }
}

/// A finding.
#[derive(Debug)]
pub(crate) struct Finding {
    /// Its kind.
    pub(crate) kind: Kind,
    /// When it was found.
    pub(crate) at: Instant,
    /// The details.
    pub(crate) what: String,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds one.
    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// Adds a number.
    pub(crate) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// Returns the sum.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counts and findings of a run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Handshakes that were completed, with a line echoed.
    pub(crate) handshakes: Count,
    /// Handshakes that ended with their worker.
    pub(crate) handshakes_of_killed: Count,
    /// Handshakes that ended because their worker was short of descriptors.
    pub(crate) handshakes_of_starved: Count,
    /// Held sessions that were opened.
    pub(crate) sessions: Count,
    /// Held sessions that ended with their worker before they could be kept.
    pub(crate) young_sessions: Count,
    /// Held sessions that ended with their worker because there were no descriptors to keep them, or to
    /// take them over.
    pub(crate) unkept_sessions: Count,
    /// Times that a worker went on with a session of another.
    pub(crate) taken_over: Count,
    /// Bytes that held sessions sent and got back.
    pub(crate) bytes: Count,
    /// Commands that were run.
    pub(crate) commands: Count,
    /// Status documents, verdicts of `check` and pages that were judged.
    pub(crate) looks: Count,
    /// Times that all faults were undone and the daemon was whole again.
    pub(crate) settled: Count,
    findings: Mutex<Vec<Finding>>,
}

impl Tally {
    /// Notes a finding, and tells of the first ones at once.
    pub(crate) fn find(&self, kind: Kind, what: impl Into<String>) {
        let (at, what) = (Instant::now(), what.into());
        let mut findings = self.findings.lock().unwrap();
        if findings.len() < TOLD_AT_ONCE {
            say(&format!("chaos: found: {kind:?}: {what}"));
        }
        findings.push(Finding { kind, at, what });
    }

    /// Returns how many findings of a kind there are.
    pub(crate) fn found(&self, kind: Kind) -> usize {
        let findings = self.findings.lock().unwrap();
        findings.iter().filter(|it| it.kind == kind).count()
    }

    /// Calls `tell` with each finding, the oldest first.
    pub(crate) fn each(&self, mut tell: impl FnMut(&Finding)) {
        self.findings.lock().unwrap().iter().for_each(&mut tell);
    }

    /// Returns the counts with their names.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 11] {
        [
            ("handshakes", self.handshakes.get()),
            (
                "handshakes that ended with a killed worker",
                self.handshakes_of_killed.get(),
            ),
            (
                "handshakes that ended for want of a worker's descriptors",
                self.handshakes_of_starved.get(),
            ),
            ("held sessions", self.sessions.get()),
            (
                "held sessions that ended with a killed worker, too young to be kept",
                self.young_sessions.get(),
            ),
            (
                "held sessions that ended with a killed worker for want of descriptors",
                self.unkept_sessions.get(),
            ),
            ("sessions taken over", self.taken_over.get()),
            ("bytes that held sessions checked", self.bytes.get()),
            ("commands", self.commands.get()),
            ("statuses, verdicts and pages judged", self.looks.get()),
            ("recoveries checked in full", self.settled.get()),
        ]
    }
}
