//! What a child process can no longer do: which files it opens, which system calls it makes, which other
//! processes it reaches and which read its memory.
//!
//! A child confines itself once it is ready to work and before anything of a peer reaches it. What the
//! kernel lacks is left out and reported: a child on an old kernel works, and is confined less.

mod landlock;
mod limits;
mod name_service;
mod syscalls;

pub use self::{
    limits::{forbid_core_files, protect_memory, raise_descriptor_limit},
    name_service::NameFiles,
    syscalls::{Denied, denied},
};
use crate::facts::Confinement;

/// What a child process is for, and so what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// It serves clients: no file, no other process, stream sockets to backends alone.
    Worker,
    /// It turns names into addresses: the files that this takes, and nothing that runs a program.
    Resolver,
    /// It answers HTTP on sockets that it was given: no file, no other process, no socket of its own.
    Page,
}

/// Takes from this process, for good, what `profile` does not need, as far as the kernel can.
///
/// The process must have one thread. A refused system call fails and is counted ([`denied`]); it ends
/// nothing.
pub fn confine(profile: Profile) -> Confinement {
    let mut missing = Vec::new();
    if let Err(error) = limits::forbid(profile) {
        missing.push(format!("the limits of the process cannot be set: {error}"));
    }
    let (files, scopes) = landlock::confine(profile, &mut missing);
    let system_calls = match syscalls::filter(profile) {
        Ok(()) => true,
        Err(reason) => {
            missing.push(format!("system calls cannot be filtered: {reason}"));
            false
        }
    };
    Confinement {
        files,
        scopes,
        system_calls,
        missing,
    }
}

#[cfg(test)]
mod attack;
#[cfg(test)]
mod tests;
