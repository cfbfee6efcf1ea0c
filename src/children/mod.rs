//! The daemon's child processes, as the supervisor sees them: how they are started, what they say and
//! write, and how they end.
//!
//! A child is a fresh execution of this program with a link as standard input and nothing else: no
//! environment, no other descriptor. What it says is taken at a bounded pace into a bounded inbox, so that
//! a child that was taken over can delay its own messages and no others.

mod adopted;
mod along;
mod launcher;
mod log_copy;
mod pace;
mod process;
pub mod restart;

use std::{fmt, io};

use tokio::sync::mpsc;

pub use self::{
    adopted::Adopted,
    along::Along,
    launcher::{Launched, Launcher},
    process::{Process, Voice},
};
use crate::{link::child, sys::child::ExitStatus};

/// Messages of all children of a kind that may wait for the supervisor; a child whose message finds no
/// room waits.
const INBOX: usize = 256;

/// The id of a child that was requested, whether or not its process could be started.
///
/// Ids are never used twice among children of a kind, so that a late event of a dead child is recognized
/// as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

/// How a child's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It exited with this status.
    Code(i32),
    /// It could not be started.
    NotStarted,
    /// It was ended by this signal.
    Signal(i32),
    /// The system did not report how it ended.
    Unknown,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with status {code}"),
            Self::NotStarted => f.write_str("could not be started"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::Unknown => f.write_str("ended in a way that the system did not report"),
        }
    }
}

impl From<io::Result<ExitStatus>> for End {
    fn from(status: io::Result<ExitStatus>) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let Ok(status) = status else {
            return Self::Unknown;
        };
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }
}

/// What happens to the children of a kind, whose messages have the type `In`.
#[derive(Debug)]
pub enum Message<In> {
    /// A child was started, or could not be.
    Launched(Id, io::Result<Launched>),
    /// A child has sent a message, with descriptors that belong to it.
    Said(Id, In, Along),
    /// A child has ended. Nothing that it has said comes later.
    Exited(Id, End),
}

/// Where the messages of all children of a kind arrive.
pub type Inbox<In> = mpsc::Sender<Message<In>>;

/// Makes an inbox.
pub fn inbox<In>() -> (Inbox<In>, mpsc::Receiver<Message<In>>) {
    mpsc::channel(INBOX)
}

/// What a child is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It serves clients in a slot; two workers may be in one slot, one of which takes over from the other.
    Worker {
        /// The slot.
        slot: usize,
        /// What the ids of its sessions begin with, which is no other worker's.
        origin: u64,
    },
    /// It looks up the names of backends and connects to their Unix sockets, for all workers.
    Resolver,
    /// It serves the metrics page.
    Page,
}

impl Role {
    /// Returns its name, which is the first argument of its process.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker { .. } => child::WORKER,
            Self::Resolver => child::RESOLVER,
            Self::Page => child::PAGE,
        }
    }

    /// Returns the arguments behind the name.
    fn arguments(self) -> Vec<String> {
        match self {
            Self::Worker { slot, origin } => vec![slot.to_string(), origin.to_string()],
            Self::Resolver | Self::Page => vec![],
        }
    }
}
