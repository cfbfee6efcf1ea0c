//! What the kernel enforces on workers, seen from outside.
//!
//! That no worker is refused a system call is asserted of every daemon when its test ends.

use std::{
    fs,
    io::{Read as _, Write as _},
    process,
    time::Duration,
};

use crate::support::{
    client::{Client, Session, connect},
    configuration::Listener,
    daemon::TestDaemon,
    fake::{Fake, Heard},
    pki::Ca,
    process::status_line,
    scene::Scene,
    skip,
    wire::{OK, SSL_REQUEST, greeting, login, mysql_ssl_request, packet, read_packet, startup},
};

/// How long a daemon may take to drain.
const DRAIN: Duration = Duration::from_secs(30);

fn mysql_server() -> Fake {
    Fake::new(|connection| {
        connection.write_all(&greeting())?;
        let (seq, _) = read_packet(connection)?;
        connection.write_all(&packet(seq + 1, OK))?;
        connection.echo()
    })
}

fn mysql_session(daemon: &TestDaemon, ca: &Ca) -> Session {
    let mut socket = connect(daemon.address_of("mysql")).unwrap();
    read_packet(&mut socket).unwrap();
    let request = mysql_ssl_request();
    let session = Client::new(ca).behind(&request, usize::MAX, socket);
    let mut session = session.unwrap();
    session.send(&login(true, "somebody")).unwrap();
    assert_eq!(read_packet(&mut session).unwrap().1, OK);
    session
}

fn postgres_session(daemon: &TestDaemon, ca: &Ca) -> Session {
    let mut socket = connect(daemon.address_of("postgres")).unwrap();
    socket.write_all(SSL_REQUEST).unwrap();
    let mut answer = [0];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"S");
    let mut session = Client::new(ca).over(socket).unwrap();
    let sent = startup();
    session.send(&sent).unwrap();
    let mut echo = vec![0; sent.len()];
    session.read_exact(&mut echo).unwrap();
    assert_eq!(echo, sent);
    session
}

fn tcp_session(daemon: &TestDaemon, ca: &Ca) -> Session {
    let client = Client::new(ca);
    let mut session = client.connect(daemon.address_of("tcp")).unwrap();
    session.echo("hello").unwrap();
    session
}

#[test]
fn sessions_of_each_protocol_a_reload_and_a_drain_need_no_system_call_that_is_refused() {
    let (mysql, postgres) = (mysql_server(), Fake::new(Heard::echo));
    let mut scene = Scene::with(|builder| {
        let tcp = Listener::tcp("tcp", &builder.backend().address());
        builder
            .workers(1)
            .listener(tcp)
            .listener(Listener::tcp("mysql", &mysql.address()).protocol("mysql"))
            .listener(Listener::tcp("postgres", &postgres.address()).protocol("postgres"))
    });
    let mut sessions = Vec::new();
    for renew in [true, false] {
        sessions.push(mysql_session(&scene.daemon, &scene.ca));
        sessions.push(postgres_session(&scene.daemon, &scene.ca));
        sessions.push(tcp_session(&scene.daemon, &scene.ca));
        if renew {
            scene.renew();
            scene.reload_tls();
        }
    }
    for session in &mut sessions {
        session.finish().unwrap();
    }
    drop(sessions);
    scene.daemon.ctl(&["drain"]).answer();
    assert!(scene.daemon.wait_exit(DRAIN).success());
    let log = scene.daemon.log();
    assert!(log.contains("drained"), "{log}");
    assert!(!log.contains("was refused and failed"), "{log}");
}

#[test]
fn a_worker_is_filtered_and_can_gain_nothing_by_another_process() {
    if status_line(process::id(), "Seccomp").is_none() {
        return skip("this kernel cannot filter system calls");
    }
    let scene = Scene::new();
    let filtered = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    for worker in scene.daemon.workers() {
        let status = |name| status_line(worker, name).unwrap();
        assert_eq!(status("Seccomp"), if filtered { "2" } else { "0" });
        assert_eq!(status("NoNewPrivs"), "1");
        assert_eq!(status("Threads"), "1");
        let limits = fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
        for limit in ["Max processes", "Max file size", "Max core file size"] {
            let line = limits.lines().find_map(|line| line.strip_prefix(limit));
            let values: Vec<_> = line.unwrap().split_whitespace().take(2).collect();
            assert_eq!(values, ["0", "0"], "{limit}");
        }
    }
}
