//! What a supervisor leaves to the one that comes after it: after an upgrade, a restart or its death.
//!
//! The *book* holds what the supervisor knows beside what is served and the sessions. The generation in force lies in
//! memory of its own, which is written when another one comes into force.

mod book;
mod codec;
mod generation;

#[allow(unused_imports, reason = "owners begin to use their parts one by one")]
pub(in crate::supervisor) use self::book::{
    Book, EventsBook, HookBook, IdsBook, LoadsBook, RestartsBook, TicketsBook, UpgradeBook,
    UpgradesBook, WorkerBook, WorkersBook,
};
pub(in crate::supervisor) use self::generation::{Earlier, write as write_generation};
