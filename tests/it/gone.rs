//! Servers and clients, real ones, that are gone in the middle of a query or have no room.

use std::{
    io::{Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    thread,
    time::Duration,
};

use serde_json::Value;
use socket2::Socket;

use crate::support::{
    builder::Builder,
    client::{Client, connect},
    configuration::Listener,
    daemon::TestDaemon,
    fake::Fake,
    front::{Front, LEGS, TLS_LEGS, listener},
    own_server::OwnServer,
    pki::Ca,
    servers::{self, Kind, Server, Session},
    until,
    wire::{OK, SSL_REQUEST, greeting, login, mysql_ssl_request, packet, read_packet, startup},
};

fn all() -> impl Iterator<Item = Server> {
    [servers::mariadb(), servers::mysql(), servers::postgres()]
        .into_iter()
        .flatten()
}

/// What a query says that the server is busy with, and how it is told from others.
fn long_query(server: &Server, mark: &str) -> String {
    match server.kind {
        Kind::Mariadb | Kind::Mysql => format!("SELECT SLEEP(60), '{mark}'"),
        // Servers do not look whether their client is still there unless they are told to.
        Kind::Postgres => {
            format!("SET client_connection_check_interval = '100ms'; SELECT pg_sleep(60), '{mark}'")
        }
    }
}

/// Whether the server is busy with a query that says so, asked past the proxy.
fn runs(server: &Server, mark: &str) -> bool {
    let sql = match server.kind {
        Kind::Mariadb | Kind::Mysql => format!(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
             WHERE INFO LIKE 'SELECT SLEEP%{mark}%' AND ID <> CONNECTION_ID()"
        ),
        Kind::Postgres => format!(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%{mark}%' \
             AND state = 'active' AND pid <> pg_backend_pid()"
        ),
    };
    server.client().run(&sql).answer() != "0"
}

/// Begins a query over a leg, and returns its client once the server is busy with it.
fn begin(front: &Front, server: &Server, leg: &str, mark: &str) -> Session {
    let client = front.client(server, leg);
    let bound = server.kind == Kind::Postgres && TLS_LEGS.contains(&leg);
    let client = if bound {
        client.option("channel_binding=disable")
    } else {
        client
    };
    let mut session = client.open();
    session.ask("SELECT 1").unwrap();
    session.tell(&long_query(server, mark));
    until("the server is busy with the query", || runs(server, mark));
    session
}

/// Waits until nobody is connected any more.
fn settle(front: &Front) {
    front
        .daemon
        .await_status("all sessions are over", |status| {
            let listeners = status["listeners"].as_array().unwrap();
            listeners.iter().all(|it| it["connections"]["open"] == 0)
        });
}

#[test]
fn a_client_that_is_gone_in_the_middle_of_a_query_is_gone_for_the_server_too() {
    for server in all() {
        let front = Front::new(&server);
        let mark = format!("gone {}", front.port("plain"));
        let sessions = LEGS.map(|leg| begin(&front, &server, leg, &format!("{mark} {leg}")));
        // They are killed.
        drop(sessions);
        settle(&front);
        until("the server has ended the queries", || !runs(&server, &mark));
    }
}

/// Nobody can tell whether who has ended one direction is still there; of databases' clients none is.
#[test]
fn a_client_that_is_gone_keeps_no_place_where_the_server_says_nothing_about_it() {
    let mysql = Fake::new(|connection| {
        connection.write_all(&greeting())?;
        let (seq, _) = read_packet(connection)?;
        connection.write_all(&packet(seq + 1, OK))?;
        thread::park();
        Ok(())
    });
    let postgres = Fake::new(|connection| {
        connection.take(startup().len())?;
        connection.write_all(b"R\0\0\0\x08\0\0\0\0")?;
        thread::park();
        Ok(())
    });
    let any = Fake::new(|_| {
        thread::park();
        Ok(())
    });
    let ca = Ca::new("authority");
    let listener = |name: &str, backend: &Fake| Listener::tcp(name, &backend.address());
    let daemon = TestDaemon::builder()
        .identity("default", &ca.leaf("localhost"))
        .listener(listener("mysql", &mysql).protocol("mysql"))
        .listener(listener("postgres", &postgres).protocol("postgres"))
        .listener(listener("tcp", &any))
        .start();
    let client = Client::new(&ca);
    let address = |name: &str| daemon.address_of(name);
    let mut socket = connect(address("mysql")).unwrap();
    read_packet(&mut socket).unwrap();
    let request = mysql_ssl_request();
    let mut session = client.behind(&request, usize::MAX, socket).unwrap();
    session.send(&login(true, "somebody")).unwrap();
    read_packet(&mut session).unwrap();
    let mut socket = connect(address("postgres")).unwrap();
    socket.write_all(SSL_REQUEST).unwrap();
    socket.read_exact(&mut [0]).unwrap();
    let mut other = client.over(socket).unwrap();
    other.send(&startup()).unwrap();
    other.read_exact(&mut [0; 9]).unwrap();
    let third = client.connect(address("tcp")).unwrap();
    let open = |status: &Value| {
        let listeners = status["listeners"].as_array().unwrap().iter();
        listeners
            .map(|it| it["connections"]["open"].as_u64().unwrap())
            .sum::<u64>()
    };
    daemon.await_status("all are there", |status| open(status) == 3);
    // No goodbye: they are killed.
    drop((session, other, third));
    daemon.await_status("none is there", |status| open(status) == 0);
}

/// The end of a client stands behind what it sent, where nobody comes upon it.
#[test]
fn a_client_that_is_gone_in_the_middle_of_an_upload_that_is_stuck_keeps_no_place() {
    let backend = Fake::new(|connection| {
        connection.write_all(&greeting())?;
        let (seq, _) = read_packet(connection)?;
        connection.write_all(&packet(seq + 1, OK))?;
        thread::park();
        Ok(())
    });
    let listener = |name: &str| {
        Listener::tcp(name, &backend.address())
            .protocol("mysql")
            .line("tls = { mode = \"preferred\" }")
            .line("limits = { idle_timeout = \"0s\" }")
    };
    let builder = TestDaemon::builder();
    let path = builder.folder().join("mysql.sock");
    let daemon = builder
        .identity("default", &Ca::new("authority").leaf("localhost"))
        .listener(listener("tcp"))
        .listener(listener("unix").bind(&format!("unix:{}", path.display())))
        .start();
    let socket = connect(daemon.address_of("tcp")).unwrap();
    let unix = UnixStream::connect(path).unwrap();
    for mut socket in [
        Socket::from(OwnedFd::from(socket)),
        OwnedFd::from(unix).into(),
    ] {
        read_packet(&mut socket).unwrap();
        socket.write_all(&login(false, "somebody")).unwrap();
        read_packet(&mut socket).unwrap();
        let second = Some(Duration::from_secs(1));
        socket.set_write_timeout(second).unwrap();
        while socket.write(&[b'x'; 16 * 1024]).is_ok() {}
        // TCP keeps the end of a client that is killed back until there is room for what it sent before,
        // or it gives up. Here it does so at once.
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
    let open = |status: &Value| {
        let listeners = status["listeners"].as_array().unwrap().iter();
        listeners
            .map(|it| it["connections"]["open"].as_u64().unwrap())
            .sum::<u64>()
    };
    daemon.await_status("none is there", |status| open(status) == 0);
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_a_query_is_gone_for_the_client_too() {
    for known in [servers::mariadb(), servers::mysql()].into_iter().flatten() {
        for leg in ["plain", "unix", "require"] {
            let own = OwnServer::start(&known, "127.0.0.1", &[]);
            let server = own.server.clone();
            let front = Front::with(|it| it.listener(listener(&server, leg)));
            let mut session = begin(&front, &server, leg, "killed");
            drop(own);
            let complaint = session.ask("SELECT 2").unwrap_err().complaint();
            // TLS that a crash has cut ends as cut for the client too.
            let gone = ["Lost connection", "unexpected eof"];
            let told = gone.iter().any(|it| complaint.contains(it));
            assert!(told, "{leg}: {complaint}");
            let complaint = front.client(&server, leg).run("SELECT 1").complaint();
            assert!(complaint.contains("1429"), "{leg}: {complaint}");
            settle(&front);
        }
    }
}

#[test]
fn a_session_that_the_server_ends_in_the_middle_of_a_query_ends_in_its_words() {
    let Some(server) = servers::postgres() else {
        return;
    };
    let front = Front::new(&server);
    for leg in LEGS {
        let mark = format!("ended {} {leg}", front.port(leg));
        let mut session = begin(&front, &server, leg, &mark);
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE query LIKE '%pg_sleep%{mark}%' AND pid <> pg_backend_pid()"
        );
        server.client().run(&sql).answer();
        let complaint = session.ask("SELECT 2").unwrap_err().complaint();
        assert!(
            complaint.contains("terminating connection due to administrator command"),
            "{leg}: {complaint}"
        );
    }
}

#[test]
fn a_server_of_mysql_that_is_full_says_so_itself() {
    for known in [servers::mariadb(), servers::mysql()].into_iter().flatten() {
        let own = OwnServer::start(&known, "127.0.0.1", &["--max-connections=10"]);
        let server = &own.server;
        let front = Front::with(|it| {
            let legs = ["plain", "unix", "require"].into_iter();
            legs.fold(it, |it, leg| it.listener(listener(server, leg)))
        });
        // One more than the limit is for those who may do everything, as this account may.
        let mut sessions = Vec::new();
        while sessions.len() < 20 {
            let mut session = front.client(server, "plain").open();
            match session.ask("SELECT 1") {
                Ok(_) => sessions.push(session),
                Err(_) => break,
            }
        }
        assert!((10..20).contains(&sessions.len()), "{}", sessions.len());
        for leg in ["plain", "unix", "require"] {
            let complaint = front.client(server, leg).run("SELECT 1").complaint();
            assert!(
                complaint.contains("1040") && complaint.contains("Too many connections"),
                "{leg}: {complaint}"
            );
        }
        drop(sessions.pop());
        until("there is room again", || {
            front.client(server, "require").run("SELECT 1").is_success()
        });
    }
}

#[test]
fn a_server_of_postgresql_that_is_full_says_so_itself() {
    let Some(server) = servers::postgres() else {
        return;
    };
    let sql = "CREATE ROLE alone LOGIN PASSWORD 'alone-pw' CONNECTION LIMIT 1";
    server.client().run(sql).answer();
    let front = Front::with(|it| {
        let legs = ["plain", "unix"].into_iter();
        legs.map(|leg| listener(&server, leg))
            .fold(it, Builder::listener)
    });
    let client = |leg| front.client(&server, leg).login("alone", "alone-pw");
    let mut first = client("plain").open();
    first.ask("SELECT 1").unwrap();
    for leg in ["plain", "unix"] {
        let complaint = client(leg).run("SELECT 1").complaint();
        assert!(
            complaint.contains("too many connections for role"),
            "{leg}: {complaint}"
        );
    }
    drop(first);
    until("the server has noticed that the first is gone", || {
        client("unix").run("SELECT 1").is_success()
    });
    server.client().run("DROP ROLE alone").answer();
}
