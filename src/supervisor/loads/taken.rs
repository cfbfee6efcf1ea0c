//! What a load brought: compared with what is served, warned of and told.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tracing::{error, info, warn};

use super::{
    Found, Loads, Reading,
    moments::next_change,
    report::{Report, problems_of, still_served},
};
use crate::{
    control::{EventKind, LoadError},
    facts::Trigger,
    link::Generation,
    store::{KeptOut, Shown},
    supervisor::{
        notices::Events,
        plan::{LoadId, Loaded},
        steps::Told,
        workers::Acquired,
    },
};

impl Loads {
    /// Notes what the load at a start has found that comes after another supervisor.
    pub(in crate::supervisor) fn started(
        &mut self,
        told: &Told,
        now: Duration,
        events: &mut Events,
    ) {
        if told.is_held {
            return;
        }
        self.files.config_refused = told.config_refused;
        let current = self.current();
        let (config, trigger) = (&current.config, Trigger::Start);
        let files = &mut self.files;
        let due = files.loaded(config, trigger, &told.identities, &told.problems, now);
        if due.is_empty() {
            self.last_error = None;
            return;
        }
        let message = still_served(&due, current.number);
        let known = self.last_error.as_ref();
        if known.is_none_or(|known| known.message != message) {
            self.note_error(trigger, message, events);
        }
    }

    /// Takes what a load brought; returns whether it differs from what is served. `shown` are the
    /// certificates that backends have presented.
    pub(in crate::supervisor) fn take(
        &mut self,
        load: LoadId,
        mut reading: Reading,
        shown: &[Shown],
        now: Duration,
        events: &mut Events,
    ) -> Loaded {
        let Some(trigger) = self.unsettled.get(&load).map(|it| it.trigger) else {
            return Loaded::Same;
        };
        let before = self.current();
        let report = Report {
            generation: before.number,
            changed: false,
            changes: std::mem::take(&mut reading.changes),
            problems: problems_of(&reading),
            trust_went_back: Vec::new(),
        };
        if trigger.reads_config() {
            self.files.config_refused = !reading.refused.is_empty();
        }
        self.warn_of_news(&reading, &before, shown);
        self.odd = reading.is_served.then(|| Arc::clone(&reading.odd));
        self.files.held = reading.held;
        if reading.config.is_none() {
            let change = reading.changes_at;
            self.changes_at = next_change(change, &before.config, Timestamp::now());
        }
        self.found = found(&before, reading, trigger);
        let loaded = match &self.found {
            Some(found) => Loaded::New {
                pieces: found.material.pieces(),
            },
            None if report.problems.is_empty() => Loaded::Same,
            None => Loaded::Kept,
        };
        self.note(trigger, loaded, &report, now, events);
        if let Some(unsettled) = self.unsettled.get_mut(&load) {
            unsettled.report = Some(report);
        }
        loaded
    }

    fn warn_of_news(&mut self, reading: &Reading, before: &Generation, shown: &[Shown]) {
        let config = reading.config.as_ref().map(|(config, _)| config);
        let config = config.unwrap_or(&before.config);
        let KeptOut { certainly, perhaps } = reading.loaded.kept_out(config, shown);
        let warnings = reading.loaded.warnings.iter().chain(&certainly);
        let odd = warnings.chain(&perhaps).chain(reading.odd.iter());
        for warning in self.files.news(odd) {
            warn!("{warning}");
        }
    }

    /// Logs what a load found and remembers what is wrong.
    fn note(
        &mut self,
        trigger: Trigger,
        loaded: Loaded,
        report: &Report,
        now: Duration,
        events: &mut Events,
    ) {
        let generation = report.generation;
        let quiet = matches!(trigger, Trigger::Crash | Trigger::Watch);
        if loaded == Loaded::Same && report.problems.is_empty() && !quiet {
            info!(generation, %trigger, "nothing on disk has changed");
            events.add(
                EventKind::Unchanged,
                format!("Nothing on disk has changed; generation {generation} stays."),
            );
        }
        let config = Arc::clone(&self.current().config);
        let (identities, problems) = (&report.changes.identities, &report.problems);
        let due = self
            .files
            .loaded(&config, trigger, identities, problems, now);
        if !due.is_empty() {
            self.note_error(trigger, still_served(&due, generation), events);
        } else if !self.files.config_refused {
            self.last_error = None;
        }
    }

    pub(super) fn note_error(&mut self, trigger: Trigger, message: String, events: &mut Events) {
        let last = self.last_error.as_ref();
        if last.is_some_and(|last| last.message == message) && trigger == Trigger::Watch {
            return;
        }
        error!(%trigger, "{message}");
        events.add(EventKind::ReloadFailed, format!("{message}."));
        self.last_error = Some(LoadError {
            at: Timestamp::now(),
            trigger,
            message,
        });
    }
}

/// Returns what a reading brought that differs from the generation in force.
fn found(before: &Generation, reading: Reading, trigger: Trigger) -> Option<Found> {
    let (material, next) = reading.loaded.material.zip(reading.next)?;
    let (config, acquired) = match reading.config {
        Some((config, acquired)) => (Arc::new(config), acquired),
        None => (Arc::clone(&before.config), Acquired::default()),
    };
    Some(Found {
        trigger,
        config,
        material,
        packs: reading.packs,
        acquired,
        next,
    })
}
