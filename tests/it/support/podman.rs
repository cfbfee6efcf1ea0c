//! Containers of the image that `packaging/container/Containerfile` makes, run by podman.
//!
//! They share the machine's network unless a test gives them one of their own. `tests/run` names the podman to use,
//! with a store of its own, by `PROXYD_TEST_PODMAN`.

pub(crate) mod image;
mod volume;

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::Duration,
};

use serde_json::Value;

pub(crate) use self::{image::Image, volume::Volume};
use super::{
    PATIENCE, eventually,
    process::{self, Known},
    program::{Outcome, clean_command, run},
};

/// The user and the group that the image names.
pub(crate) const ID: u32 = 65532;

/// What a pod's security context and Docker's options take away from a container.
pub(crate) const CONFINED: [&str; 5] = [
    "--read-only",
    // Podman's own addition to a root that is read only.
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    // A process of systemd's would have to call it.
    "--no-healthcheck",
];

/// A container; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Container {
    image: Image,
    name: String,
}

impl Container {
    /// Starts one with these options of `podman run` and these arguments of the program; does not wait until it serves.
    pub(crate) fn start(image: &Image, options: &[String], arguments: &[String]) -> Self {
        /// Tests may run at once in one process.
        static NUMBER: AtomicU16 = AtomicU16::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let container = Self {
            image: image.clone(),
            name: format!("proxyd-test-{}-{number}", std::process::id()),
        };
        let name = format!("--name={}", container.name);
        let mut command = image.podman(&["run", "--detach", &name]);
        command.args(options).arg(image.name()).args(arguments);
        run(command, Duration::from_secs(60)).answer();
        container
    }

    /// Runs podman's command `verb` for it.
    pub(crate) fn podman(&self, verb: &[&str]) -> Outcome {
        let command = self.image.podman(&[verb, &[&self.name]].concat());
        run(command, Duration::from_secs(60))
    }

    /// Runs a command there to its end, with further options of `podman exec`.
    pub(crate) fn exec(&self, options: &[&str], words: &[&str]) -> Outcome {
        let before = [&["exec"], options, &[&self.name]].concat();
        run(
            self.image.podman(&[&before[..], words].concat()),
            PATIENCE * 2,
        )
    }

    /// Runs `proxyctl` there, as the user of the image.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Outcome {
        self.exec(&[], &[&["/usr/bin/proxyctl"], arguments].concat())
    }

    /// Returns the status document.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.ctl(&["--json", "status"]).answer()).unwrap()
    }

    /// Waits until all its workers serve; returns the status document.
    #[track_caller]
    pub(crate) fn serves(&self) -> Value {
        eventually("it serves", PATIENCE, || {
            let answer = self.ctl(&["--json", "status"]);
            let status: Value = serde_json::from_str(&answer.stdout).ok()?;
            let workers = status["workers"].as_array()?;
            let serve = workers.iter().all(|worker| worker["state"] == "serving");
            (serve && !workers.is_empty()).then_some(status)
        })
    }

    /// Returns where a listener really listens.
    #[track_caller]
    pub(crate) fn address_of(&self, listener: &str) -> SocketAddr {
        let status = self.serves();
        let listeners = status["listeners"].as_array().unwrap();
        let found = listeners.iter().find(|it| it["name"] == listener).unwrap();
        found["bind"].as_str().unwrap().parse().unwrap()
    }

    /// Returns what podman knows of it, by a template.
    #[track_caller]
    pub(crate) fn inspect(&self, template: &str) -> String {
        self.podman(&["inspect", "--format", template]).answer()
    }

    /// Returns its process 1, as seen from outside.
    #[track_caller]
    pub(crate) fn init(&self) -> Known {
        let pid = self.inspect("{{.State.Pid}}").parse().unwrap();
        Known::new(pid).unwrap()
    }

    /// Returns its processes, as seen from outside: process 1 and those that it has started.
    #[track_caller]
    pub(crate) fn processes(&self) -> Vec<u32> {
        let init = self.init().pid;
        [vec![init], process::children(init)].concat()
    }

    /// Returns where its root is for this process.
    #[track_caller]
    pub(crate) fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.init().pid))
    }

    /// Returns a command of the machine that sees the container's network, and nothing else of it.
    #[track_caller]
    pub(crate) fn in_network(&self, words: &[&str]) -> Command {
        let mut command = clean_command("nsenter");
        command
            .args(["--net", "--target", &self.init().pid.to_string(), "--"])
            .args(words);
        command
    }

    /// Returns all that it has logged.
    pub(crate) fn log(&self) -> String {
        let Outcome { stdout, stderr, .. } = self.podman(&["logs"]);
        stdout + &stderr
    }

    /// Waits until it has ended; returns the exit status as the container's runtime tells it.
    #[track_caller]
    pub(crate) fn wait(&self) -> i32 {
        self.podman(&["wait"]).answer().parse().unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let log = self.log();
        if thread::panicking() {
            // Past the test runner's capture of what is printed, which does not show it in order.
            let _ = writeln!(io::stderr(), "--- the container's log\n{log}\n---");
        }
        let removed = self.podman(&["rm", "--force", "--volumes", "--time=0"]);
        if !thread::panicking() {
            removed.answer();
            for sign in ["panicked at", "a system call of this"] {
                assert!(!log.contains(sign), "the daemon says `{sign}`:\n{log}");
            }
        }
    }
}

/// Reads a file, or says which.
fn read(path: &std::path::Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
