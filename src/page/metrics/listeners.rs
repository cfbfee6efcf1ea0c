//! Metrics of listeners and the backends behind them.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Labels, and, histograms};
use crate::{
    control::{ListenerStatus, Status},
    facts::{
        EndReason, Reason as _,
        histogram::{LASTING, OPENING},
    },
};

/// Adds them.
pub(super) fn register(status: &Status, registry: &mut Registry) {
    listeners(status, registry);
    backends(status, registry);
    times(status, registry);
}

fn listeners(status: &Status, registry: &mut Registry) {
    let open: Family<Labels, Gauge> = Family::default();
    let accepted: Family<Labels, Counter> = Family::default();
    let failed: Family<Labels, Counter> = Family::default();
    let handshakes: Family<Labels, Counter> = Family::default();
    let ended: Family<Labels, Counter> = Family::default();
    let bytes: Family<Labels, Counter> = Family::default();
    for listener in &status.listeners {
        let labels = of(listener);
        let counts = &listener.connections;
        let add = |family: &Family<Labels, Counter>, label, value: &str, number| {
            let labels = and(&labels, label, value);
            family.get_or_create(&labels).inc_by(number);
        };
        open.get_or_create(&labels).set(counts.open.cast_signed());
        accepted.get_or_create(&labels).inc_by(counts.total);
        add(&failed, "reason", "handshake", counts.failed_handshakes);
        add(&failed, "reason", "full", counts.refused);
        let client_full = counts.ended.of(EndReason::ClientFull);
        add(&failed, "reason", "client_full", client_full);
        add(&failed, "reason", "backend", counts.failed_backends);
        for (reason, number) in counts.failed_by_reason.iter() {
            add(&handshakes, "reason", reason.name(), number);
        }
        for (reason, number) in counts.ended.iter() {
            add(&ended, "reason", reason.name(), number);
        }
        add(&bytes, "direction", "up", counts.bytes_up);
        add(&bytes, "direction", "down", counts.bytes_down);
    }
    registry.register("sessions_open", "Sessions that are open now", open);
    registry.register("sessions", "Clients that were accepted", accepted);
    registry.register(
        "sessions_failed",
        "Sessions that ended before client and backend were connected, by what failed",
        failed,
    );
    registry.register(
        "handshakes_failed",
        "Sessions that ended before their client was let in, by reason",
        handshakes,
    );
    registry.register(
        "sessions_ended",
        "Sessions that ended, by reason, and clients that were turned away",
        ended,
    );
    registry.register(
        "relayed_bytes",
        "Bytes passed on between clients and backends, without TLS; up is to the backend, down to the client",
        bytes,
    );
}

fn backends(status: &Status, registry: &mut Registry) {
    let healthy: Family<Labels, Gauge> = Family::default();
    let attempts: Family<Labels, Counter> = Family::default();
    let not_after: Family<Labels, Gauge> = Family::default();
    for listener in &status.listeners {
        for backend in &listener.backends {
            let labels = and(&of(listener), "backend", &*backend.address);
            let is_healthy = i64::from(backend.healthy);
            healthy.get_or_create(&labels).set(is_healthy);
            if let Some(certificate) = &backend.certificate {
                let end = certificate.not_after.as_second();
                not_after.get_or_create(&labels).set(end);
            }
            for (outcome, number) in [("connected", backend.connected), ("failed", backend.failed)]
            {
                let labels = and(&labels, "outcome", outcome);
                attempts.get_or_create(&labels).inc_by(number);
            }
        }
    }
    registry.register(
        "backend_healthy",
        "1 if the newest attempt to connect to the backend succeeded, or there was none yet, else 0",
        healthy,
    );
    registry.register(
        "backend_tls_not_after_timestamp_seconds",
        "When the certificate expires that the backend has shown, in seconds since 1970",
        not_after,
    );
    registry.register(
        "backend_connects",
        "Attempts to connect to the backend, by whether it was reached",
        attempts,
    );
}

fn times(status: &Status, registry: &mut Registry) {
    let all = status.listeners.iter();
    let handshakes = all
        .clone()
        .map(|it| (of(it), it.connections.handshake_times));
    histograms::register(
        registry,
        (
            "handshake_duration_seconds",
            "How long TLS handshakes with clients took that succeeded, from when the worker waited for the client to begin",
        ),
        &OPENING,
        handshakes.collect(),
    );
    let sessions = all.clone().map(|it| (of(it), it.connections.session_times));
    histograms::register(
        registry,
        (
            "session_duration_seconds",
            "How long sessions lasted that have ended and had connected client and backend, from when the client was accepted",
        ),
        &LASTING,
        sessions.collect(),
    );
    let backends = all.flat_map(|listener| {
        let all = listener.backends.iter();
        all.map(|it| {
            (
                and(&of(listener), "backend", &*it.address),
                it.connect_times,
            )
        })
    });
    histograms::register(
        registry,
        (
            "backend_connect_duration_seconds",
            "How long attempts to connect to the backend took that succeeded, from the lookup of its name to its answer",
        ),
        &OPENING,
        backends.collect(),
    );
}

fn of(listener: &ListenerStatus) -> Labels {
    vec![("listener", listener.name.clone())]
}
