//! Metrics of what is served, how that stands to the disk, and when it ends.

use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Labels, gauge, states, whole};
use crate::{
    control::{DiskState, IdentityStatus, Status, WatchState},
    facts::ExpiryKind,
};

/// Series of what ends, at most.
const MOST_EXPIRIES: usize = 1000;

/// Adds them.
pub(super) fn register(status: &Status, registry: &mut Registry) {
    tls(status, registry);
    identities(status, registry);
    expiries(status, registry);
}

fn tls(status: &Status, registry: &mut Registry) {
    let tls = &status.tls;
    gauge(
        registry,
        "tls_generation",
        "Number of the generation (configuration and TLS files) in service",
        tls.generation.cast_signed(),
    );
    gauge(
        registry,
        "tls_loaded_timestamp_seconds",
        "When the generation in service was loaded, in seconds since 1970",
        tls.loaded_at.as_second(),
    );
    gauge(
        registry,
        "tls_last_load_failed",
        "1 if the last load found something broken, else 0",
        i64::from(tls.last_error.is_some()),
    );
    gauge(
        registry,
        "tls_restart_safe",
        "1 if a cold start with the files on disk now would serve everything, else 0",
        i64::from(tls.restart_safe),
    );
    gauge(
        registry,
        "tls_rollback",
        "1 while a rollback is in force, so that the files on disk are not loaded, else 0",
        i64::from(tls.rollback.is_some()),
    );
    states(
        registry,
        (
            "tls_disk_state",
            "How the files on disk compare with what is served: 1 for the state that holds, 0 for the others",
        ),
        tls.disk.state,
        &[
            (DiskState::Same, "same"),
            (DiskState::Changed, "changed"),
            (DiskState::Invalid, "invalid"),
        ],
    );
    gauge(
        registry,
        "tls_disk_since_timestamp_seconds",
        "When the files on disk were first seen in their present state, in seconds since 1970",
        tls.disk.since.as_second(),
    );
    gauge(
        registry,
        "tls_disk_settling",
        "1 while the files on disk may differ because they are being written, else 0",
        i64::from(tls.disk.settling),
    );
    gauge(
        registry,
        "tls_watch_events",
        "1 if the kernel reports all changes of the files, 0 if the daemon has to compare them from time to time",
        i64::from(tls.watch.state == WatchState::Events),
    );
    let kept = |identity: &&IdentityStatus| identity.kept_since.is_some();
    gauge(
        registry,
        "tls_identities_kept",
        "Identities whose files are broken, so that their last good state is served",
        whole(tls.identities.iter().filter(kept).count()),
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
        "When the first certificate of the chain that the identity presents expires, in seconds since 1970",
        ends,
    );
    registry.register(
        "tls_not_before_timestamp_seconds",
        "When the certificate that the identity presents became valid, in seconds since 1970",
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
        "When an intermediate certificate, authority, revocation list or certificate for a database expires, in seconds since 1970",
        ends,
    );
}
