//! What is measured, as a client and the kernel see it: `proxyd` with one worker, or the baseline.

use std::{net::SocketAddr, time::Duration};

use tempfile::TempDir;

use crate::{
    Failure, backend,
    baseline::Baseline,
    client::Clients,
    daemon::Daemon,
    pki::{Authority, Leaf},
    process,
};

/// A proxy's address and the process that serves there.
#[derive(Clone, Copy)]
pub(crate) struct Front {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Who serves.
    pub(crate) pid: u32,
}

/// The two that are compared, and what belongs to both.
pub(crate) struct Pair {
    /// The worker of a `proxyd` that has one.
    pub(crate) ours: Front,
    /// The baseline.
    pub(crate) baseline: Front,
    /// Clients that both serve.
    pub(crate) clients: Clients,
    /// The backend of `proxyd`, for who wants to reach it without one.
    pub(crate) backend: SocketAddr,
    _kept: (Daemon, Baseline, TempDir),
}

impl Pair {
    /// Starts both, each with a backend of its own, so that neither uses up the other's ports.
    pub(crate) fn start() -> Result<Self, Failure> {
        Self::start_with(Daemon::start)
    }

    /// Does the same with a `proxyd` that speaks TLS with its backend, too; the baseline does not.
    pub(crate) fn start_with_tls_on_both_legs() -> Result<Self, Failure> {
        Self::start_with(Daemon::start_with_tls_backend)
    }

    fn start_with(
        start: impl FnOnce(usize, &Leaf, SocketAddr) -> Result<Daemon, Failure>,
    ) -> Result<Self, Failure> {
        let authority = Authority::new()?;
        let leaf = authority.issue()?;
        let backend = backend::start()?;
        let daemon = start(1, &leaf, backend)?;
        let folder = tempfile::tempdir()?;
        let baseline = Baseline::start(folder.path(), &leaf, backend::start()?)?;
        Ok(Self {
            ours: Front {
                address: daemon.address,
                pid: daemon.worker()?,
            },
            baseline: Front {
                address: baseline.address,
                pid: baseline.pid(),
            },
            clients: Clients::new(authority.der())?,
            backend,
            _kept: (daemon, baseline, folder),
        })
    }
}

impl Front {
    /// Returns the CPU time that it uses while `act` runs.
    pub(crate) fn cpu_of(
        self,
        act: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Duration, Failure> {
        let before = process::cpu(self.pid)?;
        act()?;
        Ok(process::cpu(self.pid)?.saturating_sub(before))
    }
}
