//! Why the disk is read, and how much of what changed may be taken.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why TLS material was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// The daemon started.
    Start,
    /// `proxyctl reload-tls`.
    ReloadTls,
    /// `proxyctl reload`.
    Reload,
    /// The signal HUP.
    Sighup,
    /// The files changed.
    Watch,
    /// A worker had to be started again.
    Crash,
    /// `proxyctl tls-rollback`, which reads no file.
    #[serde(rename = "tls-rollback")]
    Rollback,
}

impl Trigger {
    /// Returns whether an operator asked for the load, and not the daemon itself.
    #[must_use]
    pub fn is_asked(self) -> bool {
        !matches!(self, Self::Start | Self::Watch | Self::Crash)
    }

    /// Returns whether an operator asked for what is on disk, which ends a rollback.
    #[must_use]
    pub fn goes_forward(self) -> bool {
        matches!(self, Self::ReloadTls | Self::Reload | Self::Sighup)
    }

    /// Returns whether the configuration is read too.
    #[must_use]
    pub fn reads_config(self) -> bool {
        matches!(self, Self::Reload | Self::Sighup)
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::ReloadTls => "reload-tls",
            Self::Reload => "reload",
            Self::Sighup => "sighup",
            Self::Watch => "watch",
            Self::Crash => "crash",
            Self::Rollback => "tls-rollback",
        })
    }
}

/// Which files a reload reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reads {
    /// Those that could have changed since they were read last, by what their file systems promise.
    Changed,
    /// Every one.
    All,
}

/// Whether a load may bring a part of what changed into service while the rest is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Partial {
    /// What is good moves on, what is broken stays at its last good state.
    Allow,
    /// All or nothing: if anything is broken, everything stays as it is.
    Refuse,
}
