//! The metrics page: what monitoring systems and browsers are told of the status.

pub mod metrics;
