use std::{
    fs::{self, Permissions},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{
    PATIENCE,
    builder::Builder,
    client::connect,
    configuration::Listener,
    daemon::TestDaemon,
    eventually,
    names::{NameServer, Says, has_own_names, lead_to},
    process::{self, resolver},
    until,
};

const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const OTHER: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Looks up a name as this process does it; returns its addresses in their order.
fn lookup(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = (name, 0).to_socket_addrs();
    let mut found: Vec<_> = found
        .map_err(|error| error.to_string())?
        .map(|it| it.ip())
        .collect();
    found.sort();
    Ok(found)
}

#[test]
fn the_name_server_of_the_tests_does_as_it_is_told() {
    if !has_own_names("names::the_name_server_of_the_tests_does_as_it_is_told") {
        return;
    }
    give_up_soon();
    let server = NameServer::start();
    let no_name = "Name or service not known";
    assert!(lookup("db.test").unwrap_err().contains(no_name));
    server.set("db.test", Says::Addresses(vec![FIRST, OTHER, SECOND]));
    assert_eq!(lookup("db.test"), Ok(vec![FIRST, SECOND, OTHER]));
    server.set(
        "db.test",
        Says::Late(Duration::from_millis(300), vec![SECOND]),
    );
    assert_eq!(lookup("db.test"), Ok(vec![SECOND]));
    let later = "Temporary failure in name resolution";
    for says in [
        Says::Nothing,
        Says::Rubbish,
        Says::Stray(vec![FIRST]),
        Says::Failure,
    ] {
        server.set("db.test", says.clone());
        let told = lookup("db.test").unwrap_err();
        assert!(told.contains(later), "{says:?}: {told}");
    }
    assert!(server.asked("db.test") >= 7);
    lead_to(Path::new("/run/connman/resolv.conf"));
    server.set("db.test", Says::Addresses(vec![FIRST]));
    assert_eq!(lookup("db.test"), Ok(vec![FIRST]));
}

/// Has lookups without an answer end after a second.
fn give_up_soon() {
    let quick = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
    fs::write("/etc/resolv.conf", quick).unwrap();
}

/// A listener that clients may use without TLS.
fn listener(name: &str, backend: &str) -> Listener {
    Listener::tcp(name, backend).line("tls = { mode = \"preferred\" }")
}

/// Returns the address of the backend that is there anyway, by a name.
fn by_name(builder: &Builder, name: &str) -> String {
    let address = builder.backend().address();
    let (_, port) = address.rsplit_once(':').unwrap();
    format!("{name}:{port}")
}

/// Starts a daemon in front of the backend that is there anyway, known by this name.
fn start(name: &str) -> TestDaemon {
    let builder = TestDaemon::builder().set("heartbeat_timeout", "\"2s\"");
    let backend = by_name(&builder, name);
    builder.listener(listener("main", &backend)).start()
}

/// Opens a session and sends a line; returns what comes back until there is a line, or the end.
fn echoed(address: SocketAddr) -> String {
    let mut stream = connect(address).unwrap();
    stream.write_all(b"hello\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

fn last_error(daemon: &TestDaemon, listener: usize) -> String {
    let status = daemon.status();
    let error = &status["listeners"][listener]["backends"][0]["last_error"];
    error.as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_name_without_an_answer_takes_one_thread_and_delays_no_other_name() {
    if !has_own_names("names::a_name_without_an_answer_takes_one_thread_and_delays_no_other_name") {
        return;
    }
    let server = NameServer::start();
    server.set("dead.test", Says::Nothing);
    server.set("good.test", Says::Addresses(vec![FIRST]));
    let builder = TestDaemon::builder();
    let good = by_name(&builder, "good.test");
    let daemon = builder
        .listener(listener("good", &good))
        .listener(listener("dead", "dead.test:1"))
        .start();
    let (asked, address) = (server.asked("dead.test"), daemon.address_of("dead"));
    let sessions: Vec<_> = (0..700)
        .map(|_| {
            let mut stream = connect(address).unwrap();
            stream.write_all(b"hello\n").unwrap();
            stream
        })
        .collect();
    until("the name is looked up", || {
        server.asked("dead.test") > asked
    });
    let began = Instant::now();
    assert_eq!(echoed(daemon.address_of("good")), "hello\n");
    assert!(began.elapsed() < Duration::from_secs(1));
    let worker = daemon.workers()[0];
    assert_eq!(threads(worker), 1, "the worker looks nothing up itself");
    assert!(
        threads(resolver(daemon.pid())) <= 3,
        "one thread for the name"
    );
    for mut session in sessions {
        assert_eq!(session.read(&mut [0; 8]).unwrap_or(0), 0);
    }
    let status = daemon.status();
    let good = &status["listeners"][0]["backends"][0];
    assert_eq!(
        (&good["healthy"], &good["failed"]),
        (&true.into(), &0.into())
    );
    let told = last_error(&daemon, 1);
    assert!(told.starts_with("its name "), "{told}");
    // The lookup still goes on, and the next session does not wait for it.
    let began = Instant::now();
    assert_eq!(echoed(address), "");
    assert!(began.elapsed() < Duration::from_secs(2));
    let told = last_error(&daemon, 1);
    assert!(told.contains("the lookup has no answer after"), "{told}");
}

#[test]
fn a_name_that_is_answered_late_or_not_at_first_is_reached() {
    if !has_own_names("names::a_name_that_is_answered_late_or_not_at_first_is_reached") {
        return;
    }
    give_up_soon();
    let server = NameServer::start();
    let late = Says::Late(Duration::from_millis(500), vec![FIRST]);
    server.set("db.test", late);
    let daemon = start("db.test");
    assert_eq!(echoed(daemon.address()), "hello\n");
    for (says, reason) in [
        (Says::NoSuchName, "Name or service not known"),
        (Says::Failure, "Temporary failure in name resolution"),
        (Says::Rubbish, "Temporary failure in name resolution"),
        (
            Says::Stray(vec![FIRST]),
            "Temporary failure in name resolution",
        ),
    ] {
        server.set("db.test", says.clone());
        until("the answer is believed", || {
            echoed(daemon.address());
            last_error(&daemon, 0).contains(reason)
        });
        server.set("db.test", Says::Addresses(vec![FIRST]));
        let began = Instant::now();
        until("the name is there again", || {
            echoed(daemon.address()) == "hello\n"
        });
        assert!(began.elapsed() < Duration::from_secs(10), "{says:?}");
    }
}

#[test]
fn a_name_that_a_reload_brings_is_reached_at_once() {
    if !has_own_names("names::a_name_that_a_reload_brings_is_reached_at_once") {
        return;
    }
    let server = NameServer::start();
    for name in ["one.test", "two.test"] {
        server.set(name, Says::Addresses(vec![FIRST]));
    }
    let mut daemon = start("one.test");
    assert_eq!(echoed(daemon.address()), "hello\n");
    let address = daemon.address();
    daemon.reconfigure(|it| {
        let backend = it.listener("main").backend.replace("one", "two");
        it.listener("main").backend = backend;
    });
    assert!(daemon.ctl(&["reload"]).is_success());
    assert_eq!(echoed(address), "hello\n");
    assert!(server.asked("two.test") > 0);
}

#[test]
fn sessions_that_open_while_the_resolver_is_killed_are_served() {
    if !has_own_names("names::sessions_that_open_while_the_resolver_is_killed_are_served") {
        return;
    }
    let server = NameServer::start();
    server.set("db.test", Says::Late(Duration::from_secs(1), vec![FIRST]));
    let daemon = start("db.test");
    let (address, mut asked) = (daemon.address(), server.asked("db.test"));
    let session = thread::spawn(move || echoed(address));
    for _ in 0..2 {
        until("the name is looked up", || server.asked("db.test") > asked);
        asked = server.asked("db.test");
        assert!(process::send(resolver(daemon.pid()), Signal::SIGKILL));
    }
    assert_eq!(session.join().unwrap(), "hello\n");
    let events = daemon.events();
    let told = events.iter().filter(|it| it["kind"] == "helper-failed");
    assert_eq!(told.count(), 2);
    assert_eq!(daemon.status()["restarts"]["total"], 0);
}

#[test]
fn a_session_that_opens_during_a_drain_is_served_by_the_next_resolver() {
    if !has_own_names("names::a_session_that_opens_during_a_drain_is_served_by_the_next_resolver") {
        return;
    }
    let server = NameServer::start();
    server.set("db.test", Says::Late(Duration::from_secs(2), vec![FIRST]));
    let mut daemon = start("db.test");
    let (address, asked) = (daemon.address(), server.asked("db.test"));
    let session = thread::spawn(move || echoed(address));
    until("the name is looked up", || server.asked("db.test") > asked);
    let asked = server.asked("db.test");
    daemon.signal(Signal::SIGTERM);
    until("the worker accepts no more", || connect(address).is_err());
    assert!(process::send(resolver(daemon.pid()), Signal::SIGKILL));
    until("the name is looked up again", || {
        server.asked("db.test") > asked
    });
    assert_eq!(session.join().unwrap(), "hello\n");
    assert!(daemon.wait_exit(PATIENCE).success());
}

#[test]
fn a_resolver_that_hangs_is_replaced() {
    if !has_own_names("names::a_resolver_that_hangs_is_replaced") {
        return;
    }
    let server = NameServer::start();
    server.set("db.test", Says::Addresses(vec![FIRST]));
    let daemon = start("db.test");
    let before = resolver(daemon.pid());
    assert!(process::send(before, Signal::SIGSTOP));
    assert_eq!(echoed(daemon.address()), "hello\n");
    assert_ne!(resolver(daemon.pid()), before);
    assert!(
        daemon
            .log()
            .contains("the resolver has sent no sign of life")
    );
}

#[test]
fn a_resolv_conf_that_leads_elsewhere_is_followed_when_it_does_and_when_it_changes() {
    if !has_own_names(
        "names::a_resolv_conf_that_leads_elsewhere_is_followed_when_it_does_and_when_it_changes",
    ) {
        return;
    }
    let server = NameServer::start();
    server.set("db.test", Says::Addresses(vec![FIRST]));
    lead_to(Path::new("/run/connman/resolv.conf"));
    let daemon = start("db.test");
    assert_eq!(echoed(daemon.address()), "hello\n");
    lead_to(Path::new("/run/elsewhere/resolv.conf"));
    fs::remove_dir_all("/run/connman").unwrap();
    let before = resolver(daemon.pid());
    until("another resolver is there", || {
        resolver(daemon.pid()) != before
    });
    until("it reaches the name server", || {
        echoed(daemon.address()) == "hello\n"
    });
    let failed = daemon.events();
    assert!(failed.iter().all(|it| it["kind"] != "helper-failed"));
}

#[test]
fn a_hosts_file_that_replaces_another_is_read_within_two_seconds() {
    if !has_own_names("names::a_hosts_file_that_replaces_another_is_read_within_two_seconds") {
        return;
    }
    let _server = NameServer::start();
    let daemon = start("db.test");
    assert_eq!(echoed(daemon.address()), "");
    let hosts = fs::read_to_string("/etc/hosts").unwrap();
    fs::write("/etc/hosts.new", format!("{hosts}127.0.0.1 db.test\n")).unwrap();
    fs::rename("/etc/hosts.new", "/etc/hosts").unwrap();
    let began = Instant::now();
    until("the name is found", || {
        echoed(daemon.address()) == "hello\n"
    });
    assert!(began.elapsed() < Duration::from_secs(2));
    let failed = daemon.events();
    assert!(failed.iter().all(|it| it["kind"] != "helper-failed"));
}

#[test]
fn a_unix_backend_sees_the_workers_user() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().join("db");
    let backend = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    let address = format!("unix:{}", path.display());
    let daemon = TestDaemon::builder()
        .listener(listener("main", &address))
        .start();
    let mut client = connect(daemon.address()).unwrap();
    client.write_all(b"hello").unwrap();
    backend.set_nonblocking(true).unwrap();
    let (mut session, _) = eventually("the backend is reached", PATIENCE, || backend.accept().ok());
    session.set_nonblocking(false).unwrap();
    let mut heard = [0; 5];
    session.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    let user = rustix::net::sockopt::socket_peercred(&session).unwrap().uid;
    let worker = process::status_line(daemon.workers()[0], "Uid").unwrap();
    let expected = worker.split_whitespace().next().unwrap();
    assert_eq!(user.as_raw().to_string(), expected);
}
