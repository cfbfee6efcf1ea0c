//! What the daemon tells about itself: log lines and metrics.

pub mod log;
pub mod metrics;
