//! Histograms, which the daemon has counted already.

use std::{fmt, time::Duration};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Registry,
};

use super::Labels;
use crate::facts::{Histogram, histogram::Ladder};

/// A metric of histograms with different labels.
#[derive(Debug)]
struct Histograms {
    ladder: &'static Ladder,
    all: Vec<(Labels, Histogram)>,
}

/// Adds such a metric, in seconds.
pub(super) fn register(
    registry: &mut Registry,
    (name, help): (&str, &str),
    ladder: &'static Ladder,
    all: Vec<(Labels, Histogram)>,
) {
    registry.register(name, help, Histograms { ladder, all });
}

impl EncodeMetric for Histograms {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, histogram) in &self.all {
            let bounds = self.ladder.iter().map(Duration::as_secs_f64);
            let bounds = bounds.chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(histogram.buckets).collect();
            let sum = Duration::from_micros(histogram.sum_us).as_secs_f64();
            let mut encoder = encoder.encode_family(labels)?;
            encoder.encode_histogram::<NoLabelSet>(sum, histogram.count(), &buckets, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
