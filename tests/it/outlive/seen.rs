//! What operators see of sessions that were taken over, and what they can do with them.

use serde_json::Value;

use super::{
    kind::{Kind, PLAIN, TLS13},
    stage::Stage,
    talk::Talk,
};
use crate::support::{
    backend::Backend, client::connect, configuration::Listener, fake::Fake, logged::Front, pki::Ca,
    process, until,
};

/// Returns these members of each session, in the order of their ids.
fn members(mut sessions: Vec<Value>, names: &[&str]) -> Vec<Vec<Value>> {
    sessions.sort_by_key(|it| it["id"].to_string());
    let of = |session: Value| names.iter().map(|it| session[*it].clone()).collect();
    sessions.into_iter().map(of).collect()
}

#[test]
fn a_session_is_listed_as_before_and_its_takeovers_are_counted() {
    /// What no takeover changes.
    const SAME: [&str; 10] = [
        "id",
        "listener",
        "client",
        "backend",
        "user",
        "tls",
        "client_cert",
        "generation",
        "state",
        "started_at",
    ];
    let mut stage = Stage::with(&[], |it| it.workers(2));
    let mut talks = stage.open_all(&[Kind::mixed(), Kind::over_unix()].concat());
    talks.iter_mut().for_each(Talk::exchange);
    stage.await_kept(talks.len());
    let before = members(stage.list(&[]), &SAME);
    for deaths in 1..=3 {
        stage.kill();
        stage.await_taken_over(deaths * talks.len());
        let list = stage.list(&[]);
        for (now, before) in members(list.clone(), &SAME).into_iter().zip(&before) {
            assert_eq!(&now, before);
        }
        assert_eq!(list.len(), before.len());
        for session in list {
            assert_eq!(session["takeovers"], deaths, "{session}");
            // A byte to begin with, and what each exchange carries.
            let exchanges = deaths as u64;
            let carried = (&session["bytes_up"], &session["bytes_down"]);
            let expected = (1 + 20_000 * exchanges, 30_000 * exchanges);
            assert_eq!(
                carried,
                (&expected.0.into(), &expected.1.into()),
                "{session}"
            );
        }
        talks.iter_mut().for_each(Talk::exchange);
    }
    talks.into_iter().for_each(Talk::finish);
    stage.lost_none();
}

#[test]
fn a_takeover_is_no_opening_and_no_end_in_the_counts_and_the_log() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    let mut session = front.session();
    kept(&front, 1);
    // A word of its own came before.
    let mut carried = 6;
    for deaths in 1..=2 {
        // What a worker counts after its last beat dies with it.
        front
            .daemon
            .await_status("its worker has told all", |status| {
                let connections = &status["listeners"][0]["connections"];
                connections["bytes_up"] == carried && connections["bytes_down"] == carried
            });
        kill(&front);
        session.echo("still here").unwrap();
        carried += 11;
        front.daemon.await_status("it was taken over", |status| {
            status["sessions"]["taken_over_total"] == deaths
        });
    }
    front
        .daemon
        .await_status("the last worker has told all", |status| {
            status["listeners"][0]["connections"]["bytes_down"] == carried
        });
    let connections = &front.daemon.status()["listeners"][0]["connections"];
    assert_eq!(
        (&connections["total"], &connections["open"]),
        (&1.into(), &1.into())
    );
    // The session is open, and each of its workers has counted a part.
    assert_eq!(
        (&connections["bytes_up"], &connections["bytes_down"]),
        (&carried.into(), &carried.into()),
        "{connections}"
    );
    session.finish().unwrap();
    session.rest().unwrap();
    let end = front.end("client_closed");
    assert_eq!(
        (&end["bytes_up"], &end["bytes_down"]),
        (&carried.into(), &carried.into()),
        "{end}"
    );
}

#[test]
fn a_session_is_ended_by_its_id_after_a_takeover() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    let (mut ended, mut left) = (front.session(), front.session());
    kept(&front, 2);
    let client = ended.parts().1.local_addr().unwrap().to_string();
    kill(&front);
    for session in [&mut ended, &mut left] {
        session.echo("still here").unwrap();
    }
    let list = front.daemon.json(&["sessions"]);
    let mut list = list.as_array().unwrap().iter();
    let id = list.find(|it| it["client"] == client).unwrap()["id"]
        .as_str()
        .unwrap();
    let answer = front.daemon.ctl(&["end", id]).answer();
    assert_eq!(answer, "Ended 1 session.");
    // TLS that ends without `close_notify` is an error here.
    assert_eq!(ended.rest().unwrap(), b"");
    left.echo("still here").unwrap();
    assert_eq!(
        front.end("ended_by_operator")["by"]
            .as_str()
            .map(str::is_empty),
        Some(false)
    );
}

#[test]
fn a_client_s_certificate_is_listed_and_found_after_a_takeover() {
    let (clients, backend) = (Ca::new("clients"), Backend::tcp());
    let auth = "client_auth = { mode = \"required\", ca = \"clients.crt\" }";
    let listener = Listener::tcp("main", &backend.address()).line(auth);
    let front = Front::with(listener, &[], |it| it.file("clients.crt", clients.pem()));
    let (stolen, other) = (clients.leaf("billing"), clients.leaf("shipping"));
    let [mut ended, mut left] =
        [&stolen, &other].map(|leaf| front.session_of(&front.client.clone().present(leaf)));
    kept(&front, 2);
    kill(&front);
    for session in [&mut ended, &mut left] {
        session.echo("still here").unwrap();
    }
    let list = front.daemon.json(&["sessions"]);
    let list = list.as_array().unwrap();
    for (subject, leaf) in [("CN=billing", &stolen), ("CN=shipping", &other)] {
        let is_it = |it: &&Value| it["client_cert"]["subject"] == subject;
        let shown = list.iter().find(is_it).unwrap();
        assert_eq!(
            shown["client_cert"]["sha256"],
            leaf.sha256.as_str(),
            "{shown}"
        );
    }
    let end = ["end", "--client-cert", &stolen.sha256];
    assert_eq!(front.daemon.ctl(&end).answer(), "Ended 1 session.");
    assert_eq!(ended.rest().unwrap(), b"");
    left.echo("still here").unwrap();
}

#[test]
fn a_client_behind_a_header_is_the_same_after_a_takeover_and_its_backend_is_told_once() {
    for version in ["v1", "v2"] {
        let backend = Fake::new(super::super::support::fake::Heard::listen);
        let line = format!(
            "proxy_protocol = {{ accept = true, from = \"127.0.0.1\", send = \"{version}\" }}"
        );
        let front = Front::new(&backend.address(), &[&line]);
        let socket = connect(front.daemon.address()).unwrap();
        let header = b"PROXY TCP4 203.0.113.7 198.51.100.1 4321 5432\r\n";
        let mut session = front.client.behind(header, usize::MAX, socket).unwrap();
        session.send(b"before").unwrap();
        kept(&front, 1);
        kill(&front);
        session.send(b" and after").unwrap();
        until("all came", || {
            backend.heard()[0].ends_with(b"before and after")
        });
        let shown = &front
            .daemon
            .json(&["sessions", "--client", "203.0.113.0/24"])[0];
        assert_eq!(shown["client"], "203.0.113.7:4321");
        let heard = backend.heard();
        let count = |words: &[u8]| {
            heard[0]
                .windows(words.len())
                .filter(|it| it == &words)
                .count()
        };
        let sign: &[u8] = if version == "v1" {
            b"PROXY "
        } else {
            b"\r\n\r\n\0\r\nQUIT\n"
        };
        assert_eq!((heard.len(), count(sign)), (1, 1), "{version}");
    }
}

#[test]
fn events_and_metrics_tell_of_sessions_that_were_taken_over() {
    let mut stage = Stage::new();
    let mut talks = stage.open_all(&[Kind::of(TLS13, PLAIN); 3]);
    stage.await_kept(talks.len());
    stage.kill();
    talks.iter_mut().for_each(Talk::exchange);
    stage.await_taken_over(3);
    until("an event tells of it", || {
        let events = stage.daemon.events();
        events.iter().any(|it| {
            let message = it["message"].as_str().unwrap_or_default();
            message.contains("3 sessions")
        })
    });
}

/// Waits until so many sessions outlive their worker.
#[track_caller]
fn kept(front: &Front, number: usize) {
    front.daemon.await_status("they are kept", |status| {
        status["sessions"]["kept"] == number
    });
}

/// Kills all workers.
#[track_caller]
fn kill(front: &Front) {
    for worker in process::workers(front.daemon.pid()) {
        process::send(worker, nix::sys::signal::Signal::SIGKILL);
        until("it is dead", || !process::is_alive(worker));
    }
}
