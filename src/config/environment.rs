//! What the process finds around it: who it is and what its environment says.
//!
//! Gathered once, so that everything decided from it can be tested without changing it.

use std::{
    env,
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    thread,
};

use serde::{Deserialize, Serialize};

use super::WORKERS_MAX;

/// The control socket of a daemon that root starts.
const SYSTEM_SOCKET: &str = "/run/proxyd/proxyd.sock";

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
    /// `STATE_DIRECTORY`, the first folder that systemd made for state (systemd.exec(5)).
    pub state_directory: Option<PathBuf>,
    /// `RUNTIME_DIRECTORY`, the same for sockets and pid files.
    pub runtime_directory: Option<PathBuf>,
    /// `LOGS_DIRECTORY`, the same for logs.
    pub logs_directory: Option<PathBuf>,
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
            state_directory: folder("STATE_DIRECTORY"),
            runtime_directory: folder("RUNTIME_DIRECTORY"),
            logs_directory: folder("LOGS_DIRECTORY"),
            config: variable("PROXYD_CONFIG"),
            control_socket: variable("PROXYD_SOCKET"),
        }
    }

    /// Returns how many workers run when neither the configuration nor the command line says.
    #[must_use]
    pub fn default_workers(&self) -> usize {
        self.cpus.clamp(1, WORKERS_MAX)
    }

    /// Returns the state directory when none is configured; `None` when the environment names no
    /// place.
    #[must_use]
    pub fn default_state_dir(&self) -> Option<PathBuf> {
        if let Some(folder) = &self.state_directory {
            return Some(folder.clone());
        }
        if self.uid == 0 {
            return Some(PathBuf::from("/var/lib/proxyd"));
        }
        let in_home = || Some(absolute(self.home.as_deref())?.join(".local/state"));
        let state_home = absolute(self.xdg_state_home.as_deref()).map(Path::to_owned);
        Some(state_home.or_else(in_home)?.join("proxyd"))
    }

    /// Returns the control socket when none is configured, beside `state_dir` if there is no better
    /// place.
    #[must_use]
    pub fn default_control_socket(&self, state_dir: &Path) -> PathBuf {
        if let Some(folder) = &self.runtime_directory {
            return folder.join("proxyd.sock");
        }
        if self.uid == 0 {
            return PathBuf::from(SYSTEM_SOCKET);
        }
        absolute(self.xdg_runtime_dir.as_deref())
            .unwrap_or(state_dir)
            .join("proxyd.sock")
    }

    /// Returns the pid file when none is configured.
    #[must_use]
    pub fn default_pid_file(&self, state_dir: &Path) -> PathBuf {
        match (&self.runtime_directory, self.uid) {
            (Some(folder), _) => folder.join("proxyd.pid"),
            (None, 0) => PathBuf::from("/run/proxyd/proxyd.pid"),
            (None, _) => state_dir.join("proxyd.pid"),
        }
    }

    /// Returns the socket that `proxyctl` uses when none is named: the first where `is_there`, else
    /// the default of a daemon that this user starts.
    ///
    /// `RUNTIME_DIRECTORY` may be that of another unit, from which `proxyctl` is run, and a user
    /// without a daemon of their own may be a member of `control_group` of the system's.
    #[must_use]
    pub fn socket_to_ask(&self, is_there: impl Fn(&Path) -> bool) -> PathBuf {
        let outside = Self {
            state_directory: None,
            runtime_directory: None,
            ..self.clone()
        };
        let usual =
            outside.default_control_socket(&outside.default_state_dir().unwrap_or_default());
        let of_unit = self
            .runtime_directory
            .as_ref()
            .map(|it| it.join("proxyd.sock"));
        let mut known = of_unit
            .into_iter()
            .chain([usual.clone(), SYSTEM_SOCKET.into()]);
        known.find(|path| is_there(path)).unwrap_or(usual)
    }
}

/// Returns the variable's value; an empty one counts as unset, as in a shell's `${NAME:-}`.
fn variable(name: &str) -> Option<PathBuf> {
    let value = env::var_os(name).filter(|value| !value.is_empty());
    value.map(PathBuf::from)
}

/// Returns the first folder that systemd names in a variable, which may list several.
fn folder(name: &str) -> Option<PathBuf> {
    first_folder(&env::var_os(name)?)
}

/// Returns the first of a list of folders with colons between; `None` if it is not absolute.
fn first_folder(list: &OsStr) -> Option<PathBuf> {
    let first = list.as_bytes().split(|byte| *byte == b':').next()?;
    let folder = Path::new(OsStr::from_bytes(first));
    absolute(Some(folder)).map(Path::to_owned)
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
    fn the_folders_that_systemd_made_go_first() {
        for uid in [0, 1000] {
            let unit = Environment {
                uid,
                state_directory: first_folder(OsStr::new("/var/lib/a:/var/lib/b")),
                runtime_directory: first_folder(OsStr::new("/run/a")),
                xdg_runtime_dir: Some("/run/user/1000".into()),
                ..fixture::environment()
            };
            let state_dir = unit.default_state_dir().unwrap();
            assert_eq!(state_dir, Path::new("/var/lib/a"));
            assert_eq!(
                unit.default_control_socket(&state_dir),
                Path::new("/run/a/proxyd.sock")
            );
            assert_eq!(
                unit.default_pid_file(&state_dir),
                Path::new("/run/a/proxyd.pid")
            );
        }
        for nothing in ["", "relative", ":/second"] {
            assert_eq!(first_folder(OsStr::new(nothing)), None, "{nothing}");
        }
    }

    #[test]
    fn the_socket_to_ask_is_the_first_that_is_there() {
        let user = Environment {
            xdg_runtime_dir: Some("/run/user/1000".into()),
            runtime_directory: Some("/run/unit".into()),
            state_directory: Some("/var/lib/unit".into()),
            ..fixture::environment()
        };
        let (unit, own) = ("/run/unit/proxyd.sock", "/run/user/1000/proxyd.sock");
        for (there, asked) in [
            (vec![unit, own, SYSTEM_SOCKET], unit),
            (vec![own, SYSTEM_SOCKET], own),
            (vec![SYSTEM_SOCKET], SYSTEM_SOCKET),
            (vec![], own),
        ] {
            let socket = user.socket_to_ask(|path| there.iter().any(|it| Path::new(it) == path));
            assert_eq!(socket, Path::new(asked));
        }
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
