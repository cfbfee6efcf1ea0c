//! What shells complete from a daemon that runs.

use std::process::Command;

use super::Front;
use crate::support::{
    PATIENCE,
    backend::Backend,
    configuration::Listener,
    pki::Ca,
    program::{clean_command, run},
};

/// Returns what a shell is offered for the last of these words.
#[track_caller]
fn offered(socket: &std::path::Path, words: &[&str]) -> String {
    let mut command: Command = clean_command(env!("CARGO_BIN_EXE_proxyctl"));
    command
        .env("PROXYCTL_COMPLETE", "zsh")
        .env("PROXYD_SOCKET", socket)
        .env("_CLAP_COMPLETE_INDEX", (words.len()).to_string())
        .args(["--", "proxyctl"])
        .args(words);
    let outcome = run(command, PATIENCE);
    assert_eq!(outcome.stderr, "");
    outcome.answer()
}

#[test]
fn ids_listeners_clients_and_certificates_of_sessions_are_completed() {
    let (clients, backend) = (Ca::new("clients"), Backend::tcp());
    let auth = "client_auth = { mode = \"required\", ca = \"clients.crt\" }";
    let listener = Listener::tcp("main", &backend.address()).line(auth);
    let front = Front::with(listener, &[], |it| it.file("clients.crt", clients.pem()));
    let leaf = clients.leaf("billing");
    let _session = front.session_of(&front.client.clone().present(&leaf));
    let socket = front.daemon.socket();
    let id = front.ids(&[]).remove(0);
    let ids = offered(&socket, &["end", ""]);
    let line = ids.lines().find(|line| line.starts_with(&id));
    assert!(line.is_some_and(|it| it.contains("127.0.0.1")), "{ids}");
    for (option, value, help) in [
        ("--listener", "main", "1 session"),
        ("--client", "127.0.0.1", "1 session"),
        (
            "--client-cert",
            leaf.sha256.as_str(),
            "CN=billing, 1 session",
        ),
    ] {
        for command in ["end", "sessions"] {
            let offered = offered(&socket, &[command, option, ""]);
            assert_eq!(offered, format!("{value}:{help}"), "{command} {option}");
        }
    }
}

#[test]
fn without_a_daemon_the_rest_is_completed_and_nothing_is_said() {
    let socket = std::path::Path::new("/nonexistent/proxyd.sock");
    assert_eq!(offered(socket, &["sessions", "--listener", ""]), "");
    assert!(offered(socket, &["sess"]).starts_with("sessions"));
}
