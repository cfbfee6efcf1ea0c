//! What a supervisor leaves to the one that comes after it: after an upgrade, a restart or its death.
//!
//! The *book* holds what the supervisor knows beside what is served and the sessions. The generation in force lies in
//! memory of its own, which is written when another one comes into force.

mod book;
mod codec;
mod generation;
mod keeper;
mod versions;

#[cfg(test)]
pub(in crate::supervisor) use self::generation::write as write_generation;
pub(in crate::supervisor) use self::{
    book::{
        Book, EventsBook, HookBook, IdsBook, LoadsBook, TicketsBook, UpgradesBook, WorkerBook,
        WorkersBook,
    },
    generation::Earlier,
    keeper::{Message, Stamp, State},
};
