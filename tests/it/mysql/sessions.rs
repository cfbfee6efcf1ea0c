//! Sessions that outlive what happens to the daemon.

use nix::sys::signal::Signal;

use super::servers_and_clients;
use crate::support::{
    client::Client,
    front::{Front, LEGS, listener},
    process, until,
};

#[test]
fn a_session_goes_on_when_the_certificate_is_replaced() {
    for (server, clients) in servers_and_clients() {
        let front = Front::new(&server);
        for leg in LEGS {
            for client in &clients {
                let client = front.client(client, leg);
                let mut session = client.open();
                let id = session.ask("SELECT CONNECTION_ID()").unwrap();
                let leaf = front.ca.request(&["localhost", "127.0.0.1"]).issue();
                front.daemon.files("default").put(&leaf);
                front.daemon.ctl(&["reload-tls"]).answer();
                assert_eq!(session.ask("SELECT CONNECTION_ID()").unwrap(), id);
                assert_eq!(client.run("SELECT 1").answer(), "1");
            }
        }
    }
}

#[test]
fn with_keep_after_off_a_worker_that_is_killed_takes_only_its_own_sessions_along() {
    for (server, _) in servers_and_clients() {
        let front = Front::with(|it| {
            let it = it.workers(2).set("keep_after", "\"off\"");
            it.listener(listener(&server, "plain"))
        });
        let client = front.client(&server, "plain");
        let open = || -> Vec<(u64, u64)> {
            let status = front.daemon.status();
            let workers = status["workers"].as_array().unwrap().iter();
            let number = |value: &serde_json::Value| value.as_u64().unwrap();
            workers
                .map(|it| (number(&it["pid"]), number(&it["connections"])))
                .collect()
        };
        let mut sessions = Vec::new();
        // The kernel chooses the worker by the client's port.
        until("both workers have sessions", || {
            let mut session = client.open();
            session.ask("SELECT 1").unwrap();
            sessions.push(session);
            open().iter().all(|(_, connections)| *connections > 0)
        });
        let before = open();
        let (victim, lost) = before[0];
        assert!(process::send(
            u32::try_from(victim).unwrap(),
            Signal::SIGKILL
        ));
        let lives = |session: &mut crate::support::servers::Session| session.ask("SELECT 1");
        let ended = sessions
            .iter_mut()
            .map(lives)
            .filter(Result::is_err)
            .count();
        assert_eq!(ended as u64, lost, "{before:?}");
        assert_eq!(client.run("SELECT 1").answer(), "1");
        until("the worker is replaced", || {
            let now = open();
            now.len() == 2 && now.iter().all(|(pid, _)| *pid != victim)
        });
        assert_eq!(client.run("SELECT 2").answer(), "2");
    }
}

#[test]
fn a_handshake_after_a_reload_shows_the_new_certificate() {
    for (server, _) in servers_and_clients() {
        let front = Front::with(|it| it.listener(listener(&server, "plain")));
        let shown = || {
            let socket = crate::support::client::connect(front.daemon.address()).unwrap();
            let mut socket = socket;
            crate::support::wire::read_packet(&mut socket).unwrap();
            let request = crate::support::wire::mysql_ssl_request();
            let session = Client::new(&front.ca).behind(&request, usize::MAX, socket);
            session.unwrap().shown().sha256
        };
        assert_eq!(shown(), front.leaf.sha256);
        let leaf = front.ca.request(&["localhost", "127.0.0.1"]).issue();
        front.daemon.files("default").put(&leaf);
        front.daemon.ctl(&["reload-tls"]).answer();
        assert_eq!(shown(), leaf.sha256);
    }
}
