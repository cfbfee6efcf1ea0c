//! The control socket: who may use it, and what a hostile or broken peer can do there.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::Path,
    process::Command,
    thread,
};

use proxyd::control::wire::Hello;

use crate::support::{
    PATIENCE, process,
    program::{self, NOBODY, Outcome, run},
    scene::Scene,
    skip,
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

/// Connects as a client that speaks the right protocol, and reads the daemon's hello.
fn greeted(socket: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&Hello::ours().to_bytes()).unwrap();
    proxyd::control::wire::read_hello_blocking(&mut stream).unwrap();
    stream
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
    let mode = fs::metadata(scene.daemon.socket()).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_socket_is_for_a_group_if_one_is_configured() {
    let (own, name) = (nix::unistd::getegid(), nix::unistd::Group::from_gid);
    let name = name(own).unwrap().unwrap().name;
    let scene = Scene::with(|builder| builder.set("control_group", &format!("{name:?}")));
    let about = fs::metadata(scene.daemon.socket()).unwrap();
    assert_eq!(about.mode() & 0o777, 0o660);
    assert_eq!(about.gid(), own.as_raw());
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
