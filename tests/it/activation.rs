//! Sockets that systemd passes, as a test passes them: it keeps a copy of each, so that no port is ever closed.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
};

use nix::sys::signal::Signal;

use crate::{
    support::{
        PATIENCE,
        builder::Builder,
        client::{Client, connect},
        configuration::Listener,
        daemon::TestDaemon,
        passing::Passing,
        ports::free_port,
        process,
        scene::Scene,
    },
    upgrade::programs::Programs,
};

/// The name that systemd gives the sockets of a unit that names none.
const UNIT: &str = "proxyd.socket";

fn listening(at: &str) -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind(at).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Adds a listener `main` at `address`.
fn at(builder: Builder, address: &str) -> Builder {
    let listener = Listener::tcp("main", &builder.backend().address());
    builder.listener(listener.bind(address))
}

/// Prepares a daemon of two workers with a listener whose socket is passed.
fn prepared(socket: &TcpListener, change: impl FnOnce(Builder) -> Builder) -> Scene {
    let address = socket.local_addr().unwrap().to_string();
    Scene::prepare(|it| at(change(it.workers(2)), &address).passing(UNIT, socket))
}

/// Has a client talk.
#[track_caller]
fn is_served(scene: &Scene, address: SocketAddr) {
    let mut session = Client::new(&scene.ca).connect(address).unwrap();
    session.echo("hello").unwrap();
}

/// Has a client talk before each worker is killed, and once more with those that come in their places.
#[track_caller]
fn is_served_whichever_worker_dies(scene: &Scene, address: SocketAddr) {
    for worker in scene.daemon.workers() {
        is_served(scene, address);
        process::send(worker, Signal::SIGKILL);
    }
    is_served(scene, address);
}

fn kill_supervisor(daemon: &mut TestDaemon) {
    daemon.signal(Signal::SIGKILL);
    daemon.wait_exit(PATIENCE);
}

#[test]
fn a_socket_that_is_passed_is_served_by_all_workers_and_clients_wait_in_it_while_no_daemon_runs() {
    let (socket, address) = listening("127.0.0.1:0");
    let mut scene = prepared(&socket, |it| it);
    scene.daemon.start();
    assert_eq!(scene.daemon.address(), address);
    is_served_whichever_worker_dies(&scene, address);
    scene.daemon.ctl(&["stop"]).answer();
    scene.daemon.wait_exit(PATIENCE);
    let waiting = connect(address).unwrap();
    scene.daemon.start();
    let mut session = Client::new(&scene.ca).over(waiting).unwrap();
    session.echo("hello").unwrap();
    let log = scene.daemon.log();
    let accepted = "clients are accepted from a socket that systemd passes";
    assert_eq!(log.matches(accepted).count(), 2, "{log}");
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn sessions_and_the_socket_outlive_the_supervisor_and_an_upgrade() {
    let Some(programs) = Programs::new() else {
        return;
    };
    let (old, new) = (programs.daemon("proxyd"), programs.daemon("next"));
    let (socket, address) = listening("127.0.0.1:0");
    let mut scene = prepared(&socket, |it| it.program(&old));
    scene.daemon.start();
    let knocker = scene.knock();
    let mut session = Client::new(&scene.ca).connect(address).unwrap();
    session.echo("before").unwrap();
    kill_supervisor(&mut scene.daemon);
    session.echo("meanwhile").unwrap();
    scene.daemon.start();
    session.echo("after").unwrap();
    let path = new.to_str().unwrap();
    let answer = scene.daemon.json(&["upgrade", "--binary", path]);
    assert_eq!(answer["upgraded"], true, "{answer}");
    session.echo("with the other program").unwrap();
    is_served(&scene, address);
    kill_supervisor(&mut scene.daemon);
    scene.daemon.start();
    session.echo("again").unwrap();
    is_served(&scene, address);
    knocker.was_never_refused();
    assert_eq!(scene.daemon.status()["sessions"]["lost_total"], 0);
}

#[test]
fn a_listener_that_a_reload_takes_away_leaves_its_socket_open_and_gets_it_back_by_another() {
    let (socket, address) = listening("127.0.0.1:0");
    let mut scene = prepared(&socket, |it| it);
    scene.daemon.start();
    scene
        .daemon
        .reconfigure(|it| it.listeners[0].bind = "127.0.0.1:0".to_owned());
    scene.daemon.ctl(&["reload"]).answer();
    let log = scene.daemon.log();
    let told = format!("clients are no longer accepted at {address}");
    assert!(log.contains(&told), "{log}");
    let waiting = connect(address).unwrap();
    is_served(&scene, scene.daemon.address());
    scene
        .daemon
        .reconfigure(|it| it.listeners[0].bind = address.to_string());
    scene.daemon.ctl(&["reload"]).answer();
    let mut session = Client::new(&scene.ca).over(waiting).unwrap();
    session.echo("hello").unwrap();
}

#[test]
fn workers_go_on_with_a_socket_whose_unit_was_stopped_and_so_does_the_next_supervisor() {
    let (socket, address) = listening("127.0.0.1:0");
    let mut scene = prepared(&socket, |it| it);
    scene.daemon.start();
    *scene.daemon.passing() = Passing::default();
    drop(socket);
    for _ in 0..2 {
        kill_supervisor(&mut scene.daemon);
        scene.daemon.start();
        is_served_whichever_worker_dies(&scene, address);
    }
    scene.daemon.ctl(&["stop"]).answer();
    scene.daemon.wait_exit(PATIENCE);
    assert!(connect(address).is_err(), "it is the daemon's own now");
}

#[test]
fn a_socket_that_a_worker_shut_down_before_its_supervisor_died_listens_again() {
    // One that the kernel chose is lost with the end of listening.
    let (socket, address) = listening(&format!("127.0.0.1:{}", free_port()));
    let mut scene = prepared(&socket, |it| it);
    rustix::net::shutdown(&socket, rustix::net::Shutdown::Both).unwrap();
    scene.daemon.start();
    is_served(&scene, address);
}

#[test]
fn what_no_listener_has_is_told_and_never_accepted_from() {
    let (socket, address) = listening("127.0.0.1:0");
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let scene = Scene::with(|it| {
        at(it, "127.0.0.1:0")
            .passing(UNIT, &socket)
            .passing("datagrams", &datagrams)
    });
    let log = scene.daemon.log();
    for told in [
        &format!("systemd passes a socket at {address} (\"{UNIT}\") that no listener has"),
        "systemd passes a descriptor \"datagrams\" that is not used: it is a datagram socket",
    ] {
        assert!(log.contains(told), "{log}");
    }
    let _waiting = connect(address).unwrap();
    is_served(&scene, scene.daemon.address());
    // The client is still in the queue.
    socket.set_nonblocking(true).unwrap();
    socket.accept().unwrap();
}

#[test]
fn a_socket_is_found_by_its_name_too() {
    let (socket, address) = listening("127.0.0.1:0");
    let scene = Scene::with(|it| at(it, "127.0.0.2:0").passing("main", &socket));
    assert_eq!(scene.daemon.address(), address);
    is_served(&scene, address);
}

#[test]
fn a_socket_that_a_listener_has_by_its_name_is_given_to_no_other_by_its_address() {
    let (socket, address) = listening("127.0.0.1:0");
    let mut scene = Scene::with(|it| at(it, "127.0.0.2:0").passing("main", &socket));
    let backend = scene.daemon.backend.address();
    let second = Listener::tcp("second", &backend).bind(&address.to_string());
    scene.daemon.reconfigure(|it| it.listeners.push(second));
    let outcome = scene.daemon.ctl(&["reload"]);
    assert_eq!(outcome.code(), 1);
    let told = "listener \"main\" has the socket that systemd passes for this address";
    assert!(outcome.stderr.contains(told), "{outcome:#?}");
    is_served(&scene, address);
    scene
        .daemon
        .reconfigure(|it| it.listeners.retain(|it| it.name != "main"));
    scene.daemon.ctl(&["reload"]).answer();
    assert_eq!(scene.daemon.address_of("second"), address);
    is_served(&scene, address);
}

#[test]
fn sockets_that_cannot_be_used_as_they_are_keep_the_daemon_from_starting() {
    let (socket, address) = listening("0.0.0.0:0");
    let bind = format!("127.0.0.1:{}", address.port());
    let overlapping = Scene::prepare(|it| at(it, &bind).passing(UNIT, &socket));
    let told = overlapping.daemon.run(&[]).complaint();
    let expected = format!("cannot listen on {bind}: systemd listens at {address}");
    assert!(told.contains(&expected), "{told}");
    let (one, address) = listening("127.0.0.1:0");
    let bind = address.to_string();
    let two = Scene::prepare(|it| at(it, &bind).passing(UNIT, &one).passing(UNIT, &one));
    let told = two.daemon.run(&[]).complaint();
    assert!(told.contains("systemd passes 2 sockets for it"), "{told}");
}

#[test]
fn the_file_of_a_unix_socket_that_is_passed_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("front.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let bind = format!("unix:{}", path.display());
    let mut scene = Scene::prepare(|it| at(it.workers(2), &bind).passing(UNIT, &socket));
    scene.daemon.start();
    answers(&path).unwrap();
    scene
        .daemon
        .reconfigure(|it| it.listeners[0].bind = "127.0.0.1:0".to_owned());
    scene.daemon.ctl(&["reload"]).answer();
    assert!(path.exists());
    scene.daemon.reconfigure(|it| it.listeners[0].bind = bind);
    scene.daemon.ctl(&["reload"]).answer();
    answers(&path).unwrap();
    scene.daemon.ctl(&["stop"]).answer();
    scene.daemon.wait_exit(PATIENCE);
    assert!(path.exists());
    let waiting = UnixStream::connect(&path).unwrap();
    scene.daemon.start();
    ends(waiting).unwrap();
}

/// Returns once a daemon has refused what a client says that speaks no TLS.
fn answers(path: &Path) -> io::Result<()> {
    ends(UnixStream::connect(path)?)
}

fn ends(mut stream: UnixStream) -> io::Result<()> {
    use std::io::{Read as _, Write as _};

    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"no TLS, and long enough to be told so\n")?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        read => read.map(|_| ()),
    }
}

#[test]
fn an_upgrade_does_not_bind_what_systemd_has_bound() {
    let Some(programs) = Programs::new() else {
        return;
    };
    let (old, new) = (programs.daemon("proxyd"), programs.daemon("next"));
    let (socket, address) = listening("127.0.0.1:0");
    // It is of no network of this machine (RFC 5737), so that no program can bind it here.
    let mut scene = Scene::prepare(|it| {
        let it = at(it.workers(2).program(&old), "192.0.2.1:3307");
        it.passing("main", &socket)
    });
    scene.daemon.start();
    is_served(&scene, address);
    let path = new.to_str().unwrap();
    let answer = scene.daemon.json(&["upgrade", "--binary", path]);
    assert_eq!(answer["upgraded"], true, "{answer}");
    is_served(&scene, address);
}
