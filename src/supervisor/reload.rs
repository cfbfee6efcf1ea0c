//! Loads of the disk: begun, taken into service, and answered.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::{error, info, warn};

use super::{
    Message, Supervisor,
    disk::{Reader, Reading},
    plan::{Answer, AskId, Event, Loaded, Phase},
    systemd,
};
use crate::{
    control::{
        EventKind, IdentityChange, IdentityOutcome, LoadError, Partial, Problem, ReloadReport,
        Response, Trigger,
    },
    link::{Generation, ListenerKey},
};

/// Results of loads that are kept until their askers can be answered.
const KEPT_REPORTS: usize = 32;

/// Problems or identities that a line of the log and an event name; an answer has them all.
const TOLD_AT_ONCE: usize = 20;

/// What a load brought, for those who asked.
#[derive(Debug)]
pub(super) struct Report {
    generation: u64,
    changed: bool,
    identities: Vec<IdentityChange>,
    problems: Vec<Problem>,
}

impl Supervisor {
    /// Returns what reads the disk as things stand now.
    pub(super) fn reader(&self) -> Reader {
        Reader {
            source: Arc::clone(&self.source),
            memo: Arc::clone(&self.memo),
            held: self.files.held,
            current: Arc::clone(&self.current.borrow()),
        }
    }

    /// Does what is due by now.
    pub(super) fn tick(&mut self) {
        if self
            .files
            .grace
            .deadline()
            .is_some_and(|due| due <= self.now())
        {
            self.files.grace.ask();
            self.reload_by_watch();
        }
        self.tell(Event::Tick);
    }

    /// Reads the TLS files because they have changed, or should have by now.
    pub(super) fn reload_by_watch(&mut self) {
        self.tell(Event::Reload {
            ask: None,
            trigger: Trigger::Watch,
            partial: Partial::Allow,
        });
    }

    /// Begins to read the disk, beside the loop.
    pub(super) fn load(&mut self, trigger: Trigger, partial: Partial) {
        self.loading = Some(trigger);
        if matches!(
            trigger,
            Trigger::Reload | Trigger::ReloadTls | Trigger::Sighup
        ) {
            systemd::say_reloading();
        }
        let (reader, binder) = (self.reader(), self.sockets.binder());
        let inbox = self.inbox.clone();
        tokio::task::spawn_blocking(move || {
            let reading = reader.read(trigger, partial, &binder);
            let _ = inbox.send(Message::Loaded(Box::new(reading)));
        });
    }

    /// Takes what a load brought into service.
    pub(super) fn loaded(&mut self, reading: Reading) {
        let trigger = self.loading.take().unwrap_or(Trigger::Crash);
        if matches!(self.plan.phase(), Phase::Draining { .. } | Phase::Stopping) {
            // Its new sockets would take in clients whom nobody serves.
            return;
        }
        let before = Arc::clone(&self.current.borrow());
        let identities = reading.loaded.changes(Some(&before.material));
        let problems = problems_of(&reading);
        if matches!(trigger, Trigger::Reload | Trigger::Sighup) {
            self.files.config_refused = !reading.refused.is_empty();
        }
        let config = reading
            .config
            .as_ref()
            .map_or(&*before.config, |(config, _)| config);
        let shown = self.shown();
        let warnings = reading
            .loaded
            .all_odd(config, Some(&before.material), &shown);
        for warning in self.files.news(&warnings) {
            warn!("{warning}");
        }
        self.files.held = reading.held;
        let changed = self.install(&before, reading, trigger);
        let generation = self.current.borrow().number;
        self.note(trigger, changed, generation, &identities, &problems);
        if changed {
            self.files.watching.stir();
        }
        self.reports.insert(
            self.plan.load_running(),
            Report {
                generation,
                changed,
                identities,
                problems,
            },
        );
        while self.reports.len() > KEPT_REPORTS {
            self.reports.pop_first();
        }
        if matches!(
            trigger,
            Trigger::Reload | Trigger::ReloadTls | Trigger::Sighup
        ) {
            systemd::tell(&[sd_notify::NotifyState::Ready]);
        }
        let loaded = if changed { Loaded::New } else { Loaded::Same };
        self.tell(Event::Loaded(loaded));
    }

    /// Makes a new generation of a reading that differs from the one in force.
    fn install(&mut self, before: &Generation, reading: Reading, trigger: Trigger) -> bool {
        let Some(material) = reading.loaded.material else {
            return false;
        };
        let same_config = reading.config.is_none();
        if same_config && material.digest() == before.material.digest() {
            return false;
        }
        let config = match reading.config {
            None => Arc::clone(&before.config),
            Some((config, prepared)) => {
                let new = self.sockets.commit(prepared, &config.listeners);
                if let Err(error) = self.places.configure(&config.listeners) {
                    error!(%error, "no places for the sessions of a new listener");
                }
                self.hand_to_all(&new);
                self.hook.configure(config.on_exit_failure.clone());
                Arc::new(config)
            }
        };
        self.plan
            .expect(material.pieces(), config.runs_passphrase_program());
        *self.current.borrow_mut() = Arc::new(Generation {
            number: before.number + 1,
            loaded_at: Timestamp::now(),
            trigger,
            config,
            material,
        });
        true
    }

    /// Hands every worker what it needs for new listeners.
    fn hand_to_all(&mut self, keys: &[ListenerKey]) {
        let workers: Vec<_> = self.processes.keys().copied().collect();
        for worker in workers {
            self.hand_places(worker);
            for slot in self.plan.slots_of(worker) {
                for key in keys {
                    self.hand_socket(worker, slot, key.clone());
                }
            }
        }
    }

    /// Logs a load's result and remembers it.
    fn note(
        &mut self,
        trigger: Trigger,
        changed: bool,
        generation: u64,
        identities: &[IdentityChange],
        problems: &[Problem],
    ) {
        if changed {
            let updated = updated(identities);
            info!(generation, %trigger, "loaded{updated}");
            self.events.add(
                EventKind::Reloaded,
                format!("Generation {generation} is in service{updated}."),
            );
        } else if problems.is_empty() && !matches!(trigger, Trigger::Crash | Trigger::Watch) {
            info!(generation, %trigger, "nothing on disk has changed");
            self.events.add(
                EventKind::Unchanged,
                format!("Nothing on disk has changed; generation {generation} stays."),
            );
        }
        let (current, now) = (Arc::clone(&self.current.borrow()), self.now());
        let due = self
            .files
            .loaded(&current.config, trigger, identities, problems, now);
        if !due.is_empty() {
            self.note_problems(trigger, generation, &due);
        } else if !self.files.config_refused {
            self.last_error = None;
        }
    }

    fn note_problems(&mut self, trigger: Trigger, generation: u64, problems: &[Problem]) {
        let message = format!(
            "{}; the last good state of it is still served, as generation {generation}",
            some_of(
                problems.len(),
                problems.iter().map(ToString::to_string),
                "; "
            )
        );
        let known = self
            .last_error
            .as_ref()
            .is_some_and(|last| last.message == message);
        if known && trigger == Trigger::Watch {
            return;
        }
        error!(%trigger, "{message}");
        self.events
            .add(EventKind::ReloadFailed, format!("{message}."));
        self.last_error = Some(LoadError {
            at: Timestamp::now(),
            trigger,
            message,
        });
    }

    /// Answers those who asked for a reload.
    pub(super) fn answer_asks(&mut self, asks: Vec<AskId>, answer: Answer) {
        let response = match answer {
            Answer::Result { load, workers } => self.result(load, workers),
            Answer::DiskHangs => refused(
                "the disk does not answer: reading the files takes far longer than so many should; \
                 what was served is still served",
            ),
            Answer::Ending => refused("the daemon is ending and reloads no more"),
        };
        for ask in asks {
            if let Some(reply) = self.asks.remove(&ask) {
                reply.answer(response.clone());
            }
        }
    }

    fn result(&self, load: u64, workers: usize) -> Response {
        match self.reports.get(&load) {
            None => refused("the result of the reload was lost among too many others; ask again"),
            Some(report) => Response::Reloaded(ReloadReport {
                generation: report.generation,
                changed: report.changed,
                workers,
                identities: report.identities.clone(),
                problems: report.problems.clone(),
            }),
        }
    }
}

fn refused(reason: &str) -> Response {
    Response::Refused {
        reason: reason.to_owned(),
    }
}

fn problems_of(reading: &Reading) -> Vec<Problem> {
    let mut problems = reading.refused.clone();
    for problem in &reading.loaded.problems {
        // A configuration that was turned back has told of it already.
        if !problems.contains(problem) {
            problems.push(problem.clone());
        }
    }
    problems
}

/// Lists the first of `all` things in one line, which stays readable when there are thousands.
fn some_of(all: usize, things: impl Iterator<Item = String>, between: &str) -> String {
    let mut list: Vec<String> = things.take(TOLD_AT_ONCE).collect();
    if let Some(rest @ 1..) = all.checked_sub(list.len()) {
        list.push(format!("and {rest} more"));
    }
    list.join(between)
}

/// Names the identities that a load brought something new for, to end a sentence with.
fn updated(identities: &[IdentityChange]) -> String {
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
