//! What is to be said to the service manager, and when: decisions alone, without a socket.

use std::time::{Duration, Instant};

/// How long after a message that could not be sent the next is tried, at most.
const RETRY: Duration = Duration::from_secs(1);

/// How old the last line about the daemon's state is before another is made.
const BETWEEN_REPORTS: Duration = Duration::from_secs(1);

/// How much time the service manager is asked for at once while the daemon drains. A supervisor
/// that hangs meanwhile is killed after that time.
const EXTENSION: Duration = Duration::from_secs(20);

/// How often it is asked for, so that one or two lost messages do no harm.
const BETWEEN_EXTENSIONS: Duration = Duration::from_secs(5);

/// What follows the end of the drain: killing workers, and telling of it.
const LAST_STEPS: Duration = Duration::from_secs(10);

/// How many times a watchdog is fed within its timeout.
const FEEDS: u32 = 3;

/// What the service manager takes the daemon's state to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It serves.
    Ready,
    /// It serves, and reads its configuration again since that time of `CLOCK_MONOTONIC`.
    Reloading { monotonic_usec: u64 },
    /// It ends.
    Stopping,
}

impl Phase {
    fn assignments(self) -> Vec<String> {
        match self {
            Self::Ready => vec!["READY=1".to_owned()],
            Self::Reloading { monotonic_usec } => vec![
                "RELOADING=1".to_owned(),
                format!("MONOTONIC_USEC={monotonic_usec}"),
            ],
            Self::Stopping => vec!["STOPPING=1".to_owned()],
        }
    }
}

/// Something that is said again and again.
#[derive(Debug)]
struct Repeated {
    every: Duration,
    next: Instant,
}

impl Repeated {
    fn is_due(&self, now: Instant) -> bool {
        self.next <= now
    }

    /// Notes that it was said.
    fn said(&mut self, now: Instant) {
        if self.is_due(now) {
            self.next = now + self.every;
        }
    }
}

/// More time that is asked for until the drain's deadline.
#[derive(Debug)]
struct Extension {
    asked: Repeated,
    until: Instant,
}

/// What was said, and what is to be said.
#[derive(Debug)]
pub(super) struct Talk {
    began: Instant,
    phase: Option<Phase>,
    /// Whether `phase` is still to be told.
    phase_is_news: bool,
    /// The line about the daemon's state that is still to be told.
    report: Option<String>,
    told: String,
    /// When a line was taken or sent last, if that was in this phase.
    reported_at: Option<Instant>,
    watchdog: Option<Repeated>,
    extension: Option<Extension>,
    /// Not before this time, because the last message could not be sent.
    retry_at: Option<Instant>,
}

impl Talk {
    /// Begins at `now`; `watchdog` is how long the service manager waits for a sign of life.
    pub(super) fn new(watchdog: Option<Duration>, now: Instant) -> Self {
        Self {
            began: now,
            phase: None,
            phase_is_news: false,
            report: None,
            told: String::new(),
            reported_at: None,
            watchdog: watchdog.map(|timeout| Repeated {
                every: timeout / FEEDS,
                next: now,
            }),
            extension: None,
            retry_at: None,
        }
    }

    /// Enters a phase. A daemon that has not served does not reload for the service manager, which
    /// would take the end of the reload for the end of the start; one that stops does nothing else.
    pub(super) fn enter(&mut self, phase: Phase) {
        let fits = match (self.phase, phase) {
            (Some(Phase::Stopping), _) | (None, Phase::Reloading { .. }) => false,
            (None | Some(Phase::Ready | Phase::Reloading { .. }), _) => true,
        };
        if fits {
            self.phase_is_news |= self.phase != Some(phase);
            self.phase = Some(phase);
            // The line that belongs to the phase goes with it.
            self.reported_at = None;
        }
    }

    /// Ends a reload.
    pub(super) fn reloaded(&mut self) {
        if matches!(self.phase, Some(Phase::Reloading { .. })) {
            self.enter(Phase::Ready);
        }
    }

    /// Ends the daemon, with time asked for until that deadline if it waits for sessions.
    pub(super) fn stop(&mut self, deadline: Option<Instant>, now: Instant) {
        self.enter(Phase::Stopping);
        self.extension = deadline.map(|until| Extension {
            asked: Repeated {
                every: BETWEEN_EXTENSIONS,
                next: now,
            },
            until,
        });
    }

    /// Whether it is time for a line about the daemon's state.
    pub(super) fn wants_report(&self, now: Instant) -> bool {
        self.reported_at
            .is_none_or(|at| at + BETWEEN_REPORTS <= now)
    }

    /// Takes a line about the daemon's state, unless it comes too early.
    pub(super) fn report(&mut self, line: String, now: Instant) {
        if self.wants_report(now) {
            self.report = (line != self.told).then_some(line);
            self.reported_at = Some(now);
        }
    }

    /// Returns when there is something to send.
    pub(super) fn due(&self) -> Option<Instant> {
        let news = (self.phase_is_news || self.report.is_some()).then_some(self.began);
        let watchdog = self.watchdog.as_ref().map(|fed| fed.next);
        let extension = self
            .extension
            .as_ref()
            .map(|extension| extension.asked.next);
        let due = [news, watchdog, extension].into_iter().flatten().min()?;
        Some(self.retry_at.map_or(due, |retry_at| due.max(retry_at)))
    }

    /// Returns the message to send now. [`Self::sent`] or [`Self::lost`] must follow, with the same
    /// `now`.
    pub(super) fn message(&self, now: Instant) -> Option<String> {
        if self.due()? > now {
            return None;
        }
        let mut assignments = Vec::new();
        if let (Some(phase), true) = (self.phase, self.phase_is_news) {
            assignments.extend(phase.assignments());
        }
        if let Some(line) = &self.report {
            assignments.push(format!("STATUS={line}"));
        }
        if self.watchdog.as_ref().is_some_and(|fed| fed.is_due(now)) {
            assignments.push("WATCHDOG=1".to_owned());
        }
        if let Some(extension) = &self.extension
            && extension.asked.is_due(now)
        {
            let wanted = extension.until.saturating_duration_since(now) + LAST_STEPS;
            let micros = wanted.min(EXTENSION).as_micros();
            assignments.push(format!("EXTEND_TIMEOUT_USEC={micros}"));
        }
        Some(assignments.join("\n"))
    }

    /// Notes that the message was sent.
    pub(super) fn sent(&mut self, now: Instant) {
        self.retry_at = None;
        self.phase_is_news = false;
        if let Some(line) = self.report.take() {
            self.told = line;
            self.reported_at = Some(now);
        }
        if let Some(fed) = &mut self.watchdog {
            fed.said(now);
        }
        if let Some(extension) = &mut self.extension {
            extension.asked.said(now);
        }
        // From the deadline on the service manager's own patience, and the last request, must do.
        self.extension.take_if(|extension| extension.until <= now);
    }

    /// Notes that the message could not be sent; all of it is sent again.
    pub(super) fn lost(&mut self, now: Instant) {
        let patience = self.watchdog.as_ref().map_or(RETRY, |fed| fed.every);
        self.retry_at = Some(now + patience.min(RETRY));
    }
}
