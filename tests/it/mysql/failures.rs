//! What goes wrong, and what the client is told.

use super::servers_and_clients;
use crate::support::{
    backend::{Backend, Behaviour, Closed},
    configuration::Listener,
    front::{Front, listener},
    until,
    wire::BACKEND_DOWN,
};

#[track_caller]
fn assert_down(complaint: &str) {
    let number = BACKEND_DOWN.to_string();
    assert!(complaint.contains(&number), "{complaint}");
    assert!(complaint.contains("its log says why"), "{complaint}");
}

#[test]
fn a_server_that_is_down_is_reported_as_such() {
    let closed = Closed::new();
    for (_, clients) in servers_and_clients() {
        let front = Front::with(|it| {
            it.listener(Listener::tcp("main", &closed.address().to_string()).protocol("mysql"))
        });
        for client in &clients {
            let complaint = front.client(client, "main").run("SELECT 1").complaint();
            assert_down(&complaint);
        }
        until("the log says why", || {
            front.daemon.log().contains("refused")
        });
    }
}

#[test]
fn a_server_that_closes_at_once_is_reported_as_down() {
    let backend = Backend::tcp();
    backend.behave(Behaviour::Close);
    for (_, clients) in servers_and_clients() {
        let front = Front::with(|it| {
            it.listener(Listener::tcp("main", &backend.address()).protocol("mysql"))
        });
        for client in &clients {
            let complaint = front.client(client, "main").run("SELECT 1").complaint();
            assert_down(&complaint);
        }
    }
}

#[test]
fn a_server_whose_certificate_is_not_trusted_is_not_given_the_login() {
    for (server, clients) in servers_and_clients() {
        let front = Front::with(|it| {
            let stranger = crate::support::pki::Ca::new("stranger");
            let file = it.folder().join("stranger.crt");
            crate::support::pki::replace(&file, stranger.pem());
            let tls = format!(
                "backend_tls = {{ mode = \"verify-full\", ca = \"{}\" }}",
                file.display()
            );
            it.listener(listener(&server, "plain").line(&tls))
        });
        for client in &clients {
            let complaint = front.client(client, "plain").run("SELECT 1").complaint();
            assert_down(&complaint);
        }
        until("the log names the cause", || {
            front.daemon.log().contains("UnknownIssuer")
        });
    }
}

#[test]
fn a_server_without_the_name_that_is_expected_is_not_given_the_login() {
    for (server, clients) in servers_and_clients() {
        let front = Front::with(|it| {
            let tls = format!(
                "backend_tls = {{ mode = \"verify-full\", ca = \"{}\", server_name = \"other\" }}",
                server.ca.display()
            );
            it.listener(listener(&server, "plain").line(&tls))
        });
        for client in &clients {
            let complaint = front.client(client, "plain").run("SELECT 1").complaint();
            assert_down(&complaint);
        }
        until("the log names the cause", || {
            let log = front.daemon.log();
            log.contains("not valid for") || log.contains("NotValidForName")
        });
    }
}
