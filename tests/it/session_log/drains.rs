//! The sessions that a drain cuts, and what the log says about them.

use std::io::Write as _;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Front, ends, lines};
use crate::support::{
    PATIENCE,
    backend::Backend,
    client::connect,
    configuration::Listener,
    fake::{TlsEnd, TlsFake},
    pki::Ca,
    until,
};

/// Starts a daemon with this drain timeout.
fn front(backend: &str, lines: &[&str], drain: &str, workers: usize) -> Front {
    let listener = Listener::tcp("main", backend);
    Front::with(listener, lines, |it| {
        it.set("drain_timeout", drain).workers(workers)
    })
}

/// Returns how many sessions were cut according to the log lines about drains: first the lines of
/// workers, then those of the supervisor, which name the worker.
fn cuts(front: &Front) -> (Vec<u64>, Vec<u64>) {
    let lines = lines(&front.daemon);
    let cuts = lines.iter().filter(|line| line["cut"].is_u64());
    let (told, own): (Vec<&Value>, Vec<&Value>) = cuts.partition(|line| line["pid"].is_u64());
    let numbers = |lines: Vec<&Value>| lines.iter().map(|it| it["cut"].as_u64().unwrap()).collect();
    (numbers(own), numbers(told))
}

#[test]
fn sessions_that_are_left_are_cut_properly_and_logged() {
    let servers = Ca::new("databases");
    let backend = TlsFake::new(&servers.leaf("127.0.0.1"), None);
    let tls = ["backend_tls = { mode = \"require\" }"];
    let mut front = front(&backend.address(), &tls, "\"300ms\"", 1);
    let mut sessions = [front.session(), front.session(), front.session()];
    front.daemon.signal(Signal::SIGTERM);
    for session in &mut sessions {
        // An end that TLS does not announce is an error here.
        assert_eq!(session.rest().unwrap(), b"");
    }
    assert_eq!(front.daemon.wait_exit(PATIENCE).code(), Some(0));
    let ends = ends(&front.daemon);
    assert_eq!(ends.len(), 3, "{ends:?}");
    for end in ends {
        assert_eq!(
            (&end["reason"], &end["bytes_up"]),
            (&"drained".into(), &6.into())
        );
        assert_eq!(end["level"], "INFO");
    }
    assert_eq!(cuts(&front), (vec![3], vec![3]));
    until("the backends were told", || backend.ends().len() == 3);
    assert_eq!(backend.ends(), [TlsEnd::Told; 3]);
}

#[test]
fn a_session_that_has_not_begun_is_cut_too() {
    let backend = Backend::tcp();
    let mut front = front(&backend.address(), &[], "\"300ms\"", 1);
    let mut socket = connect(front.daemon.address()).unwrap();
    socket.write_all(&[22]).unwrap();
    front.daemon.await_status("it is accepted", |status| {
        status["listeners"][0]["connections"]["open"] == 1
    });
    front.daemon.signal(Signal::SIGTERM);
    front.daemon.wait_exit(PATIENCE);
    assert_eq!(ends(&front.daemon)[0]["reason"], "drained");
    assert_eq!(cuts(&front), (vec![1], vec![1]));
}

#[test]
fn a_drain_that_cuts_nothing_says_so_for_each_worker() {
    let backend = Backend::tcp();
    let mut front = front(&backend.address(), &[], "\"30s\"", 2);
    let mut session = front.session();
    front.daemon.signal(Signal::SIGTERM);
    front.daemon.await_status("it drains", |status| {
        status["supervisor"]["state"] == "draining"
    });
    session.finish().unwrap();
    front.daemon.wait_exit(PATIENCE);
    assert_eq!(ends(&front.daemon)[0]["reason"], "client_closed");
    assert_eq!(cuts(&front), (vec![0, 0], vec![0, 0]));
}

#[test]
fn a_client_that_does_not_read_does_not_delay_the_end() {
    let backend = Backend::tcp();
    let mut front = front(&backend.address(), &[], "\"300ms\"", 1);
    let mut session = front.session();
    let (tls, socket) = session.parts();
    socket.set_nonblocking(true).unwrap();
    // The echo is not read, until neither side can send any more.
    while tls.writer().write_all(&[b'x'; 16 * 1024]).is_ok() {
        if tls.write_tls(socket).is_err() {
            break;
        }
    }
    front.daemon.signal(Signal::SIGTERM);
    assert_eq!(front.daemon.wait_exit(PATIENCE).code(), Some(0));
    assert_eq!(ends(&front.daemon)[0]["reason"], "drained");
    assert_eq!(cuts(&front), (vec![1], vec![1]));
}

#[test]
fn a_worker_that_has_finished_before_the_others_is_an_event() {
    let backend = Backend::tcp();
    let mut front = front(&backend.address(), &[], "\"1h\"", 2);
    let mut session = front.session();
    let workers = front.daemon.workers();
    front.daemon.signal(Signal::SIGTERM);
    let finished = |event: &Value| {
        let message = event["message"].as_str().unwrap();
        let names = |pid: &u32| message.contains(&format!("worker {pid} "));
        event["kind"] == "ending" && workers.iter().any(names)
    };
    until("the worker without sessions has said so", || {
        front
            .daemon
            .events()
            .iter()
            .filter(|it| finished(it))
            .count()
            == 1
    });
    session.echo("still there").unwrap();
}
