//! Limits of a process (`getrlimit(2)`), and who can read its memory.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::Profile;

/// Keeps this process's memory, with its private keys, out of core files and debuggers, and
/// forbids it to gain privileges by executing anything.
pub fn protect_memory() -> nix::Result<()> {
    forbid_core_files()?;
    nix::sys::prctl::set_dumpable(false)?;
    nix::sys::prctl::set_no_new_privs()
}

/// Keeps the memory of this process and its children out of core files.
pub fn forbid_core_files() -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
}

/// Raises the number of descriptors this process and its children may have to the most that the
/// system grants; returns it.
pub fn raise_descriptor_limit() -> nix::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// Lets the process make no process and no thread, and write to no file.
///
/// The kernel does not hold root to the number of processes (`RLIMIT_NPROC`); the filter of system calls
/// does.
pub(super) fn forbid(profile: Profile) -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_FSIZE, 0, 0)?;
    match profile {
        // The C library may look names up in threads.
        Profile::Resolver => Ok(()),
        Profile::Worker | Profile::Page => setrlimit(Resource::RLIMIT_NPROC, 0, 0),
    }
}
