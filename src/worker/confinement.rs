//! What a worker can no longer do, and what it says of that.

use tracing::warn;

use crate::{
    facts::Confinement,
    sys::sandbox::{self, Denied, Profile},
};

/// Takes from this worker what it does not need; returns what this host cannot take.
///
/// To be called when the worker is ready and before it has met a client. It can open no file afterwards,
/// so what reads one on its first use must have been used.
pub fn confine() -> Confinement {
    sandbox::confine(Profile::Worker)
}

/// Tells of system calls that this worker was refused: warns of the first one, and counts all.
#[derive(Debug, Default)]
pub struct Refusals {
    told: bool,
    calls: u64,
}

impl Refusals {
    /// Returns how many calls were refused since the start, if there are new ones.
    pub fn count(&mut self) -> Option<u64> {
        let calls = sandbox::denied().calls;
        let before = std::mem::replace(&mut self.calls, calls);
        (calls != before).then_some(calls)
    }

    /// Has [`Self::count`] return all calls again, for a supervisor that was told of none.
    pub fn forget_told(&mut self) {
        self.calls = 0;
    }

    /// Warns if a call was refused for the first time.
    pub fn tell(&mut self) {
        if let Some(call) = self.news(sandbox::denied()) {
            warn!(
                call,
                "a system call of this worker was refused and failed; either a library that it uses has \
                 begun to make this call, or an intruder runs code in this worker. Further refused calls \
                 are not logged"
            );
        }
    }

    /// Returns the call to warn of, if there is one and there was no warning yet.
    fn news(&mut self, denied: Denied) -> Option<String> {
        let number = denied.last.filter(|_| !self.told)?;
        self.told = true;
        let name = denied.name().map(str::to_owned);
        Some(name.unwrap_or_else(|| number.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_refused_call_alone_is_told_by_its_name_or_its_number() {
        let mut refusals = Refusals::default();
        let denied = |calls, last| Denied { calls, last };
        assert_eq!(refusals.news(denied(0, None)), None);
        assert_eq!(refusals.news(denied(1, Some(10_000))).unwrap(), "10000");
        assert_eq!(refusals.news(denied(2, Some(10_001))), None);
        let openat = u32::try_from(nix::libc::SYS_openat).unwrap();
        let named = Refusals::default().news(denied(1, Some(openat)));
        assert_eq!(named.unwrap(), "openat");
    }
}
