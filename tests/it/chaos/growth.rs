//! The resources of a daemon: memory of the supervisor, and descriptors of all its processes.

use std::{fmt, fs};

use serde_json::Value;

use crate::support::process;

/// How much the supervisor's memory may grow, in KiB: allocators keep what they once needed, and
/// the faults after the first measure need more than those before.
const MEMORY: u64 = 16 * 1024;

/// How many more descriptors a process may have, because one or two may be open for a moment.
const DESCRIPTORS: u64 = 2;

/// The resources of a daemon at one time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Measure {
    /// KiB of memory in use by the supervisor (`VmRSS`).
    pub(crate) memory: u64,
    /// Descriptors of the supervisor.
    pub(crate) supervisor: u64,
    /// The descriptors of the worker that has the most.
    pub(crate) worker: u64,
}

impl Measure {
    /// Measures a supervisor and the workers in a status; `None` if a worker has just ended or still has
    /// sessions.
    pub(crate) fn take(supervisor: u32, status: &Value) -> Option<Self> {
        let memory = process::status_line(supervisor, "VmRSS")?;
        let workers = status["workers"].as_array()?.iter();
        let of_workers: Option<Vec<u64>> = workers
            .map(|worker| {
                let pid = u32::try_from(worker["pid"].as_u64()?).ok()?;
                (worker["connections"] == 0).then(|| count(pid))?
            })
            .collect();
        Some(Self {
            memory: memory.split_whitespace().next()?.parse().ok()?,
            supervisor: count(supervisor)?,
            worker: of_workers?.into_iter().max()?,
        })
    }

    /// Returns the descriptors alone.
    pub(crate) fn descriptors(&self) -> (u64, u64) {
        (self.supervisor, self.worker)
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            memory,
            supervisor,
            worker,
        } = self;
        write!(
            formatter,
            "supervisor {memory} KiB and {supervisor} descriptors, workers {worker} each"
        )
    }
}

fn count(pid: u32) -> Option<u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    u64::try_from(entries.count()).ok()
}

/// The bounds of a daemon's resources.
#[derive(Debug)]
pub(crate) struct Bounds(Measure);

impl Bounds {
    /// Returns the bounds for a daemon, from its first measure: a little more of each resource.
    pub(crate) fn of(first: &Measure) -> Self {
        Self(Measure {
            memory: first.memory + MEMORY,
            supervisor: first.supervisor + DESCRIPTORS,
            worker: first.worker + DESCRIPTORS,
        })
    }

    /// Says how a measure exceeds the bounds; `None` if it does not.
    pub(crate) fn exceeded(&self, measure: &Measure) -> Option<String> {
        let most = &self.0;
        let within = measure.memory <= most.memory
            && measure.supervisor <= most.supervisor
            && measure.worker <= most.worker;
        (!within).then(|| format!("{measure}; at most: {most}"))
    }
}

#[test]
fn each_of_the_bounds_counts() {
    let first = Measure {
        memory: 1000,
        supervisor: 30,
        worker: 10,
    };
    let bounds = Bounds::of(&first);
    assert_eq!(bounds.exceeded(&first), None);
    let more = |change: fn(&mut Measure)| {
        let mut measure = first.clone();
        change(&mut measure);
        bounds.exceeded(&measure).is_some()
    };
    assert!(more(|it| it.memory += MEMORY + 1));
    assert!(more(|it| it.supervisor += DESCRIPTORS + 1));
    assert!(more(|it| it.worker += DESCRIPTORS + 1));
}
