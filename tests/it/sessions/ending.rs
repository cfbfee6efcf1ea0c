//! What ends by `proxyctl end`, and what both sides and the operators are told.

use std::io::Read as _;

use serde_json::json;

use super::Front;
use crate::support::{
    backend::Backend,
    client::connect,
    configuration::Listener,
    fake::{TlsEnd, TlsFake},
    pki::Ca,
    until,
};

#[test]
fn a_session_is_ended_by_its_id_and_both_sides_are_told() {
    let servers = Ca::new("databases");
    let backend = TlsFake::new(&servers.leaf("127.0.0.1"), None);
    let listener = Listener::tcp("main", &backend.address());
    let front = Front::with(listener, &["backend_tls = { mode = \"require\" }"], |it| it);
    let mut ended = front.session();
    let ids = front.ids(&[]);
    let mut left = front.session();
    let answer = front.daemon.json(&["end", &ids[0]]);
    let expected = json!({
        "count": 1, "ids": ids, "dry_run": false, "unknown": [], "silent_workers": [],
    });
    assert_eq!(answer, expected);
    // An end that TLS does not announce is an error here.
    assert_eq!(ended.rest().unwrap(), b"");
    until("the backend was told", || backend.ends() == [TlsEnd::Told]);
    left.echo("still here").unwrap();
    assert!(!front.ids(&[]).contains(&ids[0]));
}

#[test]
fn an_end_is_logged_counted_and_an_event_that_all_name_the_operator() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    let mut session = front.session();
    let ended = front.daemon.ctl(&["end", "--listener", "main"]).answer();
    assert_eq!(ended, "Ended 1 session.");
    session.rest().unwrap();
    let line = front.end("ended_by_operator");
    let uid = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(uid).unwrap().unwrap().name;
    assert_eq!(
        (&line["reason"], &line["by"], &line["level"]),
        (
            &"ended_by_operator".into(),
            &user.as_str().into(),
            &"INFO".into()
        )
    );
    front.daemon.await_status("it is counted", |status| {
        status["listeners"][0]["connections"]["ended"]["ended_by_operator"] == 1
    });
    let events = front.daemon.events();
    let event = events.iter().find(|it| it["kind"] == "sessions-ended");
    let message = event.unwrap()["message"].as_str().unwrap();
    assert_eq!(
        message,
        format!("{user} has ended 1 session with `proxyctl end --listener main`.")
    );
}

#[test]
fn a_client_that_was_not_let_in_yet_is_ended_too() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    let mut silent = connect(front.daemon.address()).unwrap();
    until("it is shown", || front.list(&[]).len() == 1);
    front.daemon.ctl(&["end", "--client", "127.0.0.1"]).answer();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    assert_eq!(
        front.end("ended_by_operator")["reason"],
        "ended_by_operator"
    );
}

#[test]
fn a_dry_run_shows_what_would_end_and_ends_nothing() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    let mut session = front.session();
    let ids = front.ids(&[]);
    let shown = front.daemon.ctl(&["end", "--dry-run", &ids[0]]).answer();
    assert!(shown.contains(&ids[0]), "{shown}");
    assert_eq!(shown.lines().last(), Some("Would end 1 session."));
    let document = front
        .daemon
        .json(&["end", "--dry-run", "--listener", "main"]);
    assert_eq!(
        (&document["count"], &document["ids"], &document["dry_run"]),
        (&1.into(), &json!(ids), &true.into())
    );
    session.echo("still here").unwrap();
}

#[test]
fn an_id_that_no_session_has_is_named_and_the_others_are_ended() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    let mut session = front.session();
    let known = front.ids(&[]).remove(0);
    let outcome = front.daemon.ctl(&["end", "1-1", &known]);
    assert_eq!(
        (outcome.code(), outcome.stdout.as_str()),
        (1, "Ended 1 session.")
    );
    assert!(
        outcome.stderr.contains("has the id 1-1"),
        "{}",
        outcome.stderr
    );
    session.rest().unwrap();
    let again = front.daemon.ctl(&["end", &known]);
    assert_eq!(
        (again.code(), again.stdout.as_str()),
        (1, "Ended no session.")
    );
}

#[test]
fn an_end_without_a_word_about_which_sessions_is_a_usage_error() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    let mut session = front.session();
    for arguments in [
        &["end"][..],
        &["end", "--dry-run"],
        &["end", "all"],
        &["end", "1-1", "--listener", "main"],
        &["end", "--client", "10.0.0.1/8"],
        &["end", "--client-cert", "abcd"],
        &["end", "--older-than", "0s"],
        &["sessions", "--generation-before", "x"],
    ] {
        let outcome = front.daemon.ctl(arguments);
        assert_eq!(outcome.code(), 2, "{arguments:?}: {outcome:#?}");
    }
    session.echo("still here").unwrap();
}
