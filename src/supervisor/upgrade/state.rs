//! The steps of an upgrade, decided from what happens. Pure; times are since the daemon's start.

use std::time::Duration;

use crate::sys::upgrade_points;

/// How long a program that was tried and is good waits for the daemon to be quiet.
pub(super) const QUIET_PATIENCE: Duration = Duration::from_secs(10);

/// How long a program that goes on for another may take until it is confirmed: less than the process has until it is
/// killed, so that there is time to go back.
const CONFIRM_PATIENCE: Duration = upgrade_points::patience(40, 18);

/// How long it may take at least, if its start has taken long.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked whether the daemon is quiet.
const LOOKS: Duration = Duration::from_millis(20);

/// How far an upgrade has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Step {
    /// There is none.
    #[default]
    Idle,
    /// The program is looked at and tried.
    Trying {
        /// Whether that is all that was asked for.
        check: bool,
    },
    /// The program is good, and goes on for this one as soon as the daemon is quiet.
    Waiting {
        /// Until when that is waited for.
        until: Duration,
        /// When it is looked again.
        look: Duration,
    },
    /// This program has gone on for another, and is not confirmed yet.
    Confirming {
        /// Until when that is waited for; then the other one is gone back to.
        until: Duration,
    },
}

/// What the daemon does when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) enum Situation {
    Starting,
    Serving,
    Ending,
}

/// Why an upgrade is refused at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Untimely {
    #[error("the daemon is starting; ask again when it serves")]
    Starting,
    #[error("the daemon is ending")]
    Ending,
    #[error("an upgrade is under way; ask again when it is over")]
    Another,
}

/// What keeps the daemon from being quiet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::supervisor) enum Busy {
    #[error("the daemon is ending")]
    Ending,
    #[error("a reload is under way")]
    Load,
    #[error("the worker in slot {0} is being started, and does not serve")]
    Worker(usize),
    #[error("sessions of a worker that ended have not been taken over yet")]
    Sessions,
    #[error(
        "the worker in slot {0} has not rewritten the records of its sessions for the other program"
    )]
    Records(usize),
    #[error("the exit-failure command runs")]
    Hook,
    #[error("other requests over the control socket are being answered")]
    Requests,
}

/// What to do next with a program that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing yet.
    Wait,
    /// It goes on for this one.
    Leave,
    /// It does not, because the daemon was not quiet in time.
    GiveUp(Busy),
}

impl Step {
    /// Begins as a program that has gone on for another for so long already.
    pub(super) fn confirming(since: Duration) -> Self {
        Self::Confirming {
            until: CONFIRM_PATIENCE.saturating_sub(since).max(LEAST_PATIENCE),
        }
    }

    /// Returns whether this program was not confirmed in time.
    pub(super) fn is_late(&self, now: Duration) -> bool {
        matches!(self, Self::Confirming { until } if now >= *until)
    }

    /// Begins an upgrade, or only a trial.
    pub(super) fn begin(&mut self, check: bool, situation: Situation) -> Result<(), Untimely> {
        match (situation, &self) {
            (Situation::Starting, _) => Err(Untimely::Starting),
            (Situation::Ending, _) => Err(Untimely::Ending),
            (Situation::Serving, Self::Idle) => {
                *self = Self::Trying { check };
                Ok(())
            }
            (Situation::Serving, _) => Err(Untimely::Another),
        }
    }

    /// Notes that the program is good; returns whether it is to go on for this one.
    pub(super) fn tried(&mut self, now: Duration) -> bool {
        let goes_on = *self == Self::Trying { check: false };
        *self = if goes_on {
            Self::Waiting {
                until: now + QUIET_PATIENCE,
                look: now,
            }
        } else {
            Self::Idle
        };
        goes_on
    }

    /// Decides what to do with a program that waits; `busy` tells whether the daemon is not quiet.
    pub(super) fn look(&mut self, now: Duration, busy: Option<Busy>) -> Next {
        let Self::Waiting { until, look } = self else {
            return Next::Wait;
        };
        // Also after an attempt to leave that is to be made again.
        *look = now + LOOKS;
        match busy {
            None => Next::Leave,
            Some(busy @ Busy::Ending) => Next::GiveUp(busy),
            Some(busy) if now >= *until => Next::GiveUp(busy),
            Some(_) => Next::Wait,
        }
    }

    /// Returns when it is to be looked whether the daemon is quiet.
    pub(super) fn due(&self) -> Option<Duration> {
        match self {
            Self::Waiting { look, .. } => Some(*look),
            Self::Confirming { until } => Some(*until),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn waiting() -> Step {
        let mut step = Step::default();
        step.begin(false, Situation::Serving).unwrap();
        assert!(step.tried(NOW));
        step
    }

    #[test]
    fn a_second_one_and_one_that_comes_while_the_daemon_starts_or_ends_is_refused_at_once() {
        let mut step = Step::default();
        assert_eq!(
            step.begin(false, Situation::Starting),
            Err(Untimely::Starting)
        );
        assert_eq!(step.begin(true, Situation::Ending), Err(Untimely::Ending));
        step.begin(true, Situation::Serving).unwrap();
        assert_eq!(step.begin(true, Situation::Serving), Err(Untimely::Another));
        assert_eq!(
            waiting().begin(false, Situation::Serving),
            Err(Untimely::Another)
        );
        assert_eq!(
            Step::confirming(NOW).begin(false, Situation::Serving),
            Err(Untimely::Another)
        );
    }

    #[test]
    fn a_trial_alone_ends_when_the_program_is_good() {
        let mut step = Step::default();
        step.begin(true, Situation::Serving).unwrap();
        assert!(!step.tried(NOW));
        assert_eq!((step, step.due()), (Step::Idle, None));
    }

    #[test]
    fn a_good_program_goes_on_at_the_first_quiet_moment_and_not_without_one() {
        let mut step = waiting();
        assert_eq!(step.due(), Some(NOW));
        assert_eq!(step.look(NOW, Some(Busy::Load)), Next::Wait);
        assert_eq!(step.due(), Some(NOW + LOOKS));
        assert_eq!(step.look(NOW + LOOKS, None), Next::Leave);
        let mut step = waiting();
        let end = NOW + QUIET_PATIENCE;
        assert_eq!(step.look(end, Some(Busy::Hook)), Next::GiveUp(Busy::Hook));
    }

    #[test]
    fn a_daemon_that_is_told_to_end_is_not_upgraded() {
        let told = waiting().look(NOW, Some(Busy::Ending));
        assert_eq!(told, Next::GiveUp(Busy::Ending));
    }

    #[test]
    fn a_program_that_is_not_confirmed_in_time_is_late() {
        let step = Step::confirming(Duration::from_secs(1));
        let until = step.due().unwrap();
        assert_eq!(until + Duration::from_secs(1), CONFIRM_PATIENCE);
        assert!(!step.is_late(Duration::ZERO) && step.is_late(until));
        let slow = Step::confirming(CONFIRM_PATIENCE);
        assert!(!slow.is_late(Duration::ZERO));
        assert!(!waiting().is_late(until));
    }
}
