//! The steps of a start, as one list: a start takes them, and `--check-config`, `verify` and `restart_safe`
//! try them without effect.
//!
//! So a start cannot fail at a step that these do not know. What is tried makes nothing, and connects at most to
//! a Unix socket whose place it needs; a socket that is made for a trial is closed at once. What cannot be tried is told as not
//! tried. The contents of the TLS files are the one thing that is left to the callers, who load them.

mod accounts;
mod backends;
mod files;
mod first;
mod ground;
mod hook;
mod limits;
mod names;
mod ports;
mod program;
mod start;
mod unix;

pub(super) use self::{
    accounts::account,
    first::{First, Told},
    ground::{Ground, Origin, Who},
    limits::most_kept,
    start::Start,
};
use super::refusal::Refusal;

/// A step of a start.
struct Step {
    /// What the step needs, as a noun.
    name: &'static str,
    /// Takes the step.
    take: fn(&mut Start) -> Result<(), Refusal>,
    /// Tries the step without effect; `None` where that cannot be done. That a daemon runs shows that it
    /// succeeded at these.
    attempt: Option<Attempt>,
}

type Attempt = fn(&Ground<'_>, &mut Findings);

/// The steps, in the order in which a start takes them.
const STEPS: [Step; 15] = [
    Step {
        name: "program",
        take: nothing,
        attempt: Some(program::attempt),
    },
    Step {
        name: "state directory",
        take: Start::make_state_dir,
        attempt: Some(files::attempt_state_dir),
    },
    Step {
        name: "log",
        take: Start::open_log,
        attempt: Some(files::attempt_log),
    },
    Step {
        name: "signals and threads",
        take: Start::begin_runtime,
        attempt: None,
    },
    Step {
        name: "descriptors",
        take: Start::raise_limit,
        attempt: Some(limits::attempt),
    },
    Step {
        name: "pid file",
        take: Start::lock_pid_file,
        attempt: Some(files::attempt_pid_file),
    },
    Step {
        name: "predecessor",
        take: Start::find_predecessor,
        attempt: Some(nothing_to_try),
    },
    Step {
        name: "users and groups",
        take: Start::choose_account,
        attempt: Some(accounts::attempt),
    },
    Step {
        name: "TLS files",
        take: Start::load_material,
        attempt: Some(files::attempt_created),
    },
    Step {
        name: "backends",
        take: nothing,
        attempt: Some(backends::attempt),
    },
    Step {
        name: "listeners",
        take: Start::bind_listeners,
        attempt: Some(ports::attempt_listeners),
    },
    Step {
        name: "metrics page",
        take: Start::bind_page,
        attempt: Some(ports::attempt_page),
    },
    Step {
        name: "control socket",
        take: Start::bind_control,
        attempt: Some(unix::attempt_control),
    },
    Step {
        name: "exit-failure command",
        take: nothing,
        attempt: Some(hook::attempt),
    },
    Step {
        name: "worker processes",
        take: nothing,
        attempt: None,
    },
];

/// What trying the steps has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// What would keep the daemon from starting.
    pub(super) obstacles: Vec<String>,
    /// What would not keep it from starting, but from working.
    pub(super) doubts: Vec<String>,
    /// What was not tried, and why.
    pub(super) not_tried: Vec<String>,
    /// Whether another program lies where the one that runs was started from.
    pub(super) replaced: bool,
}

impl Findings {
    fn obstacle(&mut self, told: impl Into<String>) {
        let told = told.into();
        // Two steps may need the same thing, such as a user.
        if !self.obstacles.contains(&told) {
            self.obstacles.push(told);
        }
    }

    fn doubt(&mut self, told: impl Into<String>) {
        self.doubts.push(told.into());
    }

    fn not_tried(&mut self, told: impl Into<String>) {
        self.not_tried.push(told.into());
    }
}

/// Tries all steps. Blocks, for names that are looked up.
pub(super) fn attempt(ground: &Ground<'_>) -> Findings {
    let mut findings = Findings::default();
    for step in &STEPS {
        match step.attempt {
            Some(attempt) => attempt(ground, &mut findings),
            None if matches!(ground.who, Who::Check) => {
                findings.not_tried(format!("{}: only a start can", step.name));
            }
            None => {}
        }
    }
    findings
}

/// Takes all steps, up to the first that fails.
pub(super) fn take(start: &mut Start) -> Result<(), Refusal> {
    STEPS.iter().try_for_each(|step| (step.take)(start))
}

/// Takes a step that only reads: what it found is used later.
#[expect(clippy::unnecessary_wraps, reason = "it is a step like others")]
fn nothing(_: &mut Start) -> Result<(), Refusal> {
    Ok(())
}

/// Tries a step that keeps no daemon from starting.
fn nothing_to_try(_: &Ground<'_>, _: &mut Findings) {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing;

    #[test]
    fn what_is_not_tried_is_named_for_a_check_and_each_step_has_a_name_of_its_own() {
        let mut names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STEPS.len());
        let (config, origin) = (testing::config(vec![]), Origin::of_process(false));
        let not_tried = |who| attempt(&Ground::new(&config, who, &origin)).not_tried;
        let told = not_tried(Who::Check).join("\n");
        for step in STEPS.iter().filter(|step| step.attempt.is_none()) {
            assert!(
                told.contains(&format!("{}: only a start", step.name)),
                "{told}"
            );
        }
        assert!(!not_tried(Who::Start).join("\n").contains("only a start"));
    }

    #[test]
    fn a_name_that_is_late_is_not_tried_while_a_daemon_runs() {
        let mut listener = testing::listener(&["a"]);
        listener.bind = "db.example:1".parse().unwrap();
        let config = testing::config(vec![listener]);
        let origin = Origin::of_process(false);
        let (_answer, never) = std::sync::mpsc::channel();
        origin.names.is_asking("db.example", never);
        let ground = Ground::new(&config, Who::Daemon(&config), &origin);
        let mut findings = Findings::default();
        ports::attempt_listeners(&ground, &mut findings);
        assert_eq!(findings.obstacles, [""; 0]);
        assert_eq!(
            findings.not_tried,
            ["listener \"orders\": db.example:1: the name was not looked up in time"]
        );
    }
}
