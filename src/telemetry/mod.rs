//! What the daemon reports about itself: log lines.

pub mod log;
