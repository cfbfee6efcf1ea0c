//! What bounds lookups, asks and memory.

use std::time::Duration;

/// How much the resolver does at once, and how long it remembers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Lookups at once.
    pub threads: usize,
    /// Lookups at once of names whose last lookup was slow; fewer than `threads`.
    pub slow_threads: usize,
    /// How long a lookup lasts that counts as slow.
    pub slow: Duration,
    /// Asks of one worker that wait.
    pub asks: usize,
    /// Asks of one worker that wait for the same name or path.
    pub asks_for_one: usize,
    /// The longest that an ask waits, whatever the worker says.
    pub longest_wait: Duration,
    /// How long an ask for something that is not configured waits, because the configuration may be on its
    /// way over another socket.
    pub parked: Duration,
    /// How long the addresses of a name are remembered.
    pub success: Duration,
    /// How long a failure is remembered.
    pub failure: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            threads: 64,
            slow_threads: 48,
            slow: Duration::from_secs(1),
            asks: 8192,
            asks_for_one: 1024,
            longest_wait: Duration::from_secs(3600),
            parked: Duration::from_secs(1),
            success: Duration::from_secs(1),
            failure: Duration::from_secs(2),
        }
    }
}
