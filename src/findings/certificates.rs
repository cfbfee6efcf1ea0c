//! Findings about what ends: certificates, authorities and revocation lists.

use std::time::Duration;

use jiff::Timestamp;

use super::{Finding, Level, Thresholds, at, critical, lifetime, warning};
use crate::{
    control::{IdentityStatus, Status, TlsStatus, WatchState},
    facts::{Expiry, ExpiryEffect, ExpiryKind, Moment, duration},
};

/// The lifetime that percentages of what is no leaf are of, at most: authorities last for decades, and
/// a third of that is no time to be warned for.
const LONGEST: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// What to do about a certificate where files are watched.
const RENEW_WATCHED: &str =
    "Have it renewed and put the new files in place; they are loaded as soon as they are complete.";

/// What to do about a certificate where files are not watched.
const RENEW: &str = "Have it renewed, put the new files in place, and run `proxyctl reload-tls`.";

/// What to do about anything else that ends.
const REPLACE: &str = "`proxyctl verify` lists what ends when, with its file. Put a newer one in place, then run `proxyctl reload-tls`.";

pub(super) fn findings(
    status: &Status,
    thresholds: Thresholds,
    now: Timestamp,
) -> impl Iterator<Item = Finding> {
    let others = status.tls.expiries.iter();
    let others = others.filter(|it| it.kind != ExpiryKind::Identity);
    let others = others.filter_map(move |it| expiry(it, thresholds, now));
    soonest(status)
        .filter_map(move |it| of_identity(it, &status.tls, thresholds, now))
        .chain(others)
}

/// Returns the identities in the order in which they expire.
pub fn soonest(status: &Status) -> impl Iterator<Item = &IdentityStatus> {
    let mut identities: Vec<_> = status.tls.identities.iter().collect();
    identities.sort_by_key(|identity| identity.path_not_after);
    identities.into_iter()
}

/// Returns a finding about the leaf of an identity; `None` if it has time enough.
fn of_identity(
    identity: &IdentityStatus,
    tls: &TlsStatus,
    thresholds: Thresholds,
    now: Timestamp,
) -> Option<Finding> {
    let name = &identity.name;
    let renew = match tls.watch.state {
        WatchState::Off => RENEW,
        WatchState::Events | WatchState::Interval => RENEW_WATCHED,
    };
    if Moment::from(now) < identity.not_before {
        return Some(critical(
            format!("{name} is not valid yet"),
            "Clients refuse it until then. Compare the clock of this host, or put a certificate in place that is valid.",
        ));
    }
    let Ok(left) = Duration::try_from(identity.not_after.duration_since(now)) else {
        return Some(critical(format!("{name} has expired"), renew));
    };
    let level = thresholds.level(left, lifetime(identity.not_before, identity.not_after));
    at(
        level,
        format!("{name} expires in {}", duration(left)),
        renew,
    )
}

/// Returns how urgent it is to renew what an identity sends: its leaf, or a certificate behind it.
pub fn urgency(
    identity: &IdentityStatus,
    tls: &TlsStatus,
    thresholds: Thresholds,
    now: Timestamp,
) -> Level {
    let leaf = of_identity(identity, tls, thresholds, now).map_or(Level::Ok, |it| it.level);
    let above = tls.above(identity).map(|it| {
        let left = Duration::try_from(it.not_after.duration_since(now));
        left.map_or(Level::Critical, |left| {
            thresholds.level(left, lifetime_above(it.not_before, it.not_after))
        })
    });
    above.fold(leaf, Level::max)
}

/// Returns the lifetime that percentages are of, for what is no leaf.
pub fn lifetime_above(from: Moment, until: Moment) -> Duration {
    lifetime(from, until).min(LONGEST)
}

/// Returns a finding about anything else that ends, such as an intermediate or a revocation list.
fn expiry(it: &Expiry, thresholds: Thresholds, now: Timestamp) -> Option<Finding> {
    let effect = it.effect.sentence();
    let harmless = it.effect == ExpiryEffect::AcceptedAnyway;
    let Ok(left) = Duration::try_from(it.ends_at.duration_since(now)) else {
        let message = format!("{it} ended at {}: {effect}", it.ends_at);
        return Some(if harmless {
            warning(message, REPLACE)
        } else {
            critical(message, REPLACE)
        });
    };
    let level = thresholds.level(left, lifetime_above(it.starts_at, it.ends_at));
    let most = if harmless {
        Level::Warning
    } else {
        Level::Critical
    };
    let message = format!("{it} ends in {}; then {effect}", duration(left));
    at(level.min(most), message, REPLACE)
}
