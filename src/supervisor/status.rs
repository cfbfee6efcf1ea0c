//! The status document out of what the supervisor knows.

use std::collections::BTreeMap;

use jiff::{Timestamp, Unit};

use super::{
    Supervisor,
    plan::{Doing, Phase, Slot, SlotState},
    verdict::Verdict,
};
use crate::{
    control::{
        DiskStatus, IdentityStatus, ListenerCounts, ListenerStatus, RestartStatus, Status,
        SupervisorState, SupervisorStatus, TlsStatus, WorkerState, WorkerStatus,
    },
    tls::material::Identity,
};

/// The version of the status document.
const SCHEMA: u32 = 1;

impl Supervisor {
    /// Returns the status, with this verdict on the disk.
    pub(super) fn status(&self, verdict: Verdict) -> Status {
        let now = Timestamp::now();
        Status {
            schema: SCHEMA,
            supervisor: SupervisorStatus {
                pid: std::process::id(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: self.started_at,
                uptime_s: self.now().as_secs_f64(),
                state: self.state(),
                config: self.source.file().map(|file| file.display().to_string()),
            },
            workers: self.workers(now),
            restarts: RestartStatus {
                total: self.restarts,
                consecutive: self.consecutive(),
                last: self.last_failure.clone(),
            },
            tls: self.tls(verdict, now),
            on_exit_failure: self.hook.status(),
            listeners: self.listeners(),
        }
    }

    fn state(&self) -> SupervisorState {
        let serves = self
            .plan
            .slots()
            .iter()
            .any(|slot| slot.serving().is_some());
        match self.plan.phase() {
            Phase::Starting => SupervisorState::Starting,
            Phase::Serving if serves => SupervisorState::Serving,
            Phase::Serving => SupervisorState::Degraded,
            Phase::Draining { .. } | Phase::Stopping => SupervisorState::Draining,
        }
    }

    fn consecutive(&self) -> u32 {
        let failures = |slot: &Slot| slot.failures_at(self.now());
        self.plan.slots().iter().map(failures).max().unwrap_or(0)
    }

    fn workers(&self, now: Timestamp) -> Vec<WorkerStatus> {
        let slots = self.plan.slots().iter().enumerate();
        slots
            .filter(|(_, slot)| slot.state != SlotState::Empty)
            .map(|(index, slot)| self.worker(index, slot, now))
            .collect()
    }

    fn worker(&self, index: usize, slot: &Slot, now: Timestamp) -> WorkerStatus {
        let waiting = WorkerStatus {
            pid: None,
            slot: index,
            state: WorkerState::Waiting,
            started_at: now,
            generation: 0,
            connections: 0,
        };
        let Some(worker) = slot.worker() else {
            let until = match slot.state {
                SlotState::Waiting { until } => until.saturating_sub(self.now()),
                _ => std::time::Duration::ZERO,
            };
            return WorkerStatus {
                started_at: now.checked_add(until).unwrap_or(now),
                ..waiting
            };
        };
        let Some(process) = self.processes.get(&worker.id) else {
            return waiting;
        };
        WorkerStatus {
            pid: Some(process.pid),
            slot: index,
            state: match worker.doing {
                Doing::Starting => WorkerState::Starting,
                Doing::Serving { .. } => WorkerState::Serving,
                Doing::Draining | Doing::Condemned { .. } => WorkerState::Draining,
            },
            started_at: process.started_at,
            generation: worker.generation,
            connections: process
                .counts
                .iter()
                .map(|(_, counts)| counts.connections.open)
                .sum(),
        }
    }

    fn tls(&self, verdict: Verdict, now: Timestamp) -> TlsStatus {
        let generation = self.current.borrow();
        let config = &generation.config;
        let settling = self.files.since.is_settling(self.now(), config.watch_grace);
        TlsStatus {
            generation: generation.number,
            loaded_at: generation.loaded_at,
            trigger: generation.trigger,
            disk: DiskStatus {
                state: verdict.state,
                reason: verdict.reason,
                unseen: verdict.unseen,
                since: self.files.since.at(),
                settling: settling && config.watch,
            },
            restart_safe: verdict.restart_safe,
            last_error: self.last_error.clone(),
            watch: self.files.watching.status(config),
            identities: generation
                .material
                .identities
                .iter()
                .map(|identity| IdentityStatus {
                    kept_since: self.files.kept_since(&identity.name),
                    ..identity_status(identity, now)
                })
                .collect(),
        }
    }

    pub(super) fn listeners(&self) -> Vec<ListenerStatus> {
        let counts = self.counts();
        let generation = self.current.borrow();
        let listeners = generation.config.listeners.iter();
        listeners
            .map(|listener| {
                let known = counts.get(&listener.name).cloned().unwrap_or_default();
                let backends = listener.backends.iter();
                ListenerStatus {
                    name: listener.name.clone(),
                    bind: self.sockets.address(listener),
                    protocol: listener.protocol,
                    backend: listener.backends.first().to_string(),
                    backends: backends.map(|it| known.backend(it.to_string())).collect(),
                    resumption: listener.tls.resumption,
                    connections: known.connections,
                }
            })
            .collect()
    }

    /// Sums what workers counted, those that have ended included.
    fn counts(&self) -> BTreeMap<String, ListenerCounts> {
        let mut sums = self.retired.clone();
        for process in self.processes.values() {
            for (name, counts) in &process.counts {
                sums.entry(name.clone()).or_default().add(counts);
            }
        }
        sums
    }
}

fn identity_status(identity: &Identity, now: Timestamp) -> IdentityStatus {
    let facts = identity.facts.clone();
    IdentityStatus {
        name: identity.name.clone(),
        cert: identity.cert.clone(),
        key: identity.key.clone(),
        subject: facts.subject,
        issuer: facts.issuer,
        serial: facts.serial,
        sha256: facts.sha256,
        not_before: facts.not_before,
        not_after: facts.not_after,
        days_left: days_between(now, facts.not_after),
        dns_names: facts.dns_names,
        key_type: facts.key_type,
        kept_since: None,
    }
}

/// Returns the whole days from `now` to `then`; negative if it has passed.
fn days_between(now: Timestamp, then: Timestamp) -> i64 {
    let hours = then
        .since((Unit::Hour, now))
        .map_or(0, |span| i64::from(span.get_hours()));
    hours.div_euclid(24)
}
