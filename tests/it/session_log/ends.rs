//! The ends of sessions that were relayed.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use socket2::SockRef;

use super::Front;
use crate::support::{
    backend::Backend,
    client::{Session, connect},
    configuration::Listener,
    fake::{Fake, TlsFake},
    pki::Ca,
};

/// A record that was not sealed with the key of any session.
fn rubbish() -> Vec<u8> {
    [&[23, 3, 3, 0, 64][..], &[7; 64]].concat()
}

/// Resets a connection instead of closing it.
fn reset(socket: &TcpStream) -> io::Result<()> {
    SockRef::from(socket).set_linger(Some(Duration::ZERO))
}

#[test]
fn a_session_leaves_one_line_with_all_that_is_known() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    let mut session = front.session();
    session.send(&vec![b'x'; 100_000]).unwrap();
    session.read_exact(&mut vec![0; 100_000]).unwrap();
    let client = session.parts().1.local_addr().unwrap().to_string();
    session.finish().unwrap();
    session.rest().unwrap();
    let end = front.end("client_closed");
    assert_eq!(end["level"], "INFO");
    assert_eq!(end["listener"], "main");
    assert_eq!(end["client"], client);
    assert_eq!(end["backend"], backend.address());
    assert_eq!(end["tls"], "TLSv1.3");
    assert_eq!(end["server_name"], "localhost");
    assert_eq!(end["generation"], 1);
    assert_eq!(end["bytes_up"], 100_006);
    assert_eq!(end["bytes_down"], 100_006);
    assert!(end["duration_s"].as_f64().unwrap() < 60.0);
    for unknown in ["via", "user", "subject", "sha256", "left_out"] {
        assert_eq!(end.get(unknown), None, "{unknown}: {end}");
    }
}

#[test]
fn bytes_are_counted_by_their_direction() {
    let backend = Fake::new(|connection| {
        connection.take(9)?;
        connection.write_all(&vec![b'y'; 70_001])?;
        connection.listen()
    });
    let front = Front::new(&backend.address(), &[]);
    let client = front.client.clone().tls12();
    let mut session = client.connect(front.daemon.address()).unwrap();
    session.send(b"nine char").unwrap();
    session.read_exact(&mut vec![0; 70_001]).unwrap();
    session.finish().unwrap();
    session.rest().unwrap();
    let end = front.end("client_closed");
    assert_eq!(
        (&end["bytes_up"], &end["bytes_down"]),
        (&9.into(), &70_001.into())
    );
    assert_eq!(end["tls"], "TLSv1.2");
}

#[test]
fn a_backend_that_closes_first_is_told_from_a_client_that_does() {
    let backend = Fake::new(|connection| connection.write_all(b"goodbye"));
    let front = Front::new(&backend.address(), &[]);
    let mut session = front.client.connect(front.daemon.address()).unwrap();
    assert_eq!(session.rest().unwrap(), b"goodbye");
    session.finish().unwrap();
    let end = front.end("backend_closed");
    assert_eq!(end["bytes_down"], 7);
}

#[test]
fn a_session_without_tls_has_none_in_its_line() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &["tls = { mode = \"preferred\" }"]);
    let mut socket = connect(front.daemon.address()).unwrap();
    socket.write_all(b"hello").unwrap();
    socket.read_exact(&mut [0; 5]).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let end = front.end("client_closed");
    assert_eq!((end.get("tls"), &end["bytes_up"]), (None, &5.into()));
}

#[test]
fn a_session_in_which_nothing_moves_ends_by_its_timeout() {
    let backend = Backend::tcp();
    let front = Front::new(
        &backend.address(),
        &["limits = { idle_timeout = \"300ms\" }"],
    );
    let mut session = front.session();
    session.rest().unwrap();
    let end = front.end("idle_timeout");
    assert!(end["duration_s"].as_f64().unwrap() >= 0.25, "{end}");
}

#[test]
fn a_client_that_was_cut_off_and_whose_backend_says_nothing_ends_half_closed() {
    let backend = Fake::new(|connection| {
        connection.listen()?;
        thread::park();
        Ok(())
    });
    let front = Front::new(&backend.address(), &[]);
    let mut session = front.client.connect(front.daemon.address()).unwrap();
    session.send(b"hello").unwrap();
    session.parts().1.shutdown(Shutdown::Write).unwrap();
    front.end("half_closed");
}

#[test]
fn a_client_that_is_reset_is_lost() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    let mut session = front.session();
    reset(session.parts().1).unwrap();
    drop(session);
    front.end("client_lost");
}

#[test]
fn a_record_of_a_client_that_cannot_be_decrypted_is_logged() {
    let backend = Backend::tcp();
    for tls12 in [false, true] {
        let front = Front::new(&backend.address(), &[]);
        let client = front.client.clone().old(tls12);
        let mut session = client.connect(front.daemon.address()).unwrap();
        session.echo("hello").unwrap();
        session.parts().1.write_all(&rubbish()).unwrap();
        // The alert says why.
        session.rest().unwrap_err();
        let end = front.end("client_tls");
        assert_eq!(
            (&end["level"], &end["bytes_up"]),
            (&"INFO".into(), &6.into())
        );
    }
}

#[test]
fn a_backend_that_is_reset_is_lost() {
    let backend = Fake::new(|connection| {
        connection.write_all(b"half an ans")?;
        connection.take(b"read".len())?;
        reset(connection.stream())
    });
    let front = Front::new(&backend.address(), &[]);
    let mut session = front.client.connect(front.daemon.address()).unwrap();
    session.read_exact(&mut [0; 11]).unwrap();
    session.send(b"read").unwrap();
    session.rest().unwrap();
    front.end("backend_lost");
}

/// Starts a proxy in front of a backend, which adds rubbish to the backend's bytes once it is told to.
fn spoiling(backend: &TlsFake) -> (Fake, mpsc::Sender<()>) {
    let (spoil, told) = mpsc::channel();
    let told = Arc::new(Mutex::new(told));
    let port = backend.port();
    let fake = Fake::new(move |connection| {
        let mut server = TcpStream::connect(("127.0.0.1", port))?;
        let (mut from, mut to) = (server.try_clone()?, connection.stream().try_clone()?);
        thread::spawn(move || io::copy(&mut from, &mut to));
        let mut to = connection.stream().try_clone()?;
        let told = Arc::clone(&told);
        thread::spawn(move || {
            let told = told.lock().unwrap().recv();
            told.is_ok().then(|| to.write_all(&rubbish()))
        });
        io::copy(connection, &mut server).map(drop)
    });
    (fake, spoil)
}

#[test]
fn a_record_of_a_backend_that_cannot_be_decrypted_is_logged() {
    let servers = Ca::new("databases");
    let backend = TlsFake::new(&servers.leaf("127.0.0.1"), None);
    let (between, spoil) = spoiling(&backend);
    let front = Front::new(
        &between.address(),
        &["backend_tls = { mode = \"require\" }"],
    );
    let mut session = front.session();
    spoil.send(()).unwrap();
    let _ = session.rest();
    front.end("backend_tls");
}

#[test]
fn a_client_is_known_by_its_certificate() {
    let (clients, backend) = (Ca::new("clients"), Backend::tcp());
    let auth = "client_auth = { mode = \"required\", ca = \"clients.crt\" }";
    let listener = Listener::tcp("main", &backend.address());
    let front = Front::with(listener, &[auth], |it| {
        it.file("clients.crt", clients.pem())
    });
    let leaf = clients.leaf("billing");
    let client = front.client.clone().present(&leaf);
    let mut session = client.connect(front.daemon.address()).unwrap();
    session.echo("hello").unwrap();
    session.finish().unwrap();
    let end = front.end("client_closed");
    assert_eq!(end["subject"], "CN=billing");
    assert_eq!(end["sha256"], leaf.sha256);
}

#[test]
fn a_client_behind_a_balancer_is_named_with_it() {
    let backend = Backend::tcp();
    let front = Front::new(
        &backend.address(),
        &["proxy_protocol = { accept = true, from = \"127.0.0.1\" }"],
    );
    let socket = connect(front.daemon.address()).unwrap();
    let balancer = socket.local_addr().unwrap().to_string();
    let header = b"PROXY TCP4 203.0.113.7 198.51.100.1 4321 5432\r\n";
    let session = front.client.behind(header, usize::MAX, socket);
    let mut session: Session = session.unwrap();
    session.echo("hello").unwrap();
    session.finish().unwrap();
    let end = front.end("client_closed");
    assert_eq!(end["client"], "203.0.113.7:4321");
    assert_eq!(end["via"], balancer);
    assert_eq!(end["bytes_up"], 6, "the header is not the client's");
}

#[test]
fn a_session_keeps_the_generation_of_its_handshake() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    let mut old = front.session();
    front
        .daemon
        .files("default")
        .put(&front.ca.leaf("localhost"));
    front.daemon.ctl(&["reload-tls"]).answer();
    let mut new = front.session();
    old.finish().unwrap();
    assert_eq!(front.end("client_closed")["generation"], 1);
    new.finish().unwrap();
    front.counts("client_closed", 2);
    assert_eq!(front.ends()[1]["generation"], 2);
}

#[test]
fn a_client_that_connected_before_a_reload_has_the_generation_of_its_handshake() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    let socket = connect(front.daemon.address()).unwrap();
    front.daemon.await_status("it is accepted", |status| {
        status["listeners"][0]["connections"]["open"] == 1
    });
    front
        .daemon
        .files("default")
        .put(&front.ca.leaf("localhost"));
    front.daemon.ctl(&["reload-tls"]).answer();
    let mut session = front.client.over(socket).unwrap();
    session.echo("hello").unwrap();
    session.finish().unwrap();
    assert_eq!(front.end("client_closed")["generation"], 2);
}

#[test]
fn lines_of_sessions_that_end_well_can_be_left_out() {
    let backend = Backend::tcp();
    let quiet = "{ file = \"log\", format = \"json\", sessions = false }";
    let listener = Listener::tcp("main", &backend.address());
    let front = Front::with(listener, &[], |it| it.set("log", quiet));
    front.session().finish().unwrap();
    front.counts("client_closed", 1);
    let mut session = front.session();
    session.parts().1.write_all(&rubbish()).unwrap();
    front.counts("client_tls", 1);
    // Both ends are counted, and only the one that is a fault is logged.
    let reasons = |front: &Front| -> Vec<_> {
        let ends = front.ends();
        ends.iter().map(|it| it["reason"].clone()).collect()
    };
    assert_eq!(reasons(&front), ["client_tls"]);
}

#[test]
fn a_reload_changes_whether_all_sessions_are_logged() {
    let backend = Backend::tcp();
    let mut front = Front::new(&backend.address(), &[]);
    let mut before = front.session();
    let quiet = super::JSON.replace(" }", ", sessions = false }");
    front.daemon.reconfigure(|it| it.set("log", &quiet));
    let answer = front.daemon.ctl(&["reload"]);
    assert!(answer.is_success(), "{answer:#?}");
    assert!(!answer.stderr.contains("restart"), "{answer:#?}");
    before.finish().unwrap();
    front.counts("client_closed", 1);
    assert!(front.ends().is_empty(), "{:?}", front.ends());
    // The other keys of the table still need a restart.
    let level = quiet.replace(" }", ", level = \"debug\" }");
    front.daemon.reconfigure(|it| it.set("log", &level));
    let complaint = front.daemon.ctl(&["reload"]).complaint();
    assert!(complaint.contains("log"), "{complaint}");
}
