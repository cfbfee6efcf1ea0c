//! A daemon that is to be upgraded, and what is to be so afterwards.

use std::{
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use nix::sys::signal::Signal;

use super::programs::Programs;
use crate::support::{
    PATIENCE,
    builder::Builder,
    orders, process,
    program::{End, Outcome},
    scene::Scene,
    until,
};

/// The program that the daemon is upgraded to.
const NEXT: &str = "next";

/// A daemon that is to be upgraded.
pub(super) struct Upgrading {
    pub(super) scene: Scene,
    pub(super) programs: Programs,
}

impl Upgrading {
    /// Starts one; `None` skips the test.
    pub(super) fn new() -> Option<Self> {
        Self::with(|builder| builder)
    }

    /// Does the same, changed by `change` before.
    pub(super) fn with(change: impl FnOnce(Builder) -> Builder) -> Option<Self> {
        let mut it = Self::prepare(change)?;
        it.scene.daemon.start();
        Some(it)
    }

    /// Does the same, and does not start it.
    pub(super) fn prepare(change: impl FnOnce(Builder) -> Builder) -> Option<Self> {
        let programs = Programs::new()?;
        let old = programs.daemon("proxyd");
        programs.daemon(NEXT);
        let scene = Scene::prepare(|it| change(it.program(&old)));
        Some(Self { scene, programs })
    }

    /// Prepares one of the build for tests, and so is what it is upgraded to: both do what they are told by
    /// [`Programs::order`]. `None` skips the test.
    pub(super) fn obeying(change: impl FnOnce(Builder) -> Builder) -> Option<Self> {
        let (programs, obeying) = (Programs::new()?, orders::program()?);
        let old = programs.copy(&obeying, "proxyd");
        programs.copy(&obeying, NEXT);
        let scene = Scene::prepare(|it| change(programs.obeying(it.program(&old))));
        Some(Self { scene, programs })
    }

    /// Returns the path of the program that it is upgraded to.
    pub(super) fn next(&self) -> PathBuf {
        self.programs.folder().join(NEXT)
    }

    /// Asks for an upgrade to this program.
    pub(super) fn upgrade(&self, program: &Path) -> Outcome {
        let program = program.to_str().unwrap();
        // The default of the command, which is longer than that of the other tests.
        let ask = ["upgrade", "--timeout", "2m", "--binary", program];
        self.scene.daemon.ctl(&ask)
    }

    /// Asks for an upgrade and does not wait for the answer.
    pub(super) fn begin(&self) -> Child {
        let mut command =
            self.scene
                .daemon
                .ctl_command(&["upgrade", "--timeout", "2m", "--binary"]);
        command.arg(self.next());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// Asks for an upgrade, which must be done.
    #[track_caller]
    pub(super) fn is_done(&self) {
        let outcome = self.upgrade(&self.next());
        assert_eq!(outcome.end, End::Exit(0), "{outcome:?}");
        let last = self.scene.daemon.status()["upgrades"]["last"].clone();
        assert_eq!(last["result"], "done", "{last}");
    }

    /// Asks for an upgrade to this program, which must be refused with a reason that holds `told`; everything must be as
    /// before.
    #[track_caller]
    pub(super) fn is_refused(&self, program: &Path, told: &str) {
        let daemon = &self.scene.daemon;
        let mut session = self.scene.session();
        let workers = daemon.workers();
        let outcome = self.upgrade(program);
        assert_eq!(outcome.end, End::Exit(1), "{outcome:?}");
        assert!(outcome.stderr.contains(told), "{outcome:?}");
        assert_eq!(daemon.workers(), workers);
        session.echo("still here").unwrap();
        self.tells_last("refused", told);
    }

    /// Checks what is told of the last upgrade.
    #[track_caller]
    pub(super) fn tells_last(&self, result: &str, reason: &str) {
        let last = self.scene.daemon.status()["upgrades"]["last"].clone();
        assert_eq!(last["result"], result, "{last}");
        assert!(last["reason"].as_str().unwrap().contains(reason), "{last}");
        let events = self.scene.daemon.events();
        let mut failed = events.iter().filter(|it| it["kind"] == "upgrade-failed");
        let told = failed.next_back().unwrap()["message"].as_str().unwrap();
        assert!(told.contains(reason), "{told}");
    }

    /// Waits until no process runs one of the programs but the daemon and its children.
    #[track_caller]
    pub(super) fn leaves_no_process(&self) {
        let (daemon, folder) = (self.scene.daemon.pid(), self.programs.folder());
        until("only processes of this supervisor are left", || {
            let children = process::children(daemon);
            process::running_in(folder)
                .iter()
                .all(|it| *it == daemon || children.contains(it))
        });
    }

    /// Kills the supervisor.
    pub(super) fn kill(&mut self) {
        self.scene.daemon.signal(Signal::SIGKILL);
        self.scene.daemon.wait_exit(PATIENCE);
    }
}
