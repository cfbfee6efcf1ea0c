//! A daemon whose backend, disk or descriptors fail it.

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{
    backend::{Behaviour, Closed},
    client::{self, Client},
    configuration::Listener,
    daemon::TestDaemon,
    is_root,
    pki::Ca,
    program::{NOBODY, as_nobody},
    scene::{NAME, Scene},
    skip, until,
};

#[test]
fn a_backend_that_is_down_ends_the_session_and_nothing_else() {
    let closed = Closed::new();
    let scene = Scene::with(|builder| {
        builder.listener(Listener::tcp("main", &closed.address().to_string()))
    });
    for _ in 0..3 {
        client::handshake(scene.daemon.address(), NAME, &scene.ca).unwrap_err();
    }
    until("it is counted", || {
        scene.daemon.status()["listeners"][0]["connections"]["failed_backends"] == 3
    });
    let _up = closed.open();
    scene.shows(&scene.old);
}

#[test]
fn a_mysql_client_is_told_that_the_backend_is_down() {
    let closed = Closed::new();
    let scene = Scene::with(|builder| {
        let listener = Listener::tcp("main", &closed.address().to_string());
        builder.listener(listener.protocol("mysql"))
    });
    let mut stream = client::connect(scene.daemon.address()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    // Length, sequence 0, ERR, an error number.
    assert_eq!(
        answer.len(),
        4 + usize::from(answer[0]) + usize::from(answer[1]) * 256
    );
    assert_eq!((answer[3], answer[4]), (0, 0xff), "{answer:?}");
}

#[test]
fn a_postgres_client_is_told_that_the_backend_is_down() {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
    const STARTUP: &[u8] = b"\0\0\0\x13\0\x03\0\0user\0me\0\0\0";
    let closed = Closed::new();
    let scene = Scene::with(|builder| {
        let listener = Listener::tcp("main", &closed.address().to_string());
        builder.listener(listener.protocol("postgres"))
    });
    let mut stream = client::connect(scene.daemon.address()).unwrap();
    stream.write_all(&SSL_REQUEST).unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"S");
    let mut session = Client::new(&scene.ca).over(stream).unwrap();
    session.send(STARTUP).unwrap();
    let answer = session.rest().unwrap();
    assert_eq!(answer[0], b'E', "{answer:?}");
    let text = String::from_utf8_lossy(&answer);
    assert!(
        text.contains("SFATAL\0") && text.contains("C57P03\0"),
        "{text}"
    );
}

#[test]
fn a_backend_that_resets_ends_the_session_and_nothing_else() {
    let scene = Scene::new();
    scene.daemon.backend.behave(Behaviour::Reset);
    client::handshake(scene.daemon.address(), NAME, &scene.ca).unwrap_err();
    scene.daemon.backend.behave(Behaviour::Echo);
    scene.shows(&scene.old);
    assert_eq!(scene.daemon.status()["restarts"]["total"], 0);
}

#[test]
fn a_backend_that_hangs_keeps_nobody_else_waiting() {
    let scene = Scene::new();
    scene.daemon.backend.behave(Behaviour::Hang);
    let mut hanging = Client::new(&scene.ca)
        .connect(scene.daemon.address())
        .unwrap();
    hanging.send(b"anybody?\n").unwrap();
    until("the backend has it", || scene.daemon.backend.open() == 1);
    scene.daemon.backend.behave(Behaviour::Echo);
    scene.shows(&scene.old);
}

/// A small disk, which is gone when this is dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// Mounts one, which only root can; `None` skips the test.
    fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir(path).unwrap();
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"])
            .arg(path);
        if is_root() && command.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(path.to_owned()));
        }
        skip("a small disk can only be mounted by root, outside of containers");
        None
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }

    /// Makes room again.
    fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut command = Command::new("umount");
        // What still uses it ends with the daemon.
        let _ = command.arg("--lazy").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_refuses_the_first_start_and_leaves_nothing_behind() {
    let mut daemon = TestDaemon::builder().prepare();
    let state = daemon.path("state");
    let Some(disk) = SmallDisk::mount(&state) else {
        return;
    };
    disk.fill();
    let outcome = daemon.run(&[]);
    assert_eq!(outcome.code(), 1);
    assert!(
        outcome.stderr.contains(state.to_str().unwrap()),
        "{outcome:#?}"
    );
    assert!(outcome.stderr.contains("No space left"), "{outcome:#?}");
    assert!(!state.join("tls").exists());
    disk.empty();
    daemon.start();
}

#[test]
fn a_full_disk_refuses_a_new_command_and_keeps_the_old_one() {
    let mut scene = Scene::prepare(|builder| builder);
    let Some(disk) = SmallDisk::mount(&scene.daemon.path("state")) else {
        return;
    };
    scene.daemon.start();
    scene
        .daemon
        .ctl(&["set-on-exit-failure", "--", "/bin/true"])
        .answer();
    disk.fill();
    let complaint = scene
        .daemon
        .ctl(&["set-on-exit-failure", "--", "/bin/false"])
        .complaint();
    assert!(complaint.contains("No space left"), "{complaint}");
    let status = scene.daemon.status();
    assert_eq!(status["on_exit_failure"]["command"][0], "/bin/true");
    scene.renew();
    scene.reload_tls();
    scene.shows(&scene.new);
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let mut scene = Scene::prepare(|builder| builder.set("log", "{ file = \"logs/log\" }"));
    let Some(disk) = SmallDisk::mount(&scene.daemon.path("logs")) else {
        return;
    };
    scene.daemon.start();
    disk.fill();
    for _ in 0..20 {
        scene.daemon.files("default").put(&scene.ca.leaf(NAME));
        scene.reload_tls();
    }
    scene.renew();
    scene.reload_tls();
    scene.shows(&scene.new);
    let status = scene
        .daemon
        .await_status("lost lines are counted", |status| {
            status["log"]["lost_lines"].as_u64().unwrap() > 0
        });
    assert_eq!(status["restarts"]["total"], 0);
    disk.empty();
    until("the log tells what was lost", || {
        let log = std::fs::read_to_string(scene.daemon.path("logs/log")).unwrap();
        log.contains("lost_lines=")
    });
}

#[test]
fn a_supervisor_that_may_start_no_thread_lives_on() {
    let Some(mut scene) = Scene::unprivileged() else {
        return;
    };
    scene.daemon.start();
    // A thread that has had nothing to do for ten seconds usually ends.
    let quiet = Instant::now() + Duration::from_secs(12);
    until("it was left alone", || Instant::now() > quiet);
    let limit = |threads: &str| {
        let words = if is_root() {
            as_nobody("prlimit", NOBODY).unwrap()
        } else {
            vec!["env".to_owned()]
        };
        let pid = format!("--pid={}", scene.daemon.pid());
        let limit = format!("--nproc={threads}:");
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["prlimit", &pid, &limit]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    limit("1");
    assert_eq!(scene.reload_tls()["changed"], false);
    assert_eq!(scene.daemon.status()["restarts"]["total"], 0);
}

#[test]
fn a_listener_with_an_authority_that_cannot_be_read_does_not_start() {
    let ca = Ca::new("authority");
    let daemon = TestDaemon::builder()
        .identity("default", &ca.leaf(NAME))
        .listener(
            Listener::tcp("main", "127.0.0.1:1")
                .line("client_auth = { mode = \"required\", ca = \"clients.pem\" }"),
        )
        .prepare();
    let outcome = daemon.run(&[]);
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stderr.contains("clients.pem"), "{outcome:#?}");
}
