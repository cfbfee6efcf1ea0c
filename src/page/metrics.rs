//! The status as OpenMetrics text.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::Gauge,
    },
    registry::Registry,
};

use crate::{
    control::{DiskState, IdentityStatus, SessionsStatus, Status, WatchState, WorkerState},
    facts::{EndReason, ExpiryKind, Reason, Tally},
};

/// The labels of a time series.
type Labels = Vec<(&'static str, String)>;

/// A gauge with a fraction.
type Fraction = Gauge<f64, AtomicU64>;

/// Series of what ends, at most.
const MOST_EXPIRIES: usize = 1000;

/// Returns the metrics page.
pub(super) fn render(status: &Status) -> String {
    let mut registry = Registry::with_prefix("proxyd");
    daemon(status, &mut registry);
    tls(status, &mut registry);
    identities(status, &mut registry);
    expiries(status, &mut registry);
    listeners(status, &mut registry);
    backends(status, &mut registry);
    sessions(&status.sessions, &mut registry);
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &registry);
    text
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: i64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

fn count(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstCounter::new(value));
}

fn daemon(status: &Status, registry: &mut Registry) {
    let serving = |state| state == WorkerState::Serving;
    let workers = status
        .workers
        .iter()
        .filter(|worker| serving(worker.state))
        .count();
    gauge(
        registry,
        "workers_serving",
        "Workers that accept connections",
        whole(workers),
    );
    gauge(
        registry,
        "workers",
        "Slots for workers",
        whole(status.slots()),
    );
    count(
        registry,
        "restarts",
        "Workers started in the place of one that failed",
        status.restarts.total,
    );
    gauge(
        registry,
        "restarts_consecutive",
        "Failures in a row of the slot that fares worst",
        i64::from(status.restarts.consecutive),
    );
    count(
        registry,
        "denied_calls",
        "System calls that workers were refused",
        status.sandbox.denied_calls,
    );
    count(
        registry,
        "log_lines_lost",
        "Log lines that could not be written",
        status.log.lost_lines,
    );
    let uptime: Fraction = Gauge::default();
    uptime.set(status.supervisor.uptime_s);
    registry.register(
        "uptime_seconds",
        "Time since the supervisor started",
        uptime,
    );
}

fn tls(status: &Status, registry: &mut Registry) {
    let tls = &status.tls;
    gauge(
        registry,
        "tls_generation",
        "Generation in service",
        tls.generation.cast_signed(),
    );
    gauge(
        registry,
        "tls_loaded_timestamp_seconds",
        "When the generation in service was loaded",
        tls.loaded_at.as_second(),
    );
    gauge(
        registry,
        "tls_last_load_failed",
        "Whether the last load found something broken",
        i64::from(tls.last_error.is_some()),
    );
    gauge(
        registry,
        "tls_restart_safe",
        "Whether a cold start with what is on disk would serve everything",
        i64::from(tls.restart_safe),
    );
    gauge(
        registry,
        "tls_rollback",
        "Whether a rollback is in force, so that what is on disk is not loaded",
        i64::from(tls.rollback.is_some()),
    );
    disk_states(tls.disk.state, registry);
    gauge(
        registry,
        "tls_disk_since_timestamp_seconds",
        "When the disk was first seen in its present state",
        tls.disk.since.as_second(),
    );
    gauge(
        registry,
        "tls_disk_settling",
        "Whether the disk may differ because files are being written",
        i64::from(tls.disk.settling),
    );
    gauge(
        registry,
        "tls_watch_events",
        "Whether the kernel tells of all changes of the files",
        i64::from(tls.watch.state == WatchState::Events),
    );
    let kept = |identity: &&IdentityStatus| identity.kept_since.is_some();
    gauge(
        registry,
        "tls_identities_kept",
        "Identities served in their last good state, because their files are broken",
        whole(tls.identities.iter().filter(kept).count()),
    );
}

fn disk_states(found: DiskState, registry: &mut Registry) {
    let verdicts: Family<Labels, Gauge> = Family::default();
    for (state, name) in [
        (DiskState::Same, "same"),
        (DiskState::Changed, "changed"),
        (DiskState::Invalid, "invalid"),
    ] {
        let labels = vec![("state", name.to_owned())];
        verdicts
            .get_or_create(&labels)
            .set(i64::from(state == found));
    }
    registry.register(
        "tls_disk_state",
        "How the disk stands to what is served",
        verdicts,
    );
}

fn identities(status: &Status, registry: &mut Registry) {
    let ends: Family<Labels, Gauge> = Family::default();
    let begins: Family<Labels, Gauge> = Family::default();
    for identity in &status.tls.identities {
        let labels = vec![
            ("identity", identity.name.clone()),
            ("sha256", identity.sha256.clone()),
        ];
        ends.get_or_create(&labels)
            .set(identity.path_not_after.as_second());
        begins
            .get_or_create(&labels)
            .set(identity.not_before.as_second());
    }
    registry.register(
        "tls_not_after_timestamp_seconds",
        "When the first certificate of the path served expires",
        ends,
    );
    registry.register(
        "tls_not_before_timestamp_seconds",
        "When the certificate served became valid",
        begins,
    );
}

/// Tells of what ends, but for leaves, which have series of their own. What ends last is left out where
/// there are very many.
fn expiries(status: &Status, registry: &mut Registry) {
    let ends: Family<Labels, Gauge> = Family::default();
    let all = status.tls.expiries.iter();
    let others = all.filter(|it| it.kind != ExpiryKind::Identity);
    for it in others.take(MOST_EXPIRIES) {
        let labels = vec![
            ("kind", it.kind.name().to_owned()),
            ("owner", it.owner.clone()),
            ("name", it.name.clone()),
            ("effect", it.effect.name().to_owned()),
        ];
        let gauge = ends.get_or_create(&labels);
        // Of two with one name, the first end counts.
        if gauge.get() == 0 {
            gauge.set(it.ends_at.as_second());
        }
    }
    registry.register(
        "expiry_timestamp_seconds",
        "When something in service ends",
        ends,
    );
}

fn listeners(status: &Status, registry: &mut Registry) {
    let open: Family<Labels, Gauge> = Family::default();
    let accepted: Family<Labels, Counter> = Family::default();
    let ended: Family<Labels, Counter> = Family::default();
    let failed: Family<Labels, Counter> = Family::default();
    let by_reason: Family<Labels, Counter> = Family::default();
    let bytes: Family<Labels, Counter> = Family::default();
    for listener in &status.listeners {
        let labels = vec![("listener", listener.name.clone())];
        let counts = &listener.connections;
        open.get_or_create(&labels).set(counts.open.cast_signed());
        accepted.get_or_create(&labels).inc_by(counts.total);
        for (reason, number) in [
            ("handshake", counts.failed_handshakes),
            ("full", counts.refused),
            ("client_full", counts.ended.of(EndReason::ClientFull)),
            ("backend", counts.failed_backends),
        ] {
            let mut labels = labels.clone();
            labels.push(("reason", reason.to_owned()));
            ended.get_or_create(&labels).inc_by(number);
        }
        for (direction, number) in [("up", counts.bytes_up), ("down", counts.bytes_down)] {
            let mut labels = labels.clone();
            labels.push(("direction", direction.to_owned()));
            bytes.get_or_create(&labels).inc_by(number);
        }
        for (reason, number) in counts.failed_by_reason.iter() {
            let mut labels = labels.clone();
            labels.push(("reason", reason.name().to_owned()));
            failed.get_or_create(&labels).inc_by(number);
        }
        for (reason, number) in counts.ended.iter() {
            let mut labels = labels.clone();
            labels.push(("reason", reason.name().to_owned()));
            by_reason.get_or_create(&labels).inc_by(number);
        }
    }
    registry.register(
        "relayed_bytes",
        "Bytes passed on between clients and backends: up is to the backend, down is to the client",
        bytes,
    );
    registry.register("sessions_open", "Sessions open now", open);
    registry.register("sessions", "Sessions accepted", accepted);
    registry.register(
        "sessions_failed",
        "Sessions that never came to relay",
        ended,
    );
    registry.register(
        "sessions_ended",
        "Sessions that ended, by reason",
        by_reason,
    );
    registry.register(
        "handshakes_failed",
        "Sessions that ended before their client was let in, by reason",
        failed,
    );
}

/// Tells what becomes of sessions whose worker ends.
fn sessions(sessions: &SessionsStatus, registry: &mut Registry) {
    gauge(
        registry,
        "sessions_kept",
        "Sessions that outlive their worker, open now",
        sessions.kept.cast_signed(),
    );
    count(
        registry,
        "sessions_taken_over",
        "Times that a worker went on with a session of one that ended",
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
        "Established sessions that could not be kept, by reason",
        &sessions.unkept_by_reason,
    );
}

fn by_reason<R: Reason<N>, const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    counts: &Tally<R, N>,
) {
    let family: Family<Labels, Counter> = Family::default();
    for (reason, number) in counts.iter() {
        let labels = vec![("reason", reason.name().to_owned())];
        family.get_or_create(&labels).inc_by(number);
    }
    registry.register(name, help, family);
}

fn backends(status: &Status, registry: &mut Registry) {
    let healthy: Family<Labels, Gauge> = Family::default();
    let attempts: Family<Labels, Counter> = Family::default();
    let not_after: Family<Labels, Gauge> = Family::default();
    for listener in &status.listeners {
        for backend in &listener.backends {
            let labels = vec![
                ("listener", listener.name.clone()),
                ("backend", backend.address.clone()),
            ];
            healthy
                .get_or_create(&labels)
                .set(i64::from(backend.healthy));
            if let Some(certificate) = &backend.certificate {
                let end = certificate.not_after.as_second();
                not_after.get_or_create(&labels).set(end);
            }
            for (outcome, number) in [("connected", backend.connected), ("failed", backend.failed)]
            {
                let mut labels = labels.clone();
                labels.push(("outcome", outcome.to_owned()));
                attempts.get_or_create(&labels).inc_by(number);
            }
        }
    }
    registry.register(
        "backend_healthy",
        "Whether the newest attempt to connect to the backend succeeded",
        healthy,
    );
    registry.register(
        "backend_tls_not_after_timestamp_seconds",
        "When the certificate expires that the backend has shown",
        not_after,
    );
    registry.register(
        "backend_connects",
        "Attempts to connect to the backend",
        attempts,
    );
}

fn whole(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
