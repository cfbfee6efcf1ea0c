//! The numbers behind the bar, as monitoring systems draw them.
//!
//! Each is `'LABEL'=VALUE;WARN;CRITICAL` (Monitoring Plugins Development Guidelines, "Performance
//! data"). A threshold is a range that is fine: `30:` is alarmed of below 30.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    cli::proxyctl::Threshold,
    control::{IdentityStatus, Status, TlsStatus},
    facts::clean,
    findings::{Thresholds, least, lifetime, lifetime_above, soonest},
};

/// For how many identities numbers are printed: those that expire first, which a graph is for.
const TOLD: usize = 5;

const DAY: f64 = 86_400.0;

/// Returns the days left of the identities that expire first.
pub(super) fn numbers(status: &Status, thresholds: Thresholds, now: Timestamp) -> String {
    let numbers = soonest(status).take(TOLD).map(|identity| {
        let left = identity.path_not_after.duration_since(now).as_secs_f64();
        let bound = |threshold| bound(identity, &status.tls, threshold);
        days_left(
            &identity.name,
            left,
            bound(thresholds.warn),
            bound(thresholds.critical),
        )
    });
    numbers.collect::<Vec<_>>().join(" ")
}

/// Returns the days of so many seconds that are left, with the thresholds.
pub(in crate::ctl) fn days_left(
    name: &str,
    seconds: f64,
    warn: Duration,
    critical: Duration,
) -> String {
    format!(
        "'{}'={}d;{}:;{}:",
        label(name),
        number(seconds / DAY),
        days(warn),
        days(critical)
    )
}

/// Returns how much time is left until the end of what an identity sends when the first finding about
/// it comes: about its leaf, or about an intermediate that ends before that.
fn bound(identity: &IdentityStatus, tls: &TlsStatus, threshold: Threshold) -> Duration {
    let end = identity.path_not_after;
    // The leaf may end later, so that less is left by then of the path that its finding is about.
    let later = lifetime(end, identity.not_after);
    let leaf = least(threshold, lifetime(identity.not_before, identity.not_after));
    let first = tls.above(identity).filter(|it| it.not_after == end);
    first
        .map(|it| least(threshold, lifetime_above(it.not_before, it.not_after)))
        .fold(leaf.saturating_sub(later), Duration::max)
}

fn days(time: Duration) -> String {
    number(time.as_secs_f64() / DAY)
}

/// Writes a number with at most one digit behind the point.
fn number(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// Returns a name without what would end it.
fn label(name: &str) -> String {
    clean(name)
        .replace('\'', "''")
        .replace(['=', '|', '\n', '\t'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ctl::status::tests::{at, status},
        facts::{Expiry, ExpiryEffect, ExpiryKind},
        findings::{DEFAULTS, Level},
    };

    #[test]
    fn the_soonest_come_first_with_their_thresholds() {
        let status = status(|status| {
            let one = status.tls.identities[0].clone();
            status.tls.identities = (0..9)
                .map(|number| {
                    let mut identity = one.clone();
                    identity.name = format!("of-{number}");
                    let hours = jiff::SignedDuration::from_hours(24 * (9 - number));
                    identity.not_after = (at("2026-01-02T00:00:00Z") + hours).into();
                    identity.path_not_after = identity.not_after;
                    identity
                })
                .collect();
        });
        let text = numbers(&status, DEFAULTS, at("2026-01-02T12:00:00Z"));
        assert!(
            text.starts_with("'of-8'=0.5d;0.7:;0.2: 'of-7'=1.5d;"),
            "{text}"
        );
        assert_eq!(text.split(' ').count(), TOLD);
    }

    #[test]
    fn an_intermediate_that_ends_first_sets_the_thresholds() {
        let numbers = |ends: &str, now: &str| {
            let status = status(|status| {
                // The leaf is good from 2026-01-01 until 2026-04-01.
                let identity = &mut status.tls.identities[0];
                identity.path_not_after = ends.parse().unwrap();
                let between = &mut status.tls.intermediates[0];
                between.not_before = "2025-12-01T00:00:00Z".parse().unwrap();
                between.not_after = identity.path_not_after;
                status.tls.expiries = vec![Expiry {
                    kind: ExpiryKind::Intermediate,
                    owner: "identity \"default\" and 1 more".into(),
                    name: "CN=between".into(),
                    file: None,
                    starts_at: "2025-12-01T00:00:00Z".parse().unwrap(),
                    ends_at: identity.path_not_after,
                    days_left: 0,
                    effect: ExpiryEffect::ClientsRefuse,
                }];
            });
            let text = numbers(&status, DEFAULTS, at(now));
            let verdict = super::super::verdict(&status, DEFAULTS, at(now));
            (text, verdict.state)
        };
        let day = |ends, day| numbers(ends, &format!("{day}T00:00:00Z"));
        let ends = "2026-01-31T00:00:00Z";
        let (text, state) = day(ends, "2026-01-10");
        assert_eq!((&*text, state), ("'default'=21d;20.1:;6.1:", Level::Ok));
        let (text, state) = day(ends, "2026-01-11");
        assert_eq!(
            (&*text, state),
            ("'default'=20d;20.1:;6.1:", Level::Warning)
        );
        let (text, state) = day(ends, "2026-01-26");
        assert_eq!(
            (&*text, state),
            ("'default'=5d;20.1:;6.1:", Level::Critical)
        );
    }

    #[test]
    fn a_leaf_that_ends_later_may_be_the_first_that_is_warned_of() {
        let status = status(|status| {
            let identity = &mut status.tls.identities[0];
            identity.not_before = "2023-04-01T00:00:00Z".parse().unwrap();
            identity.path_not_after = "2026-03-22T00:00:00Z".parse().unwrap();
        });
        // A third of three years, and ten days less of the path that ends before it.
        let text = numbers(&status, DEFAULTS, at("2026-01-01T00:00:00Z"));
        assert_eq!(text, "'default'=80d;351.7:;99.6:");
    }

    #[test]
    fn a_name_does_not_end_early() {
        assert_eq!(label("it's=5|x"), "it''s_5_x");
    }

    #[test]
    fn what_has_expired_is_below_zero() {
        assert_eq!(number(-3.0), "-3");
        assert_eq!(number(0.04), "0");
    }
}
