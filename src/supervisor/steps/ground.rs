//! What steps are tried for, and on.

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeSet,
    io,
    net::SocketAddr,
    path::Path,
};

use super::{accounts, names::Names, program::Program};
use crate::{
    config::Config,
    supervisor::{activation::PassedSockets, refusal::Refusal},
    sys::{listening, locks, privileges::Account},
};

/// How the daemon was started, and what its trials remember.
#[derive(Debug)]
pub(in crate::supervisor) struct Origin {
    /// Whether it is in the background, so that it has no standard error to log to.
    pub(in crate::supervisor) detached: bool,
    pub(in crate::supervisor) program: Program,
    /// The listening sockets that systemd has passed.
    pub(in crate::supervisor) passed: PassedSockets,
    /// The `bind` of each listener whose socket the daemon has, and need not bind.
    pub(super) listening: Vec<String>,
    pub(super) names: Names,
}

impl Origin {
    /// Notes how this process was started, without sockets that systemd has passed.
    pub(in crate::supervisor) fn of_process(detached: bool) -> Self {
        Self {
            detached,
            program: Program::of_process(),
            passed: PassedSockets::default(),
            listening: Vec::new(),
            names: Names::default(),
        }
    }

    /// Notes how the daemon was started that this process goes on for, as the program at `path`.
    pub(in crate::supervisor) fn of_successor(path: &Path, detached: bool) -> Self {
        Self {
            program: Program(Some(path.to_owned())),
            ..Self::of_process(detached)
        }
    }

    /// Notes the `bind` of each listener whose socket the daemon has already, from systemd.
    pub(in crate::supervisor) fn listening_at(self, binds: &[String]) -> Self {
        Self {
            listening: binds.to_vec(),
            ..self
        }
    }

    /// Notes the listening sockets that systemd has passed.
    pub(in crate::supervisor) fn with(self, passed: PassedSockets) -> Self {
        Self { passed, ..self }
    }
}

/// Who wants to know.
#[derive(Debug, Clone, Copy)]
pub(in crate::supervisor) enum Who<'a> {
    /// A start, which takes the steps next.
    Start,
    /// `--check-config`; the daemon whose configuration it is may run.
    Check,
    /// The daemon that runs, with this configuration in force.
    Daemon(&'a Config),
}

/// Whose sockets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// There are none.
    Nobodys,
    /// They belong to the daemon that runs with this configuration, and are free when it has ended.
    Ours,
    /// They belong to systemd, at least as far as they are not ours: it listens there for a socket unit
    /// (systemd.socket(5)).
    Systemd,
    /// At least one belongs to another process.
    Others,
    /// The kernel does not say.
    Unknown,
}

/// What steps are tried for, and on.
#[derive(Debug)]
pub(in crate::supervisor) struct Ground<'a> {
    pub(super) config: &'a Config,
    pub(super) who: Who<'a>,
    pub(super) origin: &'a Origin,
    /// The addresses that earlier steps have bound by now, and for what.
    pub(super) bound: RefCell<Vec<(SocketAddr, String)>>,
    own: OnceCell<io::Result<BTreeSet<u64>>>,
    account: OnceCell<Result<Option<Account>, Refusal>>,
}

impl<'a> Ground<'a> {
    pub(in crate::supervisor) fn new(config: &'a Config, who: Who<'a>, origin: &'a Origin) -> Self {
        Self {
            config,
            who,
            origin,
            bound: RefCell::default(),
            own: OnceCell::new(),
            account: OnceCell::new(),
        }
    }

    /// Returns the user that workers run as, who is looked up once; `None` is the supervisor's.
    pub(super) fn account(&self) -> &Result<Option<Account>, Refusal> {
        let account = &self.account;
        account.get_or_init(|| accounts::account(self.config))
    }

    /// Returns whose `sockets` are.
    pub(super) fn whose(&self, sockets: &BTreeSet<u64>) -> Whose {
        if sockets.is_empty() {
            return Whose::Nobodys;
        }
        match self.own.get_or_init(|| self.own_sockets()) {
            Ok(own) if sockets.is_subset(own) => Whose::Ours,
            Ok(own) if is_systemds(&(sockets - own)) => Whose::Systemd,
            Ok(_) => Whose::Others,
            Err(_) => Whose::Unknown,
        }
    }

    /// Whether one of `sockets` belongs to the daemon that runs with this configuration.
    pub(super) fn owns_any(&self, sockets: &BTreeSet<u64>) -> bool {
        let own = self.own.get_or_init(|| self.own_sockets());
        own.as_ref().is_ok_and(|own| !own.is_disjoint(sockets))
    }

    fn own_sockets(&self) -> io::Result<BTreeSet<u64>> {
        match self.who {
            Who::Start => Ok(BTreeSet::new()),
            Who::Daemon(_) => listening::sockets_of(None),
            Who::Check => match locks::holder(&self.config.pid_file)? {
                Some(daemon) => {
                    let own = listening::sockets_of(Some(daemon))?;
                    let control = listening::at_path(&self.config.control_socket)?;
                    // One that answers elsewhere has another configuration.
                    let is_ours = !control.is_disjoint(&own);
                    Ok(if is_ours { own } else { BTreeSet::new() })
                }
                None => Ok(BTreeSet::new()),
            },
        }
    }

    /// Returns the configuration in force, if it is the daemon that wants to know.
    pub(super) fn in_force(&self) -> Option<&'a Config> {
        match self.who {
            Who::Daemon(config) => Some(config),
            Who::Start | Who::Check => None,
        }
    }

    /// Whether the log step finds this folder, because it is there or an earlier step has made it.
    pub(super) fn has_state_folder(&self, folder: &Path) -> bool {
        folder.is_dir() || self.config.state_dir.starts_with(folder)
    }

    /// Whether the listeners' step finds this folder, because it is there or an earlier step has made it.
    pub(super) fn has_folder(&self, folder: &Path) -> bool {
        self.has_state_folder(folder) || self.config.pid_file.starts_with(folder)
    }
}

/// Returns whether all `sockets` are of systemd as process 1, as far as this process may see that.
fn is_systemds(sockets: &BTreeSet<u64>) -> bool {
    // Where this folder is, systemd is process 1 (sd_booted(3)).
    let is_there = Path::new("/run/systemd/system").is_dir();
    is_there && listening::sockets_of(Some(1)).is_ok_and(|its| sockets.is_subset(&its))
}
