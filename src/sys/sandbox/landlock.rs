//! Files, ports and other processes that a process can reach (landlock(7)).

use std::path::PathBuf;

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope,
};

use super::{Profile, name_service};
use crate::facts::Enforcement;

/// The newest version of Landlock whose rights are known here.
const KNOWN: ABI = ABI::V7;

/// What versions of Landlock brought, and what a process can do without it.
const BROUGHT: [(ABI, &str); 4] = [
    (
        ABI::V3,
        "this kernel's Landlock cannot forbid a process to truncate files (Linux 6.2 can)",
    ),
    (
        ABI::V4,
        "this kernel's Landlock cannot forbid a process to bind TCP ports (Linux 6.7 can)",
    ),
    (
        ABI::V5,
        "this kernel's Landlock cannot forbid a process to control devices (Linux 6.10 can)",
    ),
    (
        ABI::V6,
        "this kernel's Landlock cannot forbid a process to signal others and to reach abstract Unix \
         sockets (Linux 6.12 can)",
    ),
];

/// Confines this thread, and threads that it makes later; returns how far its files are confined, and
/// whether the scopes are. Adds to `missing` what the kernel lacks.
pub(super) fn confine(profile: Profile, missing: &mut Vec<String>) -> (Enforcement, bool) {
    match restrict(profile) {
        Ok(status) => {
            let version = version(&status);
            missing.extend(lacks(version).map(str::to_owned));
            (enforcement(version, &status), version >= Some(ABI::V6))
        }
        Err(error) => {
            missing.push(format!("Landlock cannot deny files to a process: {error}"));
            (Enforcement::None, false)
        }
    }
}

fn restrict(profile: Profile) -> Result<RestrictionStatus, RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::Signal)?;
    if profile != Profile::Resolver {
        rules = rules.scope(Scope::AbstractUnixSocket)?;
    }
    let mut rules = rules.create()?;
    if profile == Profile::Resolver {
        rules = allow(rules, name_service::folders(), AccessFs::from_read(KNOWN))?;
        rules = allow(rules, name_service::files(), AccessFs::ReadFile.into())?;
    }
    rules.restrict_self()
}

/// Adds rights to folders with all that is in them, and to files, as far as these can be opened.
fn allow(
    mut rules: RulesetCreated,
    paths: impl Iterator<Item = PathBuf>,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    for path in paths.filter_map(|path| PathFd::new(path).ok()) {
        rules = rules.add_rule(PathBeneath::new(path, rights))?;
    }
    Ok(rules)
}

/// Returns the version of Landlock that is in force; `None` where there is none.
fn version(status: &RestrictionStatus) -> Option<ABI> {
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => Some(effective_abi),
        _ => None,
    }
}

fn enforcement(version: Option<ABI>, status: &RestrictionStatus) -> Enforcement {
    match status.ruleset {
        RulesetStatus::NotEnforced => Enforcement::None,
        _ if version >= Some(ABI::V5) => Enforcement::Full,
        _ => Enforcement::Partial,
    }
}

fn lacks(version: Option<ABI>) -> impl Iterator<Item = &'static str> {
    let none = version.is_none().then_some(
        "this kernel has no Landlock, or it is switched off: a process can open what its user can",
    );
    let brought = BROUGHT.iter().filter(move |_| version.is_some());
    let older = brought.filter(move |(since, _)| version < Some(*since));
    none.into_iter().chain(older.map(|(_, what)| *what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_lacks_is_said_by_its_version() {
        assert_eq!(lacks(Some(KNOWN)).count(), 0);
        assert_eq!(lacks(Some(ABI::V5)).count(), 1);
        assert_eq!(lacks(Some(ABI::V1)).count(), BROUGHT.len());
        assert!(lacks(None).eq(lacks(None).take(1)));
        assert!(lacks(None).all(|text| text.contains("no Landlock")));
    }
}
