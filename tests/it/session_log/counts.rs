//! Counts of how sessions ended.

use std::io::{Read as _, Write as _};

use nix::sys::signal::Signal;

use super::{Front, ended};
use crate::support::{backend::Backend, client::connect, configuration::Listener, process};

/// Waits until the supervisor knows so many ends.
#[track_caller]
fn await_ended(front: &Front, reason: &str, number: u64) {
    front.daemon.await_status("the ends are counted", |status| {
        ended(status, reason) == number
    });
}

#[test]
fn counts_are_the_sum_of_all_workers_and_outlive_them() {
    let backend = Backend::tcp();
    let listener = Listener::tcp("main", &backend.address());
    let front = Front::with(listener, &[], |it| it.workers(2));
    for _ in 0..6 {
        front.session().finish().unwrap();
    }
    await_ended(&front, "client_closed", 6);
    for worker in front.daemon.workers() {
        assert!(process::send(worker, Signal::SIGKILL));
    }
    front.daemon.await_status("both were replaced", |status| {
        let workers = status["workers"].as_array().unwrap();
        let serve = workers.iter().all(|it| it["state"] == "serving");
        serve && status["restarts"]["total"] == 2
    });
    await_ended(&front, "client_closed", 6);
    front.session().finish().unwrap();
    await_ended(&front, "client_closed", 7);
}

#[test]
fn every_session_is_open_or_has_ended_for_one_reason() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    let _open = front.session();
    front.session().finish().unwrap();
    drop(connect(front.daemon.address()).unwrap());
    let mut socket = connect(front.daemon.address()).unwrap();
    socket.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let _ = socket.read_to_end(&mut Vec::new());
    let status = front
        .daemon
        .await_status("all but one have ended", |status| {
            let connections = &status["listeners"][0]["connections"];
            connections["total"] == 4 && connections["open"] == 1
        });
    let connections = &status["listeners"][0]["connections"];
    let reasons = connections["ended"].as_object().unwrap();
    let sum: u64 = reasons.values().map(|it| it.as_u64().unwrap()).sum();
    assert_eq!(sum, 3, "{connections}");
    assert_eq!(connections["ended"]["not_tls"], 1);
    assert_eq!(connections["failed_by_reason"]["not_tls"], 1);
}
