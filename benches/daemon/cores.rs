//! Which cores a measure runs on.

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// The cores of this thread, and of every thread and process that it starts from then on.
#[derive(Clone, Copy)]
pub(crate) enum Cores {
    /// As many as there are.
    All,
    /// One for clients, proxy and backend alike.
    ///
    /// CPU time is all that counts there, and how much of it a wake-up takes depends on which cores
    /// the scheduler has spread the three over.
    One,
}

impl Cores {
    /// Takes them.
    pub(crate) fn take(self) -> nix::Result<()> {
        let mine = Pid::from_raw(0);
        // The first process's are those that the machine has.
        let all = sched_getaffinity(Pid::from_raw(1)).or_else(|_| sched_getaffinity(mine))?;
        let wanted = match self {
            Self::All => all,
            Self::One => last(&all)?,
        };
        sched_setaffinity(mine, &wanted)
    }
}

/// Returns the last core alone: interrupts mostly go to the first.
fn last(all: &CpuSet) -> nix::Result<CpuSet> {
    let mut one = CpuSet::new();
    for core in (0..CpuSet::count()).rev() {
        if all.is_set(core)? {
            one.set(core)?;
            break;
        }
    }
    Ok(one)
}
