//! What the process finds around it: who it is and what its environment says.
//!
//! Gathered once, so that everything decided from it can be tested without changing it.

use std::{
    env,
    path::{Path, PathBuf},
    thread,
};

use serde::{Deserialize, Serialize};

use super::WORKERS_MAX;

/// Who the process is and what its environment says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The effective user id.
    pub uid: u32,
    /// How many CPUs the process may use, at least one.
    pub cpus: usize,
    /// What relative paths on the command line are relative to.
    pub current_dir: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub xdg_state_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `PROXYD_CONFIG`.
    pub config: Option<PathBuf>,
    /// `PROXYD_SOCKET`.
    pub control_socket: Option<PathBuf>,
}

impl Environment {
    /// Returns what this process finds around it.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            uid: nix::unistd::geteuid().as_raw(),
            cpus: thread::available_parallelism().map_or(1, usize::from),
            current_dir: env::current_dir().ok(),
            home: variable("HOME"),
            xdg_state_home: variable("XDG_STATE_HOME"),
            xdg_runtime_dir: variable("XDG_RUNTIME_DIR"),
            config: variable("PROXYD_CONFIG"),
            control_socket: variable("PROXYD_SOCKET"),
        }
    }

    /// Returns how many workers run when nobody says.
    #[must_use]
    pub fn default_workers(&self) -> usize {
        self.cpus.clamp(1, WORKERS_MAX)
    }

    /// Returns the state directory when nobody says; `None` when the environment names no place.
    #[must_use]
    pub fn default_state_dir(&self) -> Option<PathBuf> {
        if self.uid == 0 {
            return Some(PathBuf::from("/var/lib/proxyd"));
        }
        let in_home = || Some(absolute(self.home.as_deref())?.join(".local/state"));
        let state_home = absolute(self.xdg_state_home.as_deref()).map(Path::to_owned);
        Some(state_home.or_else(in_home)?.join("proxyd"))
    }

    /// Returns the control socket when nobody says, beside `state_dir` if there is no better place.
    #[must_use]
    pub fn default_control_socket(&self, state_dir: &Path) -> PathBuf {
        if self.uid == 0 {
            return PathBuf::from("/run/proxyd/proxyd.sock");
        }
        absolute(self.xdg_runtime_dir.as_deref())
            .unwrap_or(state_dir)
            .join("proxyd.sock")
    }

    /// Returns the pid file when nobody says.
    #[must_use]
    pub fn default_pid_file(&self, state_dir: &Path) -> PathBuf {
        match self.uid {
            0 => PathBuf::from("/run/proxyd/proxyd.pid"),
            _ => state_dir.join("proxyd.pid"),
        }
    }
}

/// Returns the variable's value; an empty one counts as unset, as in a shell's `${NAME:-}`.
fn variable(name: &str) -> Option<PathBuf> {
    let value = env::var_os(name).filter(|value| !value.is_empty());
    value.map(PathBuf::from)
}

/// Lets absolute paths through; the XDG rules have relative ones ignored.
fn absolute(path: Option<&Path>) -> Option<&Path> {
    path.filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixture;

    #[test]
    fn root_has_the_system_places() {
        let root = Environment {
            uid: 0,
            xdg_runtime_dir: Some("/run/user/0".into()),
            ..fixture::environment()
        };
        let state_dir = root.default_state_dir().unwrap();
        assert_eq!(state_dir, Path::new("/var/lib/proxyd"));
        assert_eq!(
            root.default_control_socket(&state_dir),
            Path::new("/run/proxyd/proxyd.sock")
        );
        assert_eq!(
            root.default_pid_file(&state_dir),
            Path::new("/run/proxyd/proxyd.pid")
        );
    }

    #[test]
    fn others_have_their_own_places() {
        for (home, state, runtime, dir, socket) in [
            ("/h", "/s", "/r", "/s/proxyd", "/r/proxyd.sock"),
            (
                "/h",
                "",
                "",
                "/h/.local/state/proxyd",
                "/h/.local/state/proxyd/proxyd.sock",
            ),
            (
                "/h",
                "relative",
                "relative",
                "/h/.local/state/proxyd",
                "/h/.local/state/proxyd/proxyd.sock",
            ),
            ("", "/s", "", "/s/proxyd", "/s/proxyd/proxyd.sock"),
        ] {
            let environment = Environment {
                home: Some(home.into()),
                xdg_state_home: Some(state.into()),
                xdg_runtime_dir: Some(runtime.into()),
                ..fixture::environment()
            };
            let state_dir = environment.default_state_dir().unwrap();
            assert_eq!(state_dir, Path::new(dir));
            assert_eq!(
                environment.default_control_socket(&state_dir),
                Path::new(socket)
            );
            assert_eq!(
                environment.default_pid_file(&state_dir),
                state_dir.join("proxyd.pid")
            );
        }
    }

    #[test]
    fn without_a_home_there_is_no_place() {
        let environment = Environment {
            home: None,
            xdg_state_home: None,
            ..fixture::environment()
        };
        assert_eq!(environment.default_state_dir(), None);
    }

    #[test]
    fn workers_are_as_many_as_cpus_within_bounds() {
        for (cpus, workers) in [(0, 1), (1, 1), (8, 8), (1000, 256)] {
            let environment = Environment {
                cpus,
                ..fixture::environment()
            };
            assert_eq!(environment.default_workers(), workers);
        }
    }
}
