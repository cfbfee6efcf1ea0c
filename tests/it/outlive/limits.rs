//! Limits and timeouts of sessions that were taken over.

use std::{
    io::ErrorKind,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use super::{
    kind::{Kind, PLAIN, TLS13},
    stage::Stage,
    talk::Talk,
};
use crate::support::{
    backend::Backend,
    client::{Client, connect_from},
    configuration::Listener,
    daemon::TestDaemon,
    fake::TlsFake,
    network::{BEYOND, is_all_acknowledged, network_of},
    pki::Ca,
    process, until,
};

/// Returns whether a client that comes from this address is served.
fn is_served(stage: &Stage, source: Ipv4Addr) -> bool {
    let address = stage.daemon.address_of("tcp-tcp-plain");
    let socket = connect_from(source, address).unwrap();
    Client::new(&stage.ca).over(socket).is_ok()
}

/// Fills a listener with two sessions, kills every worker of two twice, and sees that a third is turned
/// away until one has ended.
#[track_caller]
fn taken_over_sessions_count(limit: &str, others: bool) {
    let limits = format!("limits = {{ {limit} = 2 }}");
    let mut stage = Stage::with(&[&limits], |it| it.workers(2));
    let kind = Kind::of(TLS13, PLAIN);
    let mut talks = stage.open_all(&[kind, kind]);
    stage.await_kept(2);
    for deaths in 1..=2 {
        stage.kill();
        talks.iter_mut().for_each(Talk::exchange);
        stage.await_taken_over(2 * deaths);
        assert!(
            !is_served(&stage, Ipv4Addr::LOCALHOST),
            "after {deaths} deaths"
        );
        assert_eq!(is_served(&stage, Ipv4Addr::new(127, 0, 0, 2)), others);
        // This session must not end with the next worker.
        stage.daemon.ctl(&["end", "--client", "127.0.0.2"]);
        stage.daemon.await_status("the other is gone", |status| {
            status["sessions"]["open"] == 2
        });
    }
    talks.pop().unwrap().finish();
    until("there is a place again", || {
        is_served(&stage, Ipv4Addr::LOCALHOST)
    });
    stage.lost_none();
}

#[test]
fn sessions_that_were_taken_over_count_among_those_of_their_listener() {
    taken_over_sessions_count("max_connections", false);
}

#[test]
fn sessions_that_were_taken_over_count_among_those_of_their_client() {
    taken_over_sessions_count("per_client", true);
}

#[test]
fn the_idle_timeout_goes_on_over_a_takeover() {
    const LIMIT: Duration = Duration::from_secs(1);
    let limits = "limits = { idle_timeout = \"1s\" }";
    let mut stage = Stage::with(&[limits], |it| it);
    let mut talk = stage.open(&Kind::of(TLS13, PLAIN));
    stage.await_kept(1);
    stage.kill();
    talk.exchange();
    let last = Instant::now();
    assert_eq!(talk.client.hear().unwrap(), b"");
    let elapsed = last.elapsed();
    assert!(
        LIMIT * 9 / 10 < elapsed && elapsed < LIMIT * 3,
        "{elapsed:?}"
    );
    stage.daemon.await_status("it is counted", |status| {
        let listeners = status["listeners"].as_array().unwrap();
        listeners
            .iter()
            .any(|it| it["connections"]["ended"]["idle_timeout"] == 1)
    });
}

#[test]
fn the_time_that_a_session_was_idle_before_its_worker_died_counts() {
    const LIMIT: Duration = Duration::from_secs(2);
    let limits = "limits = { idle_timeout = \"2s\" }";
    let mut stage = Stage::with(&[limits], |it| it);
    let mut talk = stage.open(&Kind::of(TLS13, PLAIN));
    talk.exchange();
    let last = Instant::now();
    until("it is idle", || {
        stage.list(&[])[0]["idle_s"].as_f64() > Some(1.2)
    });
    stage.kill();
    assert_eq!(talk.client.hear().unwrap(), b"");
    let elapsed = last.elapsed();
    assert!(
        LIMIT * 9 / 10 < elapsed && elapsed < LIMIT * 3 / 2,
        "{elapsed:?}"
    );
}

#[test]
fn a_peer_that_acknowledges_nothing_is_dead_after_the_limit_also_to_the_next_worker() {
    const LIMIT: Duration = Duration::from_secs(2);
    let test = "outlive::limits::a_peer_that_acknowledges_nothing_is_dead_after_the_limit_also_to_\
                the_next_worker";
    let Some(network) = network_of(test) else {
        return;
    };
    let ca = Ca::new("authority");
    let leaf = ca.leaf(BEYOND);
    let listen = || std::net::TcpListener::bind((BEYOND, 0)).unwrap();
    let backend = network.beyond(|| TlsFake::over(listen(), &leaf, None));
    let listener = Listener::tcp("main", &backend.address())
        .line("backend_tls = { mode = \"require\" }")
        .line("limits = { dead_peer_timeout = \"2s\" }");
    let near = Backend::tcp();
    let daemon = TestDaemon::builder()
        .identity("default", &ca.leaf("localhost"))
        .listener(listener)
        .listener(Listener::tcp("near", &near.address()))
        .start();
    let mut session = Client::new(&ca).connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
    daemon.await_status("it is kept", |status| status["sessions"]["kept"] == 1);
    until("all is acknowledged", is_all_acknowledged);
    let kill = || {
        for worker in process::workers(daemon.pid()) {
            process::send(worker, nix::sys::signal::Signal::SIGKILL);
        }
    };
    kill();
    session.echo("hello again").unwrap();
    network.fail();
    let began = Instant::now();
    session.send(b"a request\n").unwrap();
    // The next worker has to find out by itself that the peer is dead.
    until("half of the time is over", || began.elapsed() > LIMIT / 2);
    kill();
    let error = session.rest().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
    let elapsed = began.elapsed();
    assert!(elapsed >= LIMIT && elapsed < LIMIT * 4, "{elapsed:?}");
    daemon.await_status("it is counted", |status| {
        status["listeners"][0]["connections"]["ended"]["backend_dead"] == 1
    });
    assert_eq!(daemon.status()["sessions"]["lost_total"], 0);
}
