//! What is shown of a session, and which sessions.

use std::{
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Front, id};
use crate::support::{
    backend::Backend,
    client::{Session, connect},
    configuration::Listener,
    pki::Ca,
    until,
};

/// The setting of a listener that asks clients for certificates.
const AUTH: &str = "client_auth = { mode = \"optional\", ca = \"clients.crt\" }";

/// Returns where a client's end of a session is.
fn local(session: &mut Session) -> SocketAddr {
    session.parts().1.local_addr().unwrap()
}

/// Lets a backend echo a line to a client without TLS.
fn echo(socket: &mut (impl std::io::Read + std::io::Write)) {
    socket.write_all(b"hello\n").unwrap();
    socket.read_exact(&mut [0; 6]).unwrap();
}

#[test]
fn a_session_is_shown_with_all_that_is_known() {
    let (clients, backend) = (Ca::new("clients"), Backend::tcp());
    let listener = Listener::tcp("main", &backend.address()).line(AUTH);
    let front = Front::with(listener, &[], |it| it.file("clients.crt", clients.pem()));
    let leaf = clients.leaf("billing");
    let before = Timestamp::now();
    let mut session = front.session_of(&front.client.clone().present(&leaf));
    let shown = front.list(&[]).pop().unwrap();
    let started_at: Timestamp = shown["started_at"].as_str().unwrap().parse().unwrap();
    assert!(before <= started_at && started_at <= Timestamp::now());
    let idle = shown["idle_s"].as_f64().unwrap();
    assert!((0.0..60.0).contains(&idle), "{idle}");
    let expected = json!({
        "id": shown["id"],
        "state": "established",
        "listener": "main",
        "client": local(&mut session).to_string(),
        "via": null,
        "backend": backend.address(),
        "user": null,
        "tls": {"version": "TLSv1.3", "suite": shown["tls"]["suite"]},
        "client_cert": {"subject": "CN=billing", "sha256": leaf.sha256},
        "generation": 1,
        "started_at": shown["started_at"],
        "idle_s": shown["idle_s"],
        "bytes_up": 6,
        "bytes_down": 6,
        "takeovers": 0,
    });
    assert_eq!(shown, expected);
    let suite = shown["tls"]["suite"].as_str().unwrap();
    assert!(suite.starts_with("TLS_AES_"), "{suite}");
}

#[test]
fn a_session_that_is_over_is_shown_no_more_and_its_id_is_not_used_again() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    let mut first = front.session();
    let old = front.ids(&[]);
    first.finish().unwrap();
    first.rest().unwrap();
    until("the session is gone", || front.list(&[]).is_empty());
    let _second = front.session();
    let new = front.ids(&[]);
    assert_eq!((old.len(), new.len()), (1, 1));
    assert_ne!(old, new);
}

#[test]
fn a_session_without_tls_and_one_of_a_unix_socket_say_so() {
    let backend = Backend::tcp();
    let plain = Listener::tcp("main", &backend.address()).line("tls = { mode = \"preferred\" }");
    let unix = Listener::tcp("unix", &backend.address()).line("tls = { mode = \"preferred\" }");
    let front = Front::with(plain, &[], |it| {
        let path = format!("unix:{}", it.folder().join("clients.sock").display());
        it.listener(unix.bind(&path))
    });
    let mut over_tcp = connect(front.daemon.address()).unwrap();
    echo(&mut over_tcp);
    let mut over_unix = UnixStream::connect(front.daemon.path("clients.sock")).unwrap();
    echo(&mut over_unix);
    let [tcp, unix] = &front.list(&[])[..] else {
        panic!("there are two");
    };
    let of_tcp = over_tcp.local_addr().unwrap().to_string();
    for (shown, client) in [(tcp, of_tcp.as_str()), (unix, "unix")] {
        assert_eq!(shown["client"], client);
        assert_eq!(
            (&shown["tls"], &shown["client_cert"]),
            (&Value::Null, &Value::Null)
        );
    }
    assert_eq!(unix["listener"], "unix");
    // A client without an address is in no network.
    assert_eq!(front.ids(&["--client", "0.0.0.0/0"]), [id(tcp)]);
}

#[test]
fn a_client_behind_a_balancer_is_shown_and_found_by_its_own_address() {
    let backend = Backend::tcp();
    let line = "proxy_protocol = { accept = true, from = \"127.0.0.1\" }";
    let front = Front::with(
        Listener::tcp("main", &backend.address()).line(line),
        &[],
        |it| it,
    );
    let socket = connect(front.daemon.address()).unwrap();
    let balancer = socket.local_addr().unwrap().to_string();
    let header = b"PROXY TCP4 203.0.113.7 198.51.100.1 4321 5432\r\n";
    let mut session = front.client.behind(header, usize::MAX, socket).unwrap();
    session.echo("hello").unwrap();
    let shown = front.list(&["--client", "203.0.113.0/24"]).pop().unwrap();
    assert_eq!(shown["client"], "203.0.113.7:4321");
    assert_eq!(shown["via"], balancer);
    assert!(front.list(&["--client", "127.0.0.1"]).is_empty());
}

#[test]
fn a_client_that_was_not_let_in_yet_is_shown_as_one_that_is_opening() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    let _silent = connect(front.daemon.address()).unwrap();
    until("it is shown", || front.list(&[]).len() == 1);
    let shown = front.list(&[]).pop().unwrap();
    assert_eq!(shown["state"], "opening");
    assert_eq!(
        (&shown["backend"], &shown["tls"]),
        (&"".into(), &Value::Null)
    );
}

#[test]
fn sessions_are_selected_by_what_they_have_in_common() {
    let (clients, backend) = (Ca::new("clients"), Backend::tcp());
    let listener = Listener::tcp("main", &backend.address()).line(AUTH);
    let other = Listener::tcp("other", &backend.address());
    let front = Front::with(listener, &[], |it| {
        it.file("clients.crt", clients.pem()).listener(other)
    });
    let leaf = clients.leaf("billing");
    let _known = front.session_of(&front.client.clone().present(&leaf));
    let known = front.ids(&[]);
    let mut at_other = front
        .client
        .connect(front.daemon.address_of("other"))
        .unwrap();
    at_other.echo("hello").unwrap();
    front
        .daemon
        .files("default")
        .put(&front.ca.leaf("localhost"));
    front.daemon.ctl(&["reload-tls"]).answer();
    let _new = front.session();
    let all = front.ids(&[]);
    assert_eq!(all.len(), 3, "the oldest first: {all:?}");
    let select = |arguments: &[&str]| front.ids(arguments);
    assert_eq!(select(&["--client-cert", &leaf.sha256]), known);
    assert_eq!(select(&["--listener", "other"]), all[1..2]);
    assert_eq!(select(&["--generation-before", "2"]), all[..2]);
    assert_eq!(
        select(&["--generation-before", "2", "--listener", "main"]),
        known
    );
    assert_eq!(select(&["--client", "127.0.0.0/8"]), all);
    assert!(select(&["--client", "10.0.0.0/8"]).is_empty());
    assert!(select(&["--older-than", "1d"]).is_empty());
    until("they are older than that", || {
        select(&["--older-than", "10ms"]) == all
    });
    assert_eq!(select(&["--limit", "2"]), all[..2]);
}

#[test]
fn sessions_of_all_workers_are_shown() {
    let backend = Backend::tcp();
    let listener = Listener::tcp("main", &backend.address());
    let front = Front::with(listener, &[], |it| it.workers(3));
    let sessions: Vec<Session> = (0..30).map(|_| front.session()).collect();
    let ids = front.ids(&[]);
    assert_eq!(ids.len(), sessions.len());
    assert_eq!(front.daemon.status()["sessions"]["open"], sessions.len());
    let origins = ids.iter().map(|id| id.split_once('-').unwrap().0);
    let origins: std::collections::BTreeSet<&str> = origins.collect();
    assert!(origins.len() > 1, "{origins:?}");
}

#[test]
fn people_get_a_table() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    assert_eq!(
        front.daemon.ctl(&["sessions"]).answer(),
        "No session is open."
    );
    let mut session = front.session();
    let table = front.daemon.ctl(&["sessions"]).answer();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("  ID "), "{table}");
    for shown in [
        &front.ids(&[])[0],
        &local(&mut session).to_string(),
        "TLSv1.3",
        &backend.address(),
    ] {
        assert!(lines[1].contains(shown), "{shown}: {table}");
    }
    assert_eq!(lines[2], "1 session");
    let other = front.daemon.ctl(&["sessions", "--listener", "other"]);
    assert_eq!(other.answer(), "No open session matches the options.");
}

#[test]
fn more_sessions_than_a_message_holds_are_shown_and_a_limit_says_what_it_leaves_out() {
    const SESSIONS: usize = 600;
    let backend = Backend::tcp();
    let line = "tls = { mode = \"preferred\" }";
    let front = Front::with(
        Listener::tcp("main", &backend.address()).line(line),
        &[],
        |it| it.workers(1),
    );
    let address = front.daemon.address();
    let clients: Vec<TcpStream> = (0..SESSIONS)
        .map(|_| {
            let mut client = connect(address).unwrap();
            echo(&mut client);
            client
        })
        .collect();
    let ids = front.ids(&[]);
    assert_eq!(ids.len(), clients.len());
    let few = front.daemon.ctl(&["--json", "sessions", "--limit", "250"]);
    assert!(few.stderr.contains("350 more sessions"), "{}", few.stderr);
    let few: Vec<Value> = serde_json::from_str(&few.answer()).unwrap();
    assert_eq!(few.iter().map(id).collect::<Vec<_>>(), ids[..250]);
}
