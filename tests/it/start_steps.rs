//! What keeps a daemon from starting: told alike by `--check-config`, by one that runs, and by a start.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use nix::{sys::signal::Signal, unistd::User};
use rustix::fs::{XattrFlags, setxattr};
use serde_json::Value;

use crate::support::{
    PATIENCE, configuration::Listener, daemon::TestDaemon, is_root, ports::free_port, program::End,
    scene::Scene, skip,
};

/// A way in which a start can fail.
struct Way<'a> {
    /// What is told, in part.
    words: &'a str,
    /// Takes away what a start needs.
    spoil: &'a mut dyn FnMut(&mut TestDaemon),
    /// Gives it back.
    mend: &'a mut dyn FnMut(&mut TestDaemon),
}

impl Way<'_> {
    /// Sees to it that a daemon that runs, `--check-config` and a cold start tell of it in the same words, and
    /// that all is well once it is mended.
    #[track_caller]
    fn told_by_all(self, mut daemon: TestDaemon) {
        daemon.start();
        is_good(&daemon);
        (self.spoil)(&mut daemon);
        let status =
            daemon.await_status(self.words, |status| status["tls"]["restart_safe"] == false);
        let reason = status["tls"]["disk"]["reason"].to_string();
        let reason: Value = serde_json::from_str(&reason).unwrap();
        assert!(
            reason.as_str().unwrap_or_default().contains(self.words),
            "{status}"
        );
        let complaint = daemon.ctl(&["verify"]).complaint();
        assert!(complaint.contains(self.words), "{complaint}");
        refused(&daemon, &["--check-config"], self.words);
        stop(&mut daemon);
        self.keeps_from_starting(&mut daemon);
        daemon.start();
        is_good(&daemon);
    }

    /// Does the same for a daemon that does not run.
    #[track_caller]
    fn told_before_a_start(self, mut daemon: TestDaemon) {
        (self.spoil)(&mut daemon);
        self.keeps_from_starting(&mut daemon);
        daemon.start();
        is_good(&daemon);
    }

    #[track_caller]
    fn keeps_from_starting(self, daemon: &mut TestDaemon) {
        for arguments in [&["--check-config"][..], &[], &["--daemonize"]] {
            refused(daemon, arguments, self.words);
        }
        (self.mend)(daemon);
        let outcome = daemon.run(&["--check-config"]);
        assert_eq!(outcome.end, End::Exit(0), "{outcome:#?}");
    }
}

/// Sees to it that a daemon which is run like this ends with this reason.
#[track_caller]
fn refused(daemon: &TestDaemon, arguments: &[&str], words: &str) {
    let outcome = daemon.run(arguments);
    assert_eq!(outcome.code(), 1, "{arguments:?} {outcome:#?}");
    assert!(outcome.stderr.contains(words), "{arguments:?} {outcome:#?}");
}

/// Ends a daemon.
fn stop(daemon: &mut TestDaemon) {
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait_exit(PATIENCE).success());
}

#[track_caller]
fn is_good(daemon: &TestDaemon) {
    let status = daemon.status();
    assert_eq!(status["tls"]["restart_safe"], true, "{status}");
    assert_eq!(
        status["tls"]["not_tried"],
        serde_json::json!([]),
        "{status}"
    );
    let outcome = daemon.run(&["--check-config"]);
    assert_eq!(outcome.end, End::Exit(0), "{outcome:#?}");
}

/// Moves something away.
fn take_away(path: &Path) {
    fs::rename(path, path.with_extension("away")).unwrap();
}

/// Puts it back in the place of what is there.
fn put_back(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        let _ = fs::remove_file(path);
    }
    fs::rename(path.with_extension("away"), path).unwrap();
}

/// What takes the place of a file or folder.
#[derive(Debug, Clone, Copy)]
enum Instead {
    Nothing,
    File,
    Folder,
}

#[test]
fn a_path_that_a_start_cannot_use_is_told() {
    for (path, instead, words) in [
        ("state", Instead::File, "state directory"),
        ("logs", Instead::Nothing, "there is no folder"),
        ("logs", Instead::File, "log file"),
        ("logs/log", Instead::Folder, "it is a folder, not a file"),
        ("pid", Instead::Folder, "it is a folder, not a file"),
        ("sockets", Instead::Nothing, "sockets; make it"),
        ("sockets/one", Instead::File, "not a socket"),
        ("state/tls/ca.pem", Instead::Nothing, "has ca-key.pem"),
    ] {
        let mut daemon = TestDaemon::builder()
            .set("log", "{ file = \"logs/log\" }")
            .prepare();
        for folder in ["logs", "sockets"] {
            fs::create_dir(daemon.path(folder)).unwrap();
        }
        let (bind, backend) = (daemon.path("sockets/one"), daemon.backend.address());
        let listener = Listener::tcp("one", &backend).bind(&format!("unix:{}", bind.display()));
        daemon.reconfigure(|it| it.listeners.push(listener));
        Way {
            words,
            spoil: &mut |daemon| {
                let path = daemon.path(path);
                take_away(&path);
                match instead {
                    Instead::Nothing => {}
                    Instead::File => fs::write(&path, "").unwrap(),
                    Instead::Folder => fs::create_dir(&path).unwrap(),
                }
            },
            mend: &mut |daemon| {
                put_back(&daemon.path(path));
                // What was moved is a socket that nobody listens at, and is replaced.
                let _ = fs::remove_file(daemon.path("sockets/one"));
            },
        }
        .told_by_all(daemon);
    }
}

/// The words that are told of a change, the key and value that it sets, and the listeners that it adds.
type Change = (&'static str, Option<(&'static str, String)>, Vec<Listener>);

#[test]
fn a_configuration_that_a_start_cannot_carry_out_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let free = free_port();
    let listener = |bind: &str| Listener::tcp("second", "127.0.0.1:1").bind(bind);
    let unknown = "\"nobody-has-this-name\"".to_owned();
    let ways: Vec<Change> = vec![
        (
            "another process listens there",
            None,
            vec![listener(&format!("127.0.0.1:{port}"))],
        ),
        (
            "another process listens there",
            None,
            vec![listener(&format!("0.0.0.0:{port}"))],
        ),
        (
            "metrics: cannot listen on",
            Some(("metrics", format!("{{ bind = \"127.0.0.1:{port}\" }}"))),
            vec![],
        ),
        (
            "this machine does not have that address",
            None,
            vec![listener("192.0.2.77:0")],
        ),
        (
            "name.invalid cannot be looked up",
            None,
            vec![listener("name.invalid:0")],
        ),
        (
            "listener \"second\" listens there too",
            None,
            vec![
                listener(&format!("127.0.0.1:{free}")),
                Listener::tcp("third", "127.0.0.1:1").bind(&format!("localhost:{free}")),
            ],
        ),
        (
            "there is no such user",
            Some(("user", unknown.clone())),
            vec![],
        ),
        (
            "there is no such group",
            Some(("control_group", unknown)),
            vec![],
        ),
    ];
    for (words, key, listeners) in ways {
        Way {
            words,
            spoil: &mut |daemon| {
                daemon.reconfigure(|it| {
                    if let Some((key, value)) = &key {
                        it.set(key, value);
                    }
                    it.listeners.extend(listeners.iter().cloned());
                });
            },
            mend: &mut |daemon| {
                daemon.reconfigure(|it| {
                    if let Some((key, _)) = &key {
                        it.lines.retain(|line| !line.starts_with(key));
                    }
                    it.listeners.truncate(1);
                });
            },
        }
        .told_by_all(TestDaemon::builder().prepare());
    }
}

#[test]
fn ports_of_the_daemon_that_runs_are_free_for_the_next() {
    let mut daemon = TestDaemon::builder().prepare();
    let [port, page] = [(); 2].map(|()| free_port());
    daemon.reconfigure(|it| {
        it.listeners[0].bind = format!("127.0.0.1:{port}");
        it.set("metrics", &format!("{{ bind = \"127.0.0.1:{page}\" }}"));
    });
    daemon.start();
    is_good(&daemon);
    let text = daemon.run(&["--check-config"]).stdout;
    assert!(text.contains("not tried: pid file"), "{text}");
    daemon.reconfigure(|it| it.listeners[0].bind = format!("0.0.0.0:{port}"));
    is_good(&daemon);
}

/// An address of the loopback device that is taken away again.
struct Extra(String);

impl Extra {
    /// Adds one; `None` skips the test.
    fn add() -> Option<Self> {
        let extra = Self(format!("198.51.100.{}", std::process::id() % 250 + 1));
        let added = is_root() && extra.change("add");
        if !added {
            skip("addresses can only be added by root, outside of containers");
        }
        added.then_some(extra)
    }

    fn change(&self, what: &str) -> bool {
        let mut command = Command::new("ip");
        command.args(["address", what, &format!("{}/32", self.0), "dev", "lo"]);
        command.output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Extra {
    fn drop(&mut self) {
        self.change("del");
    }
}

#[test]
fn an_address_that_the_machine_has_lost_is_told_unless_it_may_come_later() {
    let Some(extra) = Extra::add() else { return };
    let bind = format!("{}:0", extra.0);
    let backend = TestDaemon::builder().prepare();
    let address = backend.backend.address();
    let prepare = |line: &str| {
        let listener = Listener::tcp("main", &address).bind(&bind).line(line);
        TestDaemon::builder().listener(listener).prepare()
    };
    Way {
        words: "this machine does not have that address",
        spoil: &mut |_| assert!(extra.change("del")),
        mend: &mut |_| assert!(extra.change("add")),
    }
    .told_by_all(prepare(""));
    let mut daemon = prepare("freebind = true");
    assert!(extra.change("del"));
    daemon.start();
    is_good(&daemon);
    assert!(std::net::TcpStream::connect(daemon.address()).is_err());
    assert!(extra.change("add"));
    std::net::TcpStream::connect(daemon.address()).unwrap();
}

#[test]
fn a_pid_file_that_another_daemon_has_locked_is_told() {
    let daemon = TestDaemon::builder().prepare();
    let path = daemon.path("pid");
    let mut lock = None;
    Way {
        words: "is locked",
        spoil: &mut |_| {
            fs::write(&path, format!("{}\n", std::process::id())).unwrap();
            let file = fs::File::open(&path).unwrap();
            file.lock().unwrap();
            lock = Some(file);
        },
        mend: &mut |_| fs::remove_file(&path).unwrap(),
    }
    .told_before_a_start(daemon);
    drop(lock);
}

#[test]
fn a_control_socket_in_whose_place_something_is_is_told() {
    let path = |daemon: &TestDaemon| daemon.socket();
    Way {
        words: "exists and is not a socket",
        spoil: &mut |daemon| fs::write(path(daemon), "").unwrap(),
        mend: &mut |daemon| fs::remove_file(path(daemon)).unwrap(),
    }
    .told_before_a_start(TestDaemon::builder().prepare());
    let mut other = None;
    let daemon = TestDaemon::builder()
        .set("control_socket", "\"other.sock\"")
        .prepare();
    let socket = daemon.path("other.sock");
    other.replace(UnixListener::bind(&socket).unwrap());
    for arguments in [&["--check-config"][..], &[]] {
        let outcome = daemon.run(arguments);
        assert_eq!(outcome.code(), 1);
        assert!(
            outcome.stderr.contains("another proxyd answers"),
            "{outcome:#?}"
        );
    }
    drop(other);
    assert_eq!(daemon.run(&["--check-config"]).end, End::Exit(0));
}

#[test]
fn something_in_the_place_of_the_cookie_is_told_and_left_alone() {
    let path = |daemon: &TestDaemon| daemon.path("control.sock.cookie");
    Way {
        words: "control.sock.cookie is a folder that is not a cookie",
        spoil: &mut |daemon| fs::create_dir(path(daemon)).unwrap(),
        mend: &mut |daemon| fs::remove_dir(path(daemon)).unwrap(),
    }
    .told_before_a_start(TestDaemon::builder().prepare());
    Way {
        words: "control.sock.cookie is a file that is not a cookie",
        spoil: &mut |daemon| fs::write(path(daemon), "precious").unwrap(),
        mend: &mut |daemon| {
            assert_eq!(fs::read_to_string(path(daemon)).unwrap(), "precious");
            fs::remove_file(path(daemon)).unwrap();
        },
    }
    .told_before_a_start(TestDaemon::builder().prepare());
}

#[test]
fn a_file_that_has_the_name_of_the_control_socket_or_the_pid_file_is_left_alone() {
    let mut daemon = TestDaemon::builder().start();
    let cookie = daemon.path("control.sock.cookie");
    let files = [daemon.socket(), cookie, daemon.path("pid")];
    for path in &files {
        fs::remove_file(path).unwrap();
        fs::write(path, "precious").unwrap();
    }
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait_exit(PATIENCE).success());
    for path in &files {
        assert_eq!(fs::read_to_string(path).unwrap(), "precious");
    }
}

#[test]
fn a_program_that_is_gone_or_cannot_be_run_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("proxyd");
    // Not by this process: a child of another test would hold the copy open for writing for a moment.
    let mut copying = Command::new("cp");
    copying.arg(env!("CARGO_BIN_EXE_proxyd")).arg(&copy);
    assert!(copying.status().unwrap().success());
    let run = format!("exec {} \"$@\"", copy.display());
    let mut scene = Scene::prepare(|builder| builder.wrapped(&["sh", "-c", &run]));
    scene.daemon.start();
    is_good(&scene.daemon);
    let unsafe_for = |words: &str| {
        let status = scene
            .daemon
            .await_status(words, |status| status["tls"]["restart_safe"] == false);
        let reason = status["tls"]["disk"]["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains(words), "{reason}");
    };
    take_away(&copy);
    unsafe_for("proxyd: No such file");
    put_back(&copy);
    is_good(&scene.daemon);
    // An upgrade that is half done: something else is there by now, with the right to be executed.
    let half = &fs::read(&copy).unwrap()[..100_000];
    for (written, words) in [
        (&b""[..], "it is empty"),
        (half, "its end is missing"),
        (b"text\n", "it is no program"),
    ] {
        take_away(&copy);
        fs::write(&copy, written).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        unsafe_for(words);
        put_back(&copy);
        is_good(&scene.daemon);
    }
    if is_root() {
        let mode = |mode| fs::set_permissions(&copy, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o700);
        unsafe_for("which may not execute it");
        let outcome = scene.daemon.run(&["--check-config"]);
        assert!(
            outcome.stderr.contains("which may not execute it"),
            "{outcome:#?}"
        );
        if share(&copy) {
            is_good(&scene.daemon);
        }
        mode(0o755);
        is_good(&scene.daemon);
    }
}

/// Lets the user of workers execute a file by an access control list alone; `false` if there are no such
/// lists here.
fn share(path: &Path) -> bool {
    let find = |name| User::from_name(name).unwrap();
    let user = find("proxyd").or_else(|| find("nobody")).unwrap();
    let rest = u32::MAX;
    // Owner, named user, owning group, mask and others: linux/posix_acl_xattr.h.
    let entries: [(u16, u16, u32); 5] = [
        (1, 7, rest),
        (2, 5, user.uid.as_raw()),
        (4, 0, rest),
        (0x10, 5, rest),
        (0x20, 0, rest),
    ];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        list.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    let flags = XattrFlags::empty();
    setxattr(path, "system.posix_acl_access", &list, flags).is_ok()
}

#[test]
fn too_few_descriptors_are_told_with_the_number_that_is_needed() {
    let daemon = TestDaemon::builder()
        .workers(32)
        .wrapped(&["prlimit", "--nofile=100:100"])
        .prepare();
    for arguments in [&["--check-config"][..], &[], &["--daemonize"]] {
        let outcome = daemon.run(arguments);
        assert_eq!(outcome.code(), 1);
        let told = &outcome.stderr;
        assert!(
            told.contains("100 descriptors") && told.contains("need"),
            "{told}"
        );
    }
    assert!(!daemon.path("pid").exists());
}

#[test]
fn a_trial_does_not_disturb_a_daemon_that_starts() {
    let mut daemon = TestDaemon::builder().prepare();
    let address = format!("127.0.0.1:{}", free_port());
    daemon.reconfigure(|it| it.listeners[0].bind = address);
    let mut check = daemon.command();
    check.arg("--check-config");
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..1000 {
                if enough.load(Ordering::Relaxed) {
                    break;
                }
                check.output().unwrap();
            }
        });
        for _ in 0..5 {
            daemon.start();
            stop(&mut daemon);
        }
        enough.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_start_that_is_refused_has_made_nothing() {
    let daemon = TestDaemon::builder().file("file", "").prepare();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut daemon = daemon;
    daemon.reconfigure(|it| it.listeners[0].bind = address.to_string());
    for arguments in [&["--check-config"][..], &[], &["--daemonize"]] {
        let outcome = daemon.run(arguments);
        assert_eq!(outcome.code(), 1);
        for name in ["state", "pid", "log", "control.sock", "control.sock.cookie"] {
            assert!(!daemon.path(name).exists(), "{arguments:?} {name}");
        }
    }
}

#[test]
fn a_log_in_a_state_directory_that_is_not_made_yet_is_no_obstacle() {
    let mut daemon = TestDaemon::builder()
        .set("log", "{ file = \"state/text\" }")
        .prepare();
    assert_eq!(daemon.run(&["--check-config"]).end, End::Exit(0));
    daemon.start();
    // An empty folder is as good as none; one with other files is not.
    stop(&mut daemon);
    let tls = daemon.path("state/tls");
    fs::remove_dir_all(&tls).unwrap();
    fs::create_dir(&tls).unwrap();
    let outcome = daemon.run(&["--check-config"]);
    assert!(outcome.stdout.contains("will be created"), "{outcome:#?}");
    fs::write(tls.join("notes"), "").unwrap();
    for arguments in [&["--check-config"][..], &[]] {
        let outcome = daemon.run(arguments);
        assert!(outcome.stderr.contains("holds other files"), "{outcome:#?}");
    }
    fs::remove_file(tls.join("notes")).unwrap();
    daemon.start();
    is_good(&daemon);
}

#[test]
fn what_does_not_keep_a_daemon_from_starting_is_a_warning() {
    let mut daemon = TestDaemon::builder()
        .set("on_exit_failure", "{ command = [\"/nonexistent/page\"] }")
        .prepare();
    fs::create_dir_all(daemon.path("state/on-exit-failure.json")).unwrap();
    daemon.reconfigure(|it| it.listeners[0].backend = "name.invalid:1".to_owned());
    let outcome = daemon.run(&["--check-config"]);
    assert_eq!(outcome.end, End::Exit(0), "{outcome:#?}");
    for words in [
        "warning: on_exit_failure: /nonexistent/page cannot be run",
        "on-exit-failure.json: it is a folder",
        "name.invalid cannot be looked up",
        "not tried: worker processes",
    ] {
        assert!(outcome.stdout.contains(words), "{words} {outcome:#?}");
    }
    daemon.start();
    assert!(daemon.log().contains("/nonexistent/page cannot be run"));
    let told = daemon.ctl(&["verify"]);
    assert!(
        told.is_success() && told.stderr.contains("/nonexistent/page"),
        "{told:#?}"
    );
}
