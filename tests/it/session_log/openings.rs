//! Sessions that were never relayed: their lines have the same fields as far as they are known.

use std::io::{Read as _, Write as _};

use super::Front;
use crate::support::{
    backend::{Backend, Closed},
    client::{Client, connect},
    configuration::Listener,
    fake::Fake,
    pki::Ca,
    until,
    wire::{SSL_REQUEST, startup},
};

#[test]
fn a_client_that_speaks_no_tls_is_logged_like_any_other_end() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    let mut socket = connect(front.daemon.address()).unwrap();
    let client = socket.local_addr().unwrap().to_string();
    socket.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let _ = socket.read_to_end(&mut Vec::new());
    let end = front.end("not_tls");
    assert_eq!(
        (&end["listener"], &end["client"]),
        (&"main".into(), &client.into())
    );
    assert_eq!(
        (&end["generation"], &end["bytes_up"]),
        (&1.into(), &0.into())
    );
    assert_eq!(end.get("backend"), None, "{end}");
}

#[test]
fn a_client_that_is_refused_for_its_certificate_is_named_by_it() {
    let (clients, backend) = (Ca::new("clients"), Backend::tcp());
    let auth = "client_auth = { mode = \"required\", ca = \"clients.crt\" }";
    let listener = Listener::tcp("main", &backend.address());
    let front = Front::with(listener, &[auth], |it| {
        it.file("clients.crt", clients.pem())
    });
    let leaf = Ca::new("strangers").leaf("client");
    let client = front.client.clone().present(&leaf);
    let session = client.connect(front.daemon.address());
    session.and_then(|mut it| it.echo("hello")).unwrap_err();
    let end = front.end("unknown_issuer");
    assert_eq!(end["sha256"], leaf.sha256);
    assert_eq!(end["subject"], "CN=client");
    assert_eq!(end["serial"], leaf.serial());
    assert_eq!(end["server_name"], "localhost");
    assert_eq!(end.get("tls"), None, "the handshake was not completed");
}

#[test]
fn a_session_whose_backend_is_down_names_client_and_backend() {
    let closed = Closed::new();
    let front = Front::new(&closed.address().to_string(), &[]);
    let mut session = front.client.connect(front.daemon.address()).unwrap();
    assert_eq!(session.rest().unwrap(), b"");
    let end = front.end("backend_failed");
    assert_eq!(end["backend"], closed.address().to_string());
    assert_eq!(end["tls"], "TLSv1.3");
}

#[test]
fn a_client_without_a_place_is_logged() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &["limits = { max_connections = 1 }"]);
    let session = front.session();
    front.client.connect(front.daemon.address()).unwrap_err();
    let end = front.end("full");
    assert_eq!(end["listener"], "main");
    let status = front.daemon.status();
    let connections = &status["listeners"][0]["connections"];
    assert_eq!(
        (&connections["refused"], &connections["total"]),
        (&1.into(), &1.into())
    );
    drop(session);
}

#[test]
fn a_health_check_is_counted_and_leaves_no_line() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    drop(connect(front.daemon.address()).unwrap());
    front.counts("silent", 1);
    assert!(front.ends().is_empty(), "{:?}", front.ends());
}

#[test]
fn a_flood_of_failures_is_bounded_and_a_line_says_how_many_were_left_out() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    for _ in 0..30 {
        let mut socket = connect(front.daemon.address()).unwrap();
        socket.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    }
    front.counts("not_tls", 30);
    assert!(front.ends().len() < 30);
    // The end of a session whose client was let in is logged, even during a flood of failures.
    for _ in 0..30 {
        front.session().finish().unwrap();
    }
    front.counts("client_closed", 30);
    until("all of them are told", || {
        let ends = front.ends();
        ends.iter()
            .filter(|it| it["reason"] == "client_closed")
            .count()
            == 30
    });
}

#[test]
fn a_request_to_cancel_is_no_session_and_no_failure() {
    let backend = Fake::new(|connection| connection.take(16).map(drop));
    let listener = Listener::tcp("main", &backend.address()).protocol("postgres");
    let front = Front::with(listener, &[], |it| it);
    let request = [0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 16, 1, 9, 9, 9, 9];
    let mut socket = connect(front.daemon.address()).unwrap();
    socket.write_all(&request).unwrap();
    socket.read_to_end(&mut Vec::new()).unwrap();
    let end = front.end("cancel");
    assert_eq!(end["level"], "INFO");
    assert_eq!(backend.heard(), [request.to_vec()]);
}

#[test]
fn a_user_whose_database_is_down_is_named() {
    let closed = Closed::new();
    let listener = Listener::tcp("main", &closed.address().to_string()).protocol("postgres");
    let front = Front::with(listener, &[], |it| it);
    let mut socket = connect(front.daemon.address()).unwrap();
    socket.write_all(SSL_REQUEST).unwrap();
    socket.read_exact(&mut [0]).unwrap();
    let mut session = Client::new(&front.ca).over(socket).unwrap();
    session.send(&startup()).unwrap();
    session.rest().unwrap();
    assert_eq!(front.end("backend_failed")["user"], "nobody");
}
