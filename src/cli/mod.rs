//! What a person can type, and the numbers that come back.

pub mod complete;
pub mod proxyctl;
pub mod proxyd;

/// The exit status of both programs but for `proxyctl check` and `proxyctl probe`.
pub mod exit {
    /// It is done.
    pub const DONE: u8 = 0;
    /// It failed, or the daemon refused; the reason is on standard error.
    pub const FAILED: u8 = 1;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// No daemon answers at the socket.
    pub const NO_DAEMON: u8 = 3;
    /// The daemon speaks another version of the control protocol.
    pub const OTHER_VERSION: u8 = 4;
}

/// The exit status of `proxyctl check` and `proxyctl probe`, as monitoring plugins have it.
pub mod check {
    /// Nothing needs attention.
    pub const OK: u8 = 0;
    /// Something will need attention soon.
    pub const WARNING: u8 = 1;
    /// Something needs attention now.
    pub const CRITICAL: u8 = 2;
    /// The state cannot be known.
    pub const UNKNOWN: u8 = 3;
}
