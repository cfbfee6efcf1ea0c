//! The control socket and its cookie: who may use it, and what a hostile or broken peer can do there.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
    thread,
};

use nix::sys::signal::Signal;
use proxyd::control::{
    cookie::{self, Cookie},
    verdict::Verdict,
    wire::Hello,
};

use crate::support::{
    PATIENCE, process,
    program::{self, NOBODY, Outcome, run},
    scene::Scene,
    skip, until,
};

/// Runs `proxyctl` against a socket.
fn ctl(socket: &Path, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxyctl"));
    command
        .env_clear()
        .arg("--socket")
        .arg(socket)
        .args(arguments);
    run(command, PATIENCE)
}

/// Returns a command that runs `proxyctl` as nobody, in this group; `None` skips the test.
fn as_nobody(group: u32) -> Option<Command> {
    let program = env!("CARGO_BIN_EXE_proxyctl");
    let words = program::as_nobody(program, group)?;
    let mut command = Command::new(&words[0]);
    command.env_clear().args(&words[1..]).arg(program);
    Some(command)
}

/// Connects as a client that speaks the right protocol and shows this cookie; returns what the daemon says
/// to that.
fn greet(socket: &Path, cookie: &Cookie) -> (UnixStream, Verdict) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&Hello::ours().to_bytes()).unwrap();
    proxyd::control::wire::read_hello_blocking(&mut stream).unwrap();
    stream.write_all(cookie.bytes()).unwrap();
    let verdict = Verdict::read(&mut stream).unwrap();
    (stream, verdict)
}

/// Connects as a client that is let in.
fn greeted(socket: &Path) -> UnixStream {
    let (stream, verdict) = greet(socket, &written(socket));
    assert_eq!(verdict, Verdict::Admitted);
    stream
}

/// Returns the cookie that is in the file.
fn written(socket: &Path) -> Cookie {
    cookie::read(&cookie::path(socket)).unwrap()
}

/// Reads until the daemon has closed the connection, which it must.
#[track_caller]
fn is_hung_up(mut stream: UnixStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let ended = stream.read_to_end(&mut Vec::new());
    let late = ended.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    assert!(!late, "the connection is still open");
}

#[test]
fn the_socket_is_for_its_owner_alone() {
    let scene = Scene::new();
    let mode = |path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(scene.daemon.socket()), 0o600);
    assert_eq!(mode(cookie::path(&scene.daemon.socket())), 0o600);
}

#[test]
fn the_socket_is_for_a_group_if_one_is_configured() {
    let (own, name) = (nix::unistd::getegid(), nix::unistd::Group::from_gid);
    let name = name(own).unwrap().unwrap().name;
    let scene = Scene::with(|builder| builder.set("control_group", &format!("{name:?}")));
    let about = fs::metadata(scene.daemon.socket()).unwrap();
    assert_eq!(about.mode() & 0o777, 0o660);
    assert_eq!(about.gid(), own.as_raw());
    let about = fs::metadata(cookie::path(&scene.daemon.socket())).unwrap();
    assert_eq!(about.mode() & 0o777, 0o640);
    assert_eq!(about.gid(), own.as_raw());
}

/// Asserts that `proxyctl status` fails with status 1, and says all these words.
#[track_caller]
fn refused(scene: &Scene, words: &[&str]) {
    let outcome = scene.daemon.ctl(&["status"]);
    assert_eq!(outcome.code(), 1, "{outcome:#?}");
    let cookie = cookie::path(&scene.daemon.socket());
    for word in words.iter().copied().chain(cookie.to_str()) {
        assert!(outcome.stderr.contains(word), "{word}: {outcome:#?}");
    }
}

#[test]
fn a_client_without_the_cookie_is_refused_until_hup_writes_it_again() {
    let mut scene = Scene::new();
    let file = cookie::path(&scene.daemon.socket());
    let own = written(&scene.daemon.socket());
    fs::remove_file(&file).unwrap();
    refused(&scene, &["is not there", "mount the folder", "HUP"]);
    scene.daemon.signal(Signal::SIGHUP);
    until("it writes its cookie again", || {
        scene.daemon.ctl(&["status"]).is_success()
    });
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    let log = scene.daemon.log();
    assert!(log.contains("cookie was written again"), "{log}");
    let text = fs::read_to_string(&file).unwrap();
    assert!(!log.contains(text.trim()));
    assert!(own.is(&written(&scene.daemon.socket())));
    scene.daemon.signal(Signal::SIGTERM);
    assert!(scene.daemon.wait_exit(PATIENCE).success());
    assert!(!file.exists());
}

#[test]
fn a_client_with_another_cookie_is_refused_until_hup_writes_the_right_one() {
    let mut scene = Scene::new();
    let file = cookie::path(&scene.daemon.socket());
    fs::write(&file, "0".repeat(64)).unwrap();
    refused(&scene, &["does not hold the cookie", "HUP"]);
    fs::write(&file, "none").unwrap();
    refused(&scene, &["it holds no cookie"]);
    let log = scene.daemon.log();
    assert!(log.contains("showed another cookie"), "{log}");
    fs::write(&file, "").unwrap();
    scene.daemon.signal(Signal::SIGHUP);
    until("it writes its cookie again", || {
        scene.daemon.ctl(&["status"]).is_success()
    });
}

#[test]
fn a_process_of_a_workers_process_group_is_refused_although_it_has_the_cookie() {
    let scene = Scene::new();
    let worker = scene.daemon.workers()[0];
    let mut command = scene.daemon.ctl_command(&["stop"]);
    // The one way to belong to a worker without code in it.
    command.process_group(worker.try_into().unwrap());
    let outcome = run(command, PATIENCE);
    assert_eq!(outcome.code(), 1, "{outcome:#?}");
    let told = format!("child process {worker} of this daemon");
    assert!(outcome.stderr.contains(&told), "{outcome:#?}");
    let log = scene.daemon.log();
    assert!(log.contains("WARN") && log.contains(&told), "{log}");
    scene.shows(&scene.old);
}

#[test]
fn each_start_has_a_cookie_of_its_own() {
    let mut scene = Scene::new();
    let socket = scene.daemon.socket();
    let before = written(&socket);
    // It is left behind, and taken over.
    scene.daemon.signal(Signal::SIGKILL);
    scene.daemon.wait_exit(PATIENCE);
    assert!(written(&socket).is(&before));
    scene.daemon.start();
    let (stream, verdict) = greet(&socket, &before);
    assert!(matches!(verdict, Verdict::WrongCookie(_)), "{verdict:?}");
    is_hung_up(stream);
    greeted(&socket);
}

#[test]
fn a_client_that_reaches_the_socket_by_a_link_finds_the_cookie() {
    let scene = Scene::new();
    let link = scene.daemon.path("link.sock");
    std::os::unix::fs::symlink(scene.daemon.socket(), &link).unwrap();
    assert_eq!(ctl(&link, &["status"]).code(), 0);
}

#[test]
fn a_cookie_that_a_user_may_not_read_is_told_with_those_who_may() {
    let Ok(Some(group)) = nix::unistd::Group::from_name("daemon") else {
        return skip("there is no group `daemon`");
    };
    if as_nobody(group.gid.as_raw()).is_none() {
        return;
    }
    let scene = Scene::with(|builder| builder.set("control_group", "\"daemon\""));
    let socket = scene.daemon.socket();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let told = |group: u32| {
        let mut command = as_nobody(group).unwrap();
        command.arg("--socket").arg(&socket).arg("status");
        let outcome = run(command, PATIENCE);
        assert_eq!(outcome.code(), 1, "{outcome:#?}");
        assert!(outcome.stderr.contains("uid 65534"), "{outcome:#?}");
        outcome.stderr
    };
    let stranger = told(NOBODY);
    assert!(
        stranger.contains("a member of the group daemon"),
        "{stranger}"
    );
    fs::set_permissions(cookie::path(&socket), fs::Permissions::from_mode(0o600)).unwrap();
    let member = told(group.gid.as_raw());
    assert!(member.contains("run as root, as uid "), "{member}");
}

#[test]
fn a_container_that_has_the_socket_alone_is_told_to_mount_the_folder() {
    let scene = Scene::new();
    let outside = tempfile::tempdir().unwrap();
    let mounted = outside.path().join("proxyd.sock");
    fs::write(&mounted, "").unwrap();
    let script = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
    let mut command = program::clean_command("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(scene.daemon.socket())
        .arg(&mounted);
    let mut probe = program::clean_command("unshare");
    probe.args(["--mount", "true"]);
    if !probe.output().is_ok_and(|output| output.status.success()) {
        return skip("only root may mount, outside of containers");
    }
    command
        .arg(env!("CARGO_BIN_EXE_proxyctl"))
        .arg("--socket")
        .arg(&mounted)
        .arg("status");
    let outcome = run(command, PATIENCE);
    assert_eq!(outcome.code(), 1);
    let told = &outcome.stderr;
    assert!(
        told.contains("proxyd.sock.cookie") && told.contains("mount the folder"),
        "{told}"
    );
}

#[test]
fn a_stranger_is_refused_even_if_the_socket_is_open_to_all() {
    let scene = Scene::new();
    let socket = scene.daemon.socket();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let Some(mut command) = as_nobody(NOBODY) else {
        return;
    };
    command.arg("--socket").arg(&socket).arg("stop");
    let outcome = run(command, PATIENCE);
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stderr.contains("65534"), "{outcome:#?}");
    scene.shows(&scene.old);
}

#[test]
fn a_stranger_is_told_that_the_socket_is_not_for_them() {
    let scene = Scene::new();
    let socket = scene.daemon.socket();
    let Some(mut command) = as_nobody(NOBODY) else {
        return;
    };
    command.arg("--socket").arg(&socket).arg("status");
    let outcome = run(command, PATIENCE);
    assert_eq!(outcome.code(), 3);
    assert!(
        outcome.stderr.contains(socket.to_str().unwrap()),
        "{outcome:#?}"
    );
}

#[test]
fn a_member_of_the_group_may_ask() {
    let scene = Scene::prepare(|builder| builder.set("control_group", "\"daemon\""));
    let Ok(Some(group)) = nix::unistd::Group::from_name("daemon") else {
        return skip("there is no group `daemon`");
    };
    let Some(mut command) = as_nobody(group.gid.as_raw()) else {
        return;
    };
    let mut scene = scene;
    scene.daemon.start();
    command
        .arg("--socket")
        .arg(scene.daemon.socket())
        .arg("status");
    assert_eq!(run(command, PATIENCE).code(), 0);
}

#[test]
fn a_message_of_four_gibibytes_is_not_waited_for() {
    let scene = Scene::new();
    let mut stream = greeted(&scene.daemon.socket());
    stream.write_all(&u32::MAX.to_be_bytes()).unwrap();
    is_hung_up(stream);
    let resident = process::status_line(scene.daemon.pid(), "VmRSS").unwrap();
    let resident: u64 = resident.trim_end_matches(" kB").parse().unwrap();
    assert!(resident < 500_000, "{resident} kB");
    scene.daemon.status();
}

#[test]
fn half_a_message_is_given_up() {
    let scene = Scene::new();
    let mut stream = greeted(&scene.daemon.socket());
    stream.write_all(&[0, 0, 0, 9, 1]).unwrap();
    is_hung_up(stream);
    scene.daemon.status();
}

#[test]
fn garbage_is_given_up() {
    let scene = Scene::new();
    let socket = scene.daemon.socket();
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: proxyd\r\n\r\n")
        .unwrap();
    is_hung_up(stream);
    let mut stream = greeted(&socket);
    stream
        .write_all(&[0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff])
        .unwrap();
    is_hung_up(stream);
    scene.daemon.status();
}

#[test]
fn a_peer_of_another_version_is_told_ours_and_given_up() {
    let scene = Scene::new();
    let mut stream = UnixStream::connect(scene.daemon.socket()).unwrap();
    let theirs = Hello {
        protocol: 999,
        version: "9.9.9".to_owned(),
    };
    stream.write_all(&theirs.to_bytes()).unwrap();
    let ours = proxyd::control::wire::read_hello_blocking(&mut stream).unwrap();
    assert_eq!(ours, Hello::ours());
    is_hung_up(stream);
    scene.daemon.status();
}

#[test]
fn many_idle_connections_keep_nobody_out() {
    let scene = Scene::new();
    let idle: Vec<UnixStream> = (0..300)
        .map(|_| UnixStream::connect(scene.daemon.socket()).unwrap())
        .collect();
    scene.daemon.status();
    drop(idle);
    scene.daemon.status();
}

#[test]
fn an_asker_who_goes_before_the_answer_harms_nobody() {
    let scene = Scene::new();
    for _ in 0..20 {
        let mut stream = greeted(&scene.daemon.socket());
        // A status, whose answer is not waited for.
        stream.write_all(&[0, 0, 0, 1, 2]).unwrap();
    }
    scene.daemon.status();
}

#[test]
fn nobody_at_the_socket_is_exit_status_3() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("proxyd.sock");
    let outcome = ctl(&socket, &["status"]);
    assert_eq!(outcome.code(), 3);
    assert!(
        outcome.stderr.contains(socket.to_str().unwrap()),
        "{outcome:#?}"
    );
    drop(UnixListener::bind(&socket).unwrap());
    assert_eq!(ctl(&socket, &["status"]).code(), 3);
}

/// Answers one connection with these bytes, and reads what comes.
fn impostor(bytes: Vec<u8>) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("proxyd.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&bytes).unwrap();
        // It goes away when it has seen enough.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    (folder, socket)
}

#[test]
fn somebody_else_at_the_socket_is_exit_status_3() {
    let (_folder, socket) = impostor(b"220 mail.example.com ESMTP\r\n".to_vec());
    assert_eq!(ctl(&socket, &["status"]).code(), 3);
}

#[test]
fn a_daemon_of_another_version_is_exit_status_4() {
    let theirs = Hello {
        protocol: 999,
        version: "9.9.9".to_owned(),
    };
    let (_folder, socket) = impostor(theirs.to_bytes());
    let outcome = ctl(&socket, &["status"]);
    assert_eq!(outcome.code(), 4);
    assert!(outcome.stderr.contains("9.9.9"), "{outcome:#?}");
}

#[test]
fn a_daemon_that_does_not_answer_is_exit_status_3() {
    let (_folder, socket) = impostor(Vec::new());
    let outcome = ctl(&socket, &["--timeout", "300ms", "status"]);
    assert_eq!(outcome.code(), 3);
}

#[test]
fn arguments_that_make_no_sense_are_exit_status_2() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("proxyd.sock");
    for arguments in [
        &["frobnicate"][..],
        &["status", "--frobnicate"],
        &["set-on-exit-failure"],
        &["check", "--warn", "soon"],
        &["reload-tls", "--timeout", "soon"],
        &[],
    ] {
        assert_eq!(ctl(&socket, arguments).code(), 2, "{arguments:?}");
    }
}
