//! What a child process can no longer do.

use serde::{Deserialize, Serialize};

/// What the kernel enforces on a child process, and what it cannot enforce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Whether the process can open only the files that it needs.
    pub files: Enforcement,
    /// Whether the process can neither signal other processes nor reach their abstract Unix sockets.
    ///
    /// The resolver can reach such sockets in any case.
    pub scopes: bool,
    /// Whether system calls that the process does not need are refused.
    pub system_calls: bool,
    /// One sentence for each thing that this host cannot enforce.
    pub missing: Vec<String>,
}

/// How much of a restriction the kernel enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enforcement {
    /// All of it.
    Full,
    /// What an older kernel can enforce.
    Partial,
    /// Nothing.
    None,
}
