//! The status as metrics, in the format that the client reads. `docs/metrics.md` lists all of them.

mod certificates;
mod daemon;
mod format;
mod histograms;
mod listeners;

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

pub(super) use self::format::{Format, chosen};
use crate::{
    control::Status,
    facts::{Reason, Tally},
};

/// The labels of a time series.
type Labels = Vec<(&'static str, String)>;

/// A gauge with a fraction.
type Fraction = Gauge<f64, AtomicU64>;

/// Returns all metrics.
pub(super) fn render(status: &Status, format: Format) -> String {
    let mut registry = Registry::with_prefix("proxyd");
    daemon::register(status, &mut registry);
    certificates::register(status, &mut registry);
    listeners::register(status, &mut registry);
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &registry);
    format.of_open_metrics(text)
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: i64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

fn count(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstCounter::new(value));
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

/// Adds one more label.
fn and(labels: &Labels, name: &'static str, value: impl Into<String>) -> Labels {
    let mut labels = labels.clone();
    labels.push((name, value.into()));
    labels
}

/// One of several states: that which holds is 1, and the others are 0.
fn states<S: PartialEq + Copy>(
    registry: &mut Registry,
    (name, help): (&str, &str),
    found: S,
    all: &[(S, &str)],
) {
    let family: Family<Labels, Gauge> = Family::default();
    for (state, word) in all {
        let labels = vec![("state", (*word).to_owned())];
        family
            .get_or_create(&labels)
            .set(i64::from(*state == found));
    }
    registry.register(name, help, family);
}

fn whole(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
