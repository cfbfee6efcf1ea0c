//! A backend's name that has two addresses, in a network in which either can swallow what is sent to it.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::support::{
    backend::Backend,
    client::{Client, Session},
    configuration::Listener,
    daemon::TestDaemon,
    inside::Place,
    pki::Ca,
    skip, until,
};

/// The addresses of the name, in the order in which it resolves.
const FIRST: &str = "198.51.100.1";
const SECOND: &str = "192.0.2.2";

const HOSTS: &str = "127.0.0.1 localhost\n198.51.100.1 db.test\n192.0.2.2 db.test\n";

/// Makes a network in which nothing comes back from either address: the kernel drops what comes in
/// over loopback for an address that it does not have. Both are reached from one address, so that the
/// resolver has no reason to prefer one.
const NETWORK: &str = "
mount --bind \"$1\" /etc/hosts
ip link set lo up
ip address add 192.0.2.9/32 dev lo
ip route add 198.51.100.1/32 dev lo src 192.0.2.9
ip route add 192.0.2.2/32 dev lo src 192.0.2.9
";

/// Whether this is in such a network. Outside it runs the test of this name there, and the answer is no.
#[track_caller]
fn is_in_network(test: &str) -> bool {
    if Command::new("ip").arg("-V").output().is_err() {
        skip("a network is made by ip(8)");
        return false;
    }
    let folder = TempDir::new().unwrap();
    let hosts = folder.path().join("hosts");
    fs::write(&hosts, HOSTS).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let place = Place {
        own: &["--net", "--mount"],
        prepare: NETWORK,
        arguments: &[hosts.into()],
    };
    place.is_here(test)
}

/// Gives the machine an address, or takes it away, so that it swallows everything.
fn change(what: &str, address: &str) {
    let route = format!("route {what} local {address}/32 dev lo src 192.0.2.9 table local");
    let mut command = Command::new("ip");
    let output = command.args(route.split(' ')).output().unwrap();
    assert!(output.status.success(), "{output:#?}");
}

/// Starts a backend at an address that the machine gets for it.
fn backend_at(address: &str, port: u16) -> Backend {
    change("add", address);
    Backend::at(SocketAddr::new(address.parse().unwrap(), port))
}

fn start(port: u16, limits: &str) -> (Client, TestDaemon) {
    let ca = Ca::new("authority");
    let listener = Listener::tcp("main", &format!("db.test:{port}"));
    let daemon = TestDaemon::builder()
        .workers(1)
        .identity("default", &ca.leaf("localhost"))
        .listener(listener.line(&format!("limits = {{ {limits} }}")))
        .start();
    (Client::new(&ca), daemon)
}

/// Opens a session and sees that bytes pass.
#[track_caller]
fn served(client: &Client, daemon: &TestDaemon) -> Session {
    let mut session = client.connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
    session
}

/// Opens a session that fails, and waits until the log says so in these words.
#[track_caller]
fn failed(client: &Client, daemon: &TestDaemon, words: &[String]) {
    let mut session = client.connect(daemon.address()).unwrap();
    assert_eq!(session.rest().unwrap(), b"");
    until("the log says why", || {
        let log = daemon.log();
        let mut lines = log.lines().filter(|it| it.contains("session failed"));
        lines.any(|line| words.iter().all(|it| line.contains(it)))
    });
}

#[test]
fn an_address_that_swallows_everything_is_passed_over_and_used_again_when_it_is_back() {
    if !is_in_network(
        "addresses::an_address_that_swallows_everything_is_passed_over_and_used_again_when_it_is_back",
    ) {
        return;
    }
    let second = backend_at(SECOND, 0);
    let port = second.address().parse::<SocketAddr>().unwrap().port();
    let first = backend_at(FIRST, port);
    let limits = "connect_timeout = \"40s\", handshake_timeout = \"80s\"";
    let (client, daemon) = start(port, limits);
    served(&client, &daemon);
    assert_eq!((first.accepted(), second.accepted()), (1, 0));

    change("del", FIRST);
    let began = Instant::now();
    served(&client, &daemon);
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!((first.accepted(), second.accepted()), (1, 1));
    let down = "an address of a backend is tried last for now";
    until("it is logged", || {
        let log = daemon.log();
        let mut lines = log.lines().filter(|it| it.contains(down));
        lines.any(|it| it.contains(FIRST) && it.contains("no answer"))
    });

    // On a busy machine its pause may be over before a session comes to use it.
    until("the next session does not even try the first", || {
        change("add", FIRST);
        let before = first.accepted();
        served(&client, &daemon);
        let passed_over = first.accepted() == before;
        change("del", FIRST);
        served(&client, &daemon);
        passed_over
    });

    change("add", FIRST);
    let before = first.accepted();
    until("sessions go to the first again", || {
        served(&client, &daemon);
        first.accepted() > before
    });
    until("it is logged", || {
        daemon.log().contains("an address of a backend works again")
    });
    let status = daemon.status();
    let backend = &status["listeners"][0]["backends"][0];
    assert_eq!(
        (&backend["healthy"], &backend["failed"]),
        (&true.into(), &0.into())
    );
}

#[test]
fn when_no_address_answers_the_error_names_each_and_why() {
    if !is_in_network("addresses::when_no_address_answers_the_error_names_each_and_why") {
        return;
    }
    let (client, daemon) = start(9, "connect_timeout = \"1s\"");
    let silent = |address| format!("{address}:9: no answer within ");
    failed(&client, &daemon, &[silent(FIRST), silent(SECOND)]);
    change("add", SECOND);
    failed(
        &client,
        &daemon,
        &[silent(FIRST), format!("{SECOND}:9: refused")],
    );
}

#[test]
fn the_handshake_timeout_holds_for_all_addresses_together() {
    if !is_in_network("addresses::the_handshake_timeout_holds_for_all_addresses_together") {
        return;
    }
    let limits = "connect_timeout = \"60s\", handshake_timeout = \"1s\"";
    let (client, daemon) = start(9, limits);
    let began = Instant::now();
    let late = "the handshake timeout of 1 s passed while waiting for a connection";
    failed(
        &client,
        &daemon,
        &[FIRST.to_owned(), SECOND.to_owned(), late.to_owned()],
    );
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_name_that_does_not_resolve_fails_its_own_sessions_alone() {
    if !is_in_network("addresses::a_name_that_does_not_resolve_fails_its_own_sessions_alone") {
        return;
    }
    let second = backend_at(SECOND, 0);
    let ca = Ca::new("authority");
    let daemon = TestDaemon::builder()
        .workers(1)
        .identity("default", &ca.leaf("localhost"))
        .listener(Listener::tcp("main", "missing.test:9").or(&second.address()))
        .start();
    let client = Client::new(&ca);
    served(&client, &daemon);
    let status = daemon.status();
    let backend = &status["listeners"][0]["backends"][0];
    let error = backend["last_error"].as_str().unwrap();
    assert!(
        error.starts_with("its name cannot be resolved: "),
        "{error}"
    );
}
