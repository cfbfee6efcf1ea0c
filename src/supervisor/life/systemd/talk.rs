//! Decides what to send to the service manager, and when. Pure.

use std::time::{Duration, Instant};

/// How long after a failed send the next one is tried at most.
const RETRY: Duration = Duration::from_secs(1);

/// How old the last line about the daemon's state must be before another is made.
const BETWEEN_REPORTS: Duration = Duration::from_secs(1);

/// How much more time each message asks for while the daemon drains. The service manager kills a
/// supervisor that hangs meanwhile after that time.
const EXTENSION: Duration = Duration::from_secs(20);

/// How often to ask for more time, so that one or two lost messages do no harm.
const BETWEEN_EXTENSIONS: Duration = Duration::from_secs(5);

/// How long the work after the drain may take: killing workers, and reporting that.
const LAST_STEPS: Duration = Duration::from_secs(10);

/// How many times the watchdog is fed within its timeout.
const FEEDS: u32 = 3;

/// The daemon's state as the service manager knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It serves.
    Ready,
    /// It serves, and has been reloading since this time of `CLOCK_MONOTONIC`.
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

/// A message that is sent periodically.
#[derive(Debug)]
struct Repeated {
    every: Duration,
    next: Instant,
}

impl Repeated {
    fn is_due(&self, now: Instant) -> bool {
        self.next <= now
    }

    /// Notes that a message was sent, whether or not this one was due.
    fn said(&mut self, now: Instant) {
        if self.is_due(now) {
            self.next = now + self.every;
        }
    }
}

/// The repeated request for more time, until the drain's deadline.
#[derive(Debug)]
struct Extension {
    asked: Repeated,
    until: Instant,
}

/// What was sent, and what is still to be sent.
#[derive(Debug)]
pub(super) struct Talk {
    began: Instant,
    phase: Option<Phase>,
    /// Whether `phase` was not sent yet.
    phase_is_news: bool,
    /// The line about the daemon's state that was not sent yet.
    report: Option<String>,
    told: String,
    /// When a line was taken or sent last, if that was in this phase.
    reported_at: Option<Instant>,
    watchdog: Option<Repeated>,
    extension: Option<Extension>,
    /// When to try again, because the last message could not be sent.
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

    /// Returns how long the service manager waits for a sign of life; `None` if it does not.
    pub(super) fn watchdog_timeout(&self) -> Option<Duration> {
        self.watchdog.as_ref().map(|fed| fed.every * FEEDS)
    }

    /// Enters a phase. A reload before the daemon serves is not reported, because the service manager
    /// would take its end for the end of the start; and no phase follows the stopping.
    pub(super) fn enter(&mut self, phase: Phase) {
        let fits = match (self.phase, phase) {
            (Some(Phase::Stopping), _) | (None, Phase::Reloading { .. }) => false,
            (None | Some(Phase::Ready | Phase::Reloading { .. }), _) => true,
        };
        if fits {
            self.phase_is_news |= self.phase != Some(phase);
            self.phase = Some(phase);
            // The next line about the state may be sent at once, together with the phase.
            self.reported_at = None;
        }
    }

    /// Ends a reload.
    pub(super) fn reloaded(&mut self) {
        if matches!(self.phase, Some(Phase::Reloading { .. })) {
            self.enter(Phase::Ready);
        }
    }

    /// Notes that the daemon ends; until `deadline`, if it waits for sessions, more time is asked for.
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

    /// Whether a line about the daemon's state is due.
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
        // After the deadline no more time is asked for: what the last request has granted is enough.
        self.extension.take_if(|extension| extension.until <= now);
    }

    /// Notes that the message could not be sent; all of it is sent again.
    pub(super) fn lost(&mut self, now: Instant) {
        let patience = self.watchdog.as_ref().map_or(RETRY, |fed| fed.every);
        self.retry_at = Some(now + patience.min(RETRY));
    }
}
