//! What the daemon reports about itself: log lines and metrics.

pub mod log;
pub mod metrics;
