//! Which system calls a process can make (seccomp(2)).
//!
//! A call that is refused fails with an error; it does not end the process, because a new version of the
//! C library that tries a call which is not on the list must not be an outage.

mod names;
mod resolver;
mod rules;
mod serving;
mod trap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use self::rules::Rules;
pub use self::trap::{Denied, denied};
use super::Profile;

/// What the kernel is told about system calls: those that match `rules` get one action, others another.
struct Filter {
    rules: Rules,
    matching: SeccompAction,
    other: SeccompAction,
}

/// Refuses, for good and for all threads, the system calls that `profile` does not need.
pub(super) fn filter(profile: Profile) -> Result<(), String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)
        .ok()
        .filter(|_| trap::KNOWS_REGISTERS)
        .ok_or("this processor is neither x86-64 nor aarch64")?;
    let filters = match profile {
        Profile::Worker => serving::filters(serving::worker()),
        Profile::Page => serving::filters(serving::page()),
        Profile::Resolver => resolver::filters(),
    };
    let programs = filters.into_iter().map(|filter| filter.compile(arch));
    let programs: Vec<BpfProgram> = programs.collect::<Result<_, _>>()?;
    trap::catch().map_err(|error| error.to_string())?;
    for program in &programs {
        seccompiler::apply_filter_all_threads(program).map_err(|error| error.to_string())?;
    }
    Ok(())
}

impl Filter {
    fn compile(self, arch: TargetArch) -> Result<BpfProgram, String> {
        let rules = self.rules.into_map().map_err(|error| error.to_string())?;
        SeccompFilter::new(rules, self.other, self.matching, arch)
            .and_then(BpfProgram::try_from)
            .map_err(|error| error.to_string())
    }
}
