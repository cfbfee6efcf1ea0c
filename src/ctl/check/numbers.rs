//! The numbers behind the bar, as monitoring systems draw them.
//!
//! Each is `'LABEL'=VALUE;WARN;CRITICAL` (Monitoring Plugins Development Guidelines, "Performance
//! data"). A threshold is a range that is fine: `30:` is alarmed of below 30.

use std::time::Duration;

use jiff::Timestamp;

use super::{Thresholds, judge::soonest, least, lifetime};
use crate::{control::Status, ctl::render::clean};

/// For how many identities numbers are printed: those that expire first, which a graph is for.
const TOLD: usize = 5;

const DAY: f64 = 86_400.0;

/// Returns the days left of the identities that expire first.
pub(super) fn numbers(status: &Status, thresholds: Thresholds, now: Timestamp) -> String {
    let numbers = soonest(status).take(TOLD).map(|identity| {
        let left = identity.path_not_after.duration_since(now).as_secs_f64();
        let lifetime = lifetime(identity.not_before, identity.not_after);
        let days = |threshold| days(least(threshold, lifetime));
        format!(
            "'{}'={}d;{}:;{}:",
            label(&identity.name),
            number(left / DAY),
            days(thresholds.warn),
            days(thresholds.critical)
        )
    });
    numbers.collect::<Vec<_>>().join(" ")
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
    use super::{super::DEFAULTS, *};
    use crate::ctl::status::tests::{at, status};

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
    fn a_name_does_not_end_early() {
        assert_eq!(label("it's=5|x"), "it''s_5_x");
    }

    #[test]
    fn what_has_expired_is_below_zero() {
        assert_eq!(number(-3.0), "-3");
        assert_eq!(number(0.04), "0");
    }
}
