//! Disks that do not answer: a frozen file system, on which every write waits.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::signal::Signal;

use crate::support::{PATIENCE, daemon::TestDaemon, is_root, process, scene::Scene, skip, until};

/// A separate file system that the test can freeze.
pub(crate) struct Disk {
    mounted: PathBuf,
}

impl Disk {
    /// Mounts one, which only root can; `None` skips the test.
    pub(crate) fn mount(daemon: &TestDaemon, name: &str) -> Option<Self> {
        let (image, mounted) = (daemon.path("image"), daemon.path(name));
        fs::create_dir(&mounted).unwrap();
        fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let made = is_root()
            && succeeds("mkfs.ext4", &["-q", text(&image)])
            && succeeds(
                "mount",
                &["-o", "loop,noatime", text(&image), text(&mounted)],
            );
        if !made {
            skip("a file system can only be made and mounted by root, outside of containers");
            return None;
        }
        Some(Self { mounted })
    }

    /// Lets every write wait from now on.
    pub(crate) fn freeze(&self) {
        assert!(succeeds("fsfreeze", &["--freeze", text(&self.mounted)]));
    }

    /// Lets all go on; returns whether anything had to wait.
    pub(crate) fn thaw(&self) -> bool {
        succeeds("fsfreeze", &["--unfreeze", text(&self.mounted)])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Otherwise processes that wait for it would wait for ever. This fails if it is not frozen any
        // more, which is no fault.
        self.thaw();
        succeeds("umount", &["--lazy", text(&self.mounted)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments);
    command.output().is_ok_and(|output| output.status.success())
}

/// Checks that a worker that dies is replaced, and that a reload works.
#[track_caller]
fn replaces_a_worker_and_a_certificate(scene: &Scene) {
    process::send(scene.daemon.workers()[0], Signal::SIGKILL);
    scene.await_restarts(1);
    scene.renew();
    scene.reload_tls();
    scene.shows(&scene.new);
}

#[test]
fn a_state_directory_that_does_not_answer_stops_nothing_else() {
    let mut scene = Scene::prepare(|builder| builder.workers(2));
    let Some(disk) = Disk::mount(&scene.daemon, "state") else {
        return;
    };
    scene.daemon.start();
    disk.freeze();
    let set = ["set-on-exit-failure", "--", "/bin/true"];
    let change = scene.daemon.ctl(&set);
    assert_eq!(change.code(), 1, "{change:#?}");
    assert_eq!(scene.daemon.status()["on_exit_failure"]["source"], "unset");
    replaces_a_worker_and_a_certificate(&scene);
    assert!(disk.thaw());
    scene
        .daemon
        .await_status("the change comes into force", |status| {
            status["on_exit_failure"]["source"] == "runtime"
        });
    scene.daemon.signal(Signal::SIGTERM);
    assert!(scene.daemon.wait_exit(PATIENCE).success());
}

#[test]
fn a_log_on_a_disk_that_does_not_answer_stops_nothing_and_lost_lines_are_counted() {
    let mut scene =
        Scene::prepare(|builder| builder.workers(2).set("log", "{ file = \"logs/log\" }"));
    let Some(disk) = Disk::mount(&scene.daemon, "logs") else {
        return;
    };
    scene.daemon.start();
    disk.freeze();
    scene.daemon.signal(Signal::SIGUSR1);
    until("lines are lost", || {
        scene.daemon.log_lines(500);
        let lost = scene.daemon.status()["log"]["lost_lines"].as_u64();
        lost.is_some_and(|lost| lost > 0)
    });
    replaces_a_worker_and_a_certificate(&scene);
    assert!(disk.thaw());
    until("the log tells what was lost", || {
        let log = fs::read_to_string(scene.daemon.path("logs/log")).unwrap();
        log.contains("lost_lines")
    });
}
