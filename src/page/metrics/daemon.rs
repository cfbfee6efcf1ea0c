//! Metrics of the daemon as a whole.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Fraction, Labels, by_reason, count, gauge, states, whole};
use crate::control::{SessionsStatus, Status, SupervisorState, UpgradesStatus};

/// Adds them.
pub(super) fn register(status: &Status, registry: &mut Registry) {
    build(status, registry);
    daemon(status, registry);
    upgrades(&status.upgrades, registry);
    sessions(&status.sessions, registry);
    processes(status, registry);
}

fn build(status: &Status, registry: &mut Registry) {
    let build: Family<Labels, Gauge> = Family::default();
    let labels = vec![
        ("version", status.supervisor.version.clone()),
        ("arch", std::env::consts::ARCH.to_owned()),
    ];
    build.get_or_create(&labels).set(1);
    registry.register(
        "build_info",
        "The program that runs, by its labels; always 1",
        build,
    );
    gauge(
        registry,
        "program_replaced",
        "1 if another file lies at the path of the program that runs, so that an upgrade would run that, else 0",
        i64::from(status.program.replaced),
    );
}

fn daemon(status: &Status, registry: &mut Registry) {
    let all = [
        SupervisorState::Starting,
        SupervisorState::Serving,
        SupervisorState::Degraded,
        SupervisorState::Draining,
    ];
    states(
        registry,
        (
            "state",
            "What the daemon is doing: 1 for the state that holds, 0 for the others",
        ),
        status.supervisor.state,
        &all.map(|it| (it, it.word())),
    );
    gauge(
        registry,
        "workers_serving",
        "Workers that accept clients",
        whole(status.serving()),
    );
    gauge(
        registry,
        "workers",
        "Workers that there should be",
        whole(status.slots()),
    );
    count(
        registry,
        "restarts",
        "Workers that were started in the place of one that failed",
        status.restarts.total,
    );
    gauge(
        registry,
        "restarts_consecutive",
        "Failures in a row of the worker that has failed most often without serving in between",
        i64::from(status.restarts.consecutive),
    );
    count(
        registry,
        "denied_calls",
        "System calls that workers made and that were refused",
        status.sandbox.denied_calls,
    );
    count(
        registry,
        "log_lines_lost",
        "Log lines that were lost because they could not be written",
        status.log.lost_lines,
    );
    let uptime: Fraction = Gauge::default();
    uptime.set(status.supervisor.uptime_s);
    registry.register(
        "uptime_seconds",
        "Time since the supervisor started, in seconds",
        uptime,
    );
}

fn upgrades(upgrades: &UpgradesStatus, registry: &mut Registry) {
    let results: Family<Labels, Counter> = Family::default();
    for (result, number) in [
        ("done", upgrades.total),
        ("refused", upgrades.refused),
        ("rolled-back", upgrades.rolled_back),
    ] {
        let labels = vec![("result", result.to_owned())];
        results.get_or_create(&labels).inc_by(number);
    }
    registry.register(
        "upgrades",
        "Upgrades of the running daemon, by what became of them",
        results,
    );
}

/// Tells what becomes of sessions whose worker ends.
fn sessions(sessions: &SessionsStatus, registry: &mut Registry) {
    gauge(
        registry,
        "sessions_kept",
        "Open sessions that will go on in another worker if theirs ends",
        sessions.kept.cast_signed(),
    );
    count(
        registry,
        "sessions_taken_over",
        "Times that a worker went on with a session of a worker that had ended",
        sessions.taken_over_total,
    );
    by_reason(
        registry,
        "sessions_lost",
        "Established sessions that ended with their worker, by reason",
        &sessions.lost_by_reason,
    );
    by_reason(
        registry,
        "sessions_unkept",
        "Established sessions that cannot outlive their worker although they should, by reason",
        &sessions.unkept_by_reason,
    );
}

/// Tells what processes use, by what they do; what is not known of one is left out.
fn processes(status: &Status, registry: &mut Registry) {
    let cpu: Family<Labels, Counter<f64, AtomicU64>> = Family::default();
    let family = Family::<Labels, Gauge>::default;
    let [memory, open, most, started] = [family(), family(), family(), family()];
    for process in &status.processes {
        let slot = process.slot.map_or_else(String::new, |it| it.to_string());
        let labels = vec![("role", process.role.name().to_owned()), ("slot", slot)];
        if let Some(seconds) = process.cpu_s {
            cpu.get_or_create(&labels).inc_by(seconds);
        }
        for (family, value) in [
            (&memory, process.resident_bytes),
            (&open, process.open_descriptors),
            (&most, process.most_descriptors),
        ] {
            if let Some(value) = value {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                family.get_or_create(&labels).set(value);
            }
        }
        let at = process.started_at.as_second();
        started.get_or_create(&labels).set(at);
    }
    registry.register(
        "process_cpu_seconds",
        "Time for which processors have worked for the process, in seconds",
        cpu,
    );
    registry.register(
        "process_resident_memory_bytes",
        "Memory that the process takes, in bytes",
        memory,
    );
    registry.register(
        "process_open_fds",
        "Descriptors that the process has open",
        open,
    );
    registry.register(
        "process_max_fds",
        "Descriptors that the process may have open",
        most,
    );
    registry.register(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970",
        started,
    );
}
