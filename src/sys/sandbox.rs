//! What this process and its children may do: the files they open, the memory they show, the
//! descriptors they have.

use landlock::{
    ABI, Access, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Where the C library reads to turn a backend's name into addresses (nsswitch.conf(5)).
///
/// Folders and not the files in them: a rule holds for a file, not for its name, and would not
/// cover the `resolv.conf` or `hosts` that takes the place of the one that was there at the start.
const NAME_SERVICE: [&str; 8] = [
    "/etc",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
];

/// How much of the file system a worker can still reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// Only what name resolution reads.
    Full,
    /// What an older kernel could forbid.
    Partial,
    /// Whatever its user may: this kernel has no Landlock.
    None,
}

/// Lets this process open no file but what name resolution reads, as far as the kernel can
/// (landlock(7)).
pub fn confine_files() -> Result<Confinement, RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))?
        .create()?;
    for path in NAME_SERVICE {
        let Ok(fd) = PathFd::new(path) else { continue };
        let access = AccessFs::from_read(ABI::V5);
        let access = if std::path::Path::new(path).is_dir() {
            access
        } else {
            access & AccessFs::from_file(ABI::V5)
        };
        rules = rules.add_rule(PathBeneath::new(fd, access))?;
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Confinement::Full,
        RulesetStatus::PartiallyEnforced => Confinement::Partial,
        RulesetStatus::NotEnforced => Confinement::None,
    })
}

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
