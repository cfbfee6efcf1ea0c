//! What the daemon inherits, and where it keeps things: signals, folders, files of the wrong kind.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
};

use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};

use crate::support::{
    PATIENCE,
    configuration::Listener,
    daemon::TestDaemon,
    eventually, is_root, process,
    program::{End, clean_command, spawn},
    scene::Scene,
    skip, until,
};

/// The signals that workers leave to the supervisor.
const OF_THE_SUPERVISOR: [Signal; 5] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Returns the signals in a line of `/proc/PID/status`, as bits from signal 1 on.
fn signals(text: &str, name: &str) -> u64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap();
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
}

fn bit(signal: Signal) -> u64 {
    1 << (signal as u64 - 1)
}

#[test]
fn signals_blocked_or_ignored_before_the_start_work_again() {
    let mut scene =
        Scene::prepare(|builder| builder.wrapped(&["env", "--block-signal", "--ignore-signal"]));
    scene.daemon.start();
    let seen = scene.daemon.path("seen");
    let script = format!(
        "cat /proc/self/status > {0}.new && mv {0}.new {0}",
        seen.display()
    );
    scene
        .daemon
        .ctl(&["set-on-exit-failure", "--", "/bin/sh", "-c", &script])
        .answer();
    let worker = scene.daemon.workers()[0];
    let of_worker = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    process::send(worker, Signal::SIGKILL);
    until("the command has run", || seen.exists());
    let of_command = fs::read_to_string(&seen).unwrap();
    let of_supervisor = fs::read_to_string(format!("/proc/{}/status", scene.daemon.pid())).unwrap();
    for text in [&of_worker, &of_command, &of_supervisor] {
        assert_eq!(signals(text, "SigBlk"), 0, "{text}");
    }
    // Beyond the 31 standard signals are those of the C library.
    let low = (1 << 31) - 1;
    assert_eq!(signals(&of_command, "SigIgn") & low, 0, "{of_command}");
    let ignored: u64 = OF_THE_SUPERVISOR
        .into_iter()
        .chain([Signal::SIGPIPE])
        .map(bit)
        .sum();
    assert_eq!(signals(&of_worker, "SigIgn") & low, ignored, "{of_worker}");
    scene.renew();
    scene.daemon.signal(Signal::SIGHUP);
    scene
        .daemon
        .await_status("HUP reloads", |status| status["tls"]["generation"] != 1);
    scene.daemon.signal(Signal::SIGTERM);
    assert_eq!(scene.daemon.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn a_worker_leaves_to_the_supervisor_what_is_sent_to_all_processes() {
    let scene = Scene::new();
    let mut session = scene.session();
    let worker = scene.daemon.workers()[0];
    for signal in OF_THE_SUPERVISOR {
        process::send(worker, signal);
        session.echo("still there").unwrap();
    }
    scene.shows(&scene.old);
    assert_eq!(scene.daemon.workers(), [worker]);
    assert_eq!(scene.daemon.status()["restarts"]["total"], 0);
}

#[test]
fn a_pid_file_of_another_kind_is_refused_by_name() {
    let daemon = TestDaemon::builder().prepare();
    let pid_file = daemon.path("pid");
    for kind in ["FIFO", "folder"] {
        if kind == "FIFO" {
            mkfifo(&pid_file, Mode::S_IRWXU).unwrap();
        } else {
            fs::remove_file(&pid_file).unwrap();
            fs::create_dir(&pid_file).unwrap();
        }
        for arguments in [&[][..], &["--check-config"]] {
            let outcome = daemon.run(arguments);
            assert_eq!(outcome.code(), 1, "{outcome:#?}");
            let told = &outcome.stderr;
            assert!(told.contains("pid file") && told.contains(kind), "{told}");
        }
    }
}

#[test]
fn a_configuration_that_is_a_fifo_is_refused_by_name() {
    let daemon = TestDaemon::builder().prepare();
    let file = daemon.path("proxyd.toml");
    fs::remove_file(&file).unwrap();
    mkfifo(&file, Mode::S_IRWXU).unwrap();
    let outcome = daemon.run(&[]);
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stderr.contains("FIFO"), "{outcome:#?}");
}

#[test]
fn authorities_of_the_system_that_are_a_fifo_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("authorities");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let daemon = TestDaemon::builder()
        .environment("SSL_CERT_FILE", fifo.to_str().unwrap())
        .listener(
            Listener::tcp("main", "127.0.0.1:1")
                .line("backend_tls = { mode = \"verify-full\", server_name = \"db\" }"),
        )
        .prepare();
    let outcome = daemon.run(&[]);
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stderr.contains("FIFO"), "{outcome:#?}");
}

#[test]
fn a_start_that_is_refused_ends_though_its_error_is_not_read() {
    let daemon = TestDaemon::builder().text("nonsense").prepare();
    let path = daemon.path("pipe");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let mut options = fs::File::options();
    let open = options.read(true).write(true);
    let stderr = open.open(&path).unwrap();
    let mut full = open
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(&path)
        .unwrap();
    while full.write(&[b'x'; 4096]).is_ok() {}
    let mut child = daemon.command().stderr(stderr).spawn().unwrap();
    let status = eventually("it ends", PATIENCE, || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_command_file_that_is_a_fifo_keeps_nothing_waiting() {
    let mut daemon = TestDaemon::builder().prepare();
    let state = daemon.path("state");
    fs::create_dir(&state).unwrap();
    for name in ["on-exit-failure.json", "on-exit-failure.json.new"] {
        mkfifo(&state.join(name), Mode::S_IRWXU).unwrap();
    }
    daemon.start();
    until("it is told by name", || {
        daemon.log().contains("on-exit-failure.json: it is a FIFO")
    });
    daemon
        .ctl(&["set-on-exit-failure", "--", "/bin/true"])
        .answer();
    assert!(
        fs::metadata(state.join("on-exit-failure.json"))
            .unwrap()
            .is_file()
    );
}

#[test]
fn only_the_state_directory_itself_is_closed_to_others() {
    let mut daemon = TestDaemon::builder()
        .set("state_dir", "\"var/lib/state\"")
        .prepare();
    daemon.start();
    let mode = |name: &str| fs::metadata(daemon.path(name)).unwrap().mode() & 0o777;
    assert_eq!(mode("var/lib/state"), 0o700);
    assert_ne!(mode("var"), 0o700);
    assert_ne!(mode("var/lib"), 0o700);
}

#[test]
fn a_state_directory_that_cannot_be_made_is_no_good_configuration() {
    let daemon = TestDaemon::builder().file("file", "").prepare();
    let below = daemon.path("file/below");
    for place in [below.to_str().unwrap(), "/proc/proxyd"] {
        let outcome = daemon.run(&["--check-config", "--state-dir", place]);
        assert_eq!(outcome.code(), 1);
        assert!(outcome.stderr.contains(place), "{outcome:#?}");
    }
    let fresh = daemon.path("new/state");
    let outcome = daemon.run(&["--check-config", "--state-dir", fresh.to_str().unwrap()]);
    assert_eq!(outcome.end, End::Exit(0), "{outcome:#?}");
    assert!(!daemon.path("new").exists());
}

#[test]
fn a_state_directory_that_cannot_be_made_again_makes_a_restart_unsafe() {
    let scene = Scene::new();
    assert_eq!(scene.daemon.status()["tls"]["restart_safe"], true);
    let state = scene.daemon.path("state");
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "").unwrap();
    scene
        .daemon
        .await_status("a restart is not safe", |status| {
            status["tls"]["restart_safe"] == false
        });
}

#[test]
fn the_folders_that_systemd_made_are_the_defaults() {
    let mut daemon = TestDaemon::builder().prepare();
    for name in ["s", "r", "l"] {
        fs::create_dir(daemon.path(name)).unwrap();
    }
    let backend = daemon.backend.address();
    daemon.write_configuration(&format!(
        "workers = 1\nlog = {{ file = \"text\" }}\n\
         [[listener]]\nbind = \"127.0.0.1:0\"\nbackend = \"{backend}\"\n"
    ));
    let folder = |name: &str| daemon.path(name).to_str().unwrap().to_owned();
    let variables = [
        ("STATE_DIRECTORY", folder("s") + ":/nonexistent"),
        ("RUNTIME_DIRECTORY", folder("r")),
        ("LOGS_DIRECTORY", folder("l")),
    ];
    daemon.set_environment(&variables);
    daemon.start();
    for name in [
        "s/tls/server.pem",
        "r/proxyd.sock",
        "r/proxyd.pid",
        "l/text",
    ] {
        assert!(daemon.path(name).exists(), "{name}");
    }
    let mut ctl = std::process::Command::new(env!("CARGO_BIN_EXE_proxyctl"));
    ctl.env_clear()
        .env("RUNTIME_DIRECTORY", daemon.path("r"))
        .args(["--json", "status"]);
    assert!(ctl.output().unwrap().status.success());
}

#[test]
fn a_removed_socket_is_reported_and_bound_again() {
    let mut scene = Scene::new();
    let socket = scene.daemon.socket();
    fs::remove_file(&socket).unwrap();
    let outcome = scene.daemon.ctl(&["status"]);
    assert_eq!(outcome.code(), 3);
    assert!(outcome.stderr.contains("HUP"), "{outcome:#?}");
    scene.daemon.signal(Signal::SIGHUP);
    until("it answers again", || {
        scene.daemon.ctl(&["status"]).is_success()
    });
    assert_eq!(
        fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
    scene.daemon.signal(Signal::SIGHUP);
    scene.daemon.signal(Signal::SIGTERM);
    assert_eq!(scene.daemon.wait_exit(PATIENCE).code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn workers_run_as_a_number_that_no_user_has() {
    if !is_root() {
        return skip("only root may run workers as another user");
    }
    let scene = Scene::with(|builder| builder.set("user", "\"1000100\""));
    assert_eq!(process::user(scene.daemon.workers()[0]), Some(1_000_100));
    scene.shows(&scene.old);
}

#[test]
fn a_user_database_that_is_not_there_is_named_and_a_number_needs_none() {
    let bare = "mount -t tmpfs none /etc && exec \"$0\" \"$@\"";
    let wrapper = ["unshare", "--mount", "sh", "-c", bare];
    let check = |user: &str| {
        let scene = Scene::prepare(|builder| builder.set("user", user).wrapped(&wrapper));
        scene.daemon.run(&["--check-config"])
    };
    let mut probe = clean_command(wrapper[0]);
    probe.args(&wrapper[1..]).arg("true");
    if !probe.output().is_ok_and(|output| output.status.success()) {
        return skip("only root may take /etc away, outside of containers");
    }
    assert_eq!(check("\"65534\"").end, End::Exit(0));
    let outcome = check("\"proxyd\"");
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stderr.contains("/etc/passwd"), "{outcome:#?}");
}

#[test]
fn a_unix_listener_without_rights_names_its_folder() {
    let Some(mut scene) = Scene::unprivileged() else {
        return;
    };
    let backend = scene.daemon.backend.address();
    scene.daemon.reconfigure(|it| {
        it.listeners = vec![Listener::tcp("main", &backend).bind("unix:/etc/proxyd-test.sock")];
    });
    let outcome = scene.daemon.run(&[]);
    assert_eq!(outcome.code(), 1);
    let told = &outcome.stderr;
    assert!(
        told.contains("folder /etc") && !told.contains("1024"),
        "{told}"
    );
}

/// Hides a folder behind an empty one, seen by the command alone, and becomes it.
const HIDE: &str = "mount -t tmpfs none \"$1\" && shift && exec \"$@\"";

#[test]
fn a_daemon_whose_socket_has_the_same_name_in_another_container_is_not_in_the_way() {
    let mut scene = Scene::new();
    let (folder, socket) = (scene.daemon.folder().to_owned(), scene.daemon.socket());
    let mut probe = clean_command("unshare");
    probe.args(["--mount", "sh", "-c", HIDE, "sh"]);
    probe.arg(&folder).arg("true");
    if !probe.output().is_ok_and(|output| output.status.success()) {
        return skip("only root may mount, outside of containers");
    }
    let mut elsewhere = clean_command("unshare");
    elsewhere.args(["--mount", "sh", "-c", HIDE, "sh"]);
    elsewhere
        .arg(&folder)
        .arg(env!("CARGO_BIN_EXE_proxyd"))
        .args(["--listen", "127.0.0.1:0", "--backend", "127.0.0.1:1"])
        .args(["--protocol", "tcp", "--workers", "1"])
        .arg("--control-socket")
        .arg(&socket)
        .arg("--pid-file")
        .arg(folder.join("elsewhere.pid"))
        .arg("--state-dir")
        .arg(folder.join("elsewhere"));
    let mut elsewhere = spawn(&mut elsewhere);
    scene.daemon.adopt(elsewhere.id());
    until("both listen", || {
        let sockets = fs::read_to_string("/proc/net/unix").unwrap();
        let name = socket.to_str().unwrap();
        let bound = sockets.lines().filter(|line| line.ends_with(name));
        bound.filter(|line| line.contains(" 00010000 ")).count() == 2
    });

    let tls = &scene.daemon.status()["tls"];
    assert_eq!(tls["restart_safe"], true, "{tls}");
    let checked = scene.daemon.run(&["--check-config"]);
    assert_eq!(checked.end, End::Exit(0), "{checked:#?}");
    // Killed, it leaves its file, and what is on the kernel's list by that name is the other's alone.
    scene.daemon.signal(Signal::SIGKILL);
    scene.daemon.wait_exit(PATIENCE);
    let checked = scene.daemon.run(&["--check-config"]);
    assert_eq!(checked.end, End::Exit(0), "{checked:#?}");
    scene.daemon.start();
    scene.shows(&scene.old);
    process::send(elsewhere.id(), Signal::SIGTERM);
    elsewhere.wait().unwrap();
}
