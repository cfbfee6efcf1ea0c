//! Makes the status document from what the supervisor knows, and of what the kernel says of its processes.

use std::time::Duration;

use jiff::Timestamp;

use super::processes;
use crate::{
    control::{
        IdentityStatus, KeepingStatus, ListenerStatus, LogStatus, ProgramStatus, RestartStatus,
        SessionsStatus, Status, SupervisorState, SupervisorStatus, TlsStatus, WorkerState,
        WorkerStatus, fixed, wire,
    },
    facts::{CertificateFacts, Expiry, KeepingCounts, Moment, PROGRAM_VERSION},
    link::{Generation, Numbers, page::MOST_LISTENERS},
    store::expiries::{self, Expiries, SentPath},
    supervisor::{
        helpers::Helpers,
        life::{Life, State, Summary},
        loads::{Loads, Verdict},
        notices::Notices,
        orphans::{Orphans, Row},
        plan::{Doing, Phase, Plan, Slot, SlotState},
        sandbox::Sandbox,
        upgrade::Upgrades,
        workers::Workers,
    },
    tls::material::Identity,
};

/// The version of the status document.
const SCHEMA: u32 = 1;

/// The sources of the document.
#[derive(Debug)]
pub(in crate::supervisor) struct Sources<'a> {
    pub(in crate::supervisor) plan: &'a Plan,
    pub(in crate::supervisor) workers: &'a Workers,
    pub(in crate::supervisor) orphans: &'a Orphans,
    pub(in crate::supervisor) loads: &'a Loads,
    pub(in crate::supervisor) notices: &'a Notices,
    pub(in crate::supervisor) life: &'a Life,
    pub(in crate::supervisor) upgrades: &'a Upgrades,
    pub(in crate::supervisor) sandbox: &'a Sandbox,
    pub(in crate::supervisor) helpers: &'a Helpers,
    /// What became of sessions whose worker ended.
    pub(in crate::supervisor) keeping: KeepingCounts,
    /// Why the kernel does not let sessions outlive their worker, if that is so.
    pub(in crate::supervisor) unsupported: Option<&'a str>,
    /// Lines that the log has lost.
    pub(in crate::supervisor) lost_lines: u64,
    /// The time since the daemon's start.
    pub(in crate::supervisor) now: Duration,
}

impl Sources<'_> {
    /// Returns the status, with this verdict on the disk.
    pub(in crate::supervisor) fn status(&self, verdict: &Verdict) -> Status {
        let now = Timestamp::now();
        Status {
            schema: SCHEMA,
            supervisor: SupervisorStatus {
                pid: std::process::id(),
                version: PROGRAM_VERSION.to_owned(),
                started_at: self.life.started_at(),
                uptime_s: self.now.as_secs_f64(),
                state: self.state(),
                config: self.loads.config_file(),
            },
            workers: self.workers(now),
            restarts: RestartStatus {
                total: self.workers.restarts(),
                consecutive: self.consecutive(),
                last: self.notices.last_failure().cloned(),
            },
            tls: self.tls(verdict, now),
            on_exit_failure: self.notices.hook.status(),
            listeners: listeners(self.workers, &self.loads.current()),
            log: LogStatus {
                lost_lines: self.lost_lines,
            },
            sandbox: self.sandbox.status(self.workers.denied_calls()),
            sessions: self.sessions(),
            program: ProgramStatus {
                path: self
                    .upgrades
                    .program()
                    .map_or_else(String::new, |it| it.display().to_string()),
                version: PROGRAM_VERSION.to_owned(),
                replaced: verdict.replaced,
            },
            upgrades: self.upgrades.status(),
            processes: processes::all(self),
        }
    }

    /// Returns the little that clients of every version understand.
    pub(in crate::supervisor) fn minimal(&self) -> fixed::Status {
        let slots = self.plan.slots().iter();
        fixed::Status {
            version: PROGRAM_VERSION.to_owned(),
            protocol: wire::PROTOCOL,
            pid: std::process::id(),
            state: self.state().word().to_owned(),
            generation: self.plan.generation(),
            workers: slots.filter_map(Slot::serving).count() as u64,
            sessions: self.workers.sessions(),
        }
    }

    fn sessions(&self) -> SessionsStatus {
        let keep_after = self.loads.current().config.keep_after;
        let keeping = KeepingStatus::new(keep_after, self.unsupported);
        SessionsStatus::new(self.workers.sessions(), &self.keeping, keeping)
    }

    /// Returns the summary for the service manager.
    pub(in crate::supervisor) fn summary(&self) -> Summary {
        let working = self.plan.slots().iter().filter_map(Slot::worker);
        Summary {
            state: match self.plan.phase() {
                Phase::Starting => State::Starting,
                Phase::Serving => State::Serving,
                Phase::Draining { .. } | Phase::Stopping { .. } => State::Draining,
            },
            generation: self.plan.generation(),
            workers: working.count(),
            sessions: self.workers.sessions(),
            last_error: self.loads.last_error().map(|error| error.message.clone()),
        }
    }

    /// Returns what the daemon as a whole is doing.
    fn state(&self) -> SupervisorState {
        let slots = self.plan.slots();
        let serves = slots.iter().any(|slot| slot.serving().is_some());
        match self.plan.phase() {
            Phase::Starting => SupervisorState::Starting,
            Phase::Serving if serves && self.plan.unaccepted(self.now) == 0 => {
                SupervisorState::Serving
            }
            Phase::Serving => SupervisorState::Degraded,
            Phase::Draining { .. } | Phase::Stopping { .. } => SupervisorState::Draining,
        }
    }

    fn consecutive(&self) -> u32 {
        let failures = |slot: &Slot| slot.failures_at(self.now);
        self.plan.slots().iter().map(failures).max().unwrap_or(0)
    }

    fn workers(&self, now: Timestamp) -> Vec<WorkerStatus> {
        let slots = self.plan.slots().iter().enumerate();
        slots
            .filter(|(_, slot)| slot.state != SlotState::Empty)
            .map(|(index, slot)| self.worker(index, slot, now))
            .chain(self.orphans.rows().filter_map(|row| self.orphan(row)))
            .collect()
    }

    /// Returns a worker of an earlier supervisor.
    fn orphan(&self, row: Row) -> Option<WorkerStatus> {
        let process = self.workers.get(row.worker)?;
        Some(WorkerStatus {
            pid: process.pid(),
            slot: row.slot,
            state: row.state,
            started_at: process.child.started_at,
            generation: row.generation,
            connections: process.open(),
            denied_calls: process.denied_calls,
        })
    }

    fn worker(&self, index: usize, slot: &Slot, now: Timestamp) -> WorkerStatus {
        let waiting = WorkerStatus {
            pid: None,
            slot: index,
            state: WorkerState::Waiting,
            started_at: now,
            generation: 0,
            connections: 0,
            denied_calls: 0,
        };
        let Some(worker) = slot.worker() else {
            let until = match slot.state {
                SlotState::Waiting { until } => until.saturating_sub(self.now),
                _ => Duration::ZERO,
            };
            return WorkerStatus {
                started_at: now.checked_add(until).unwrap_or(now),
                ..waiting
            };
        };
        let process = self.workers.get(worker.id);
        let Some((process, pid)) = process.and_then(|it| Some((it, it.pid()?))) else {
            return waiting;
        };
        WorkerStatus {
            pid: Some(pid),
            slot: index,
            state: match worker.doing {
                Doing::HeldBack(_) | Doing::Starting => WorkerState::Starting,
                Doing::Serving { .. } => WorkerState::Serving,
                Doing::Draining | Doing::Condemned { .. } => WorkerState::Draining,
            },
            started_at: process.child.started_at,
            generation: worker.generation,
            connections: process.open(),
            denied_calls: process.denied_calls,
        }
    }

    fn tls(&self, verdict: &Verdict, now: Timestamp) -> TlsStatus {
        let generation = self.loads.current();
        let ends = self.loads.ends();
        TlsStatus {
            generation: generation.number,
            loaded_at: generation.loaded_at,
            trigger: generation.trigger,
            disk: self.loads.disk_status(verdict, self.now),
            restart_safe: verdict.restart_safe,
            not_tried: verdict.not_tried.clone(),
            last_error: self.loads.last_error().cloned(),
            watch: self.loads.watch_status(),
            identities: generation
                .material
                .identities
                .iter()
                .map(|identity| IdentityStatus {
                    kept_since: self.loads.kept_since(&identity.name),
                    ..identity_status(identity, ends.paths.get(&identity.name), now)
                })
                .collect(),
            rollback: self.loads.rollback().cloned(),
            expiries: self.expiries(&generation, ends, now.into()),
            intermediates: ends.intermediates.clone(),
        }
    }
}

impl Sources<'_> {
    /// Returns what ends when: that of the generation, and what backends have shown.
    fn expiries(&self, generation: &Generation, ends: &Expiries, now: Moment) -> Vec<Expiry> {
        let counts = self.workers.counts();
        let mut shown = Vec::new();
        for listener in &generation.config.listeners {
            let known = counts.get(&listener.name);
            let backends = listener.backends.iter();
            let backends = backends.filter_map(|it| Some(known?.backend(it.to_string())));
            shown.extend(backends.filter_map(|it| expiries::shown(listener, &it)));
        }
        let mut all = [ends.list.clone(), shown].concat();
        for it in &mut all {
            it.days_left = it.ends_at.days_since(now);
        }
        all.sort_by_key(|it| it.ends_at);
        all
    }
}

/// Returns the listeners of a generation with the workers' counts.
pub(super) fn listeners(workers: &Workers, generation: &Generation) -> Vec<ListenerStatus> {
    let counts = workers.counts();
    let listeners = generation.config.listeners.iter();
    listeners
        .map(|listener| {
            let known = counts.get(&listener.name).cloned().unwrap_or_default();
            let backends = listener.backends.iter();
            ListenerStatus {
                name: listener.name.clone(),
                bind: workers.address(listener),
                protocol: listener.protocol,
                backend: listener.backends.first().to_string(),
                backends: backends.map(|it| known.backend(it.to_string())).collect(),
                resumption: listener.tls.resumption,
                connections: known.connections,
            }
        })
        .collect()
}

/// Returns the numbers of listeners that the page keeps a history of.
pub(in crate::supervisor) fn numbers(workers: &Workers, generation: &Generation) -> Vec<Numbers> {
    let counts = workers.counts();
    let listeners = generation.config.listeners.iter().take(MOST_LISTENERS);
    listeners
        .map(|listener| {
            let known = counts.get(&listener.name);
            let counts = known.map(|it| it.connections).unwrap_or_default();
            let failed = [
                counts.failed_handshakes,
                counts.failed_backends,
                counts.refused,
            ];
            Numbers {
                listener: listener.name.clone(),
                open: counts.open,
                failed: failed.into_iter().fold(0, u64::saturating_add),
                bytes_up: counts.bytes_up,
                bytes_down: counts.bytes_down,
            }
        })
        .collect()
}

fn identity_status(identity: &Identity, path: Option<&SentPath>, now: Timestamp) -> IdentityStatus {
    let facts = CertificateFacts::clone(&identity.facts);
    let path_not_after = path.map_or(facts.not_after, |it| it.end);
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
        path_not_after,
        days_left: path_not_after.days_since(now),
        dns_names: facts.dns_names,
        key_type: facts.key_type,
        kept_since: None,
        intermediates: path.map(|it| it.above.clone()).unwrap_or_default(),
    }
}
