//! Workers that are killed at any system call of a conversation, at its entry and at its exit: the session goes on in
//! the worker's successor, and every byte arrives once.
//!
//! Each stop takes a conversation of its own, until conversations end before they come to it. A daemon serves many:
//! its sessions are opened before, and each death hands all that are left to the next worker.

mod conversation;
mod service;

use self::{
    conversation::{Ended, Kind, Talk},
    service::Service,
};
use crate::support::{
    PATIENCE,
    client::Client,
    configuration::Listener,
    eventually, is_root, process,
    scene::Scene,
    skip,
    stepper::{Stepped, Stepper},
};

/// Sessions of one daemon. Each is for one death.
const SESSIONS: usize = 60;

/// After so many conversations in a row that ended before the stop there are no more stops.
const ENOUGH: usize = 3;

/// A conversation stops its worker at least so often; otherwise this tests nothing.
const FEWEST: usize = 15;

/// A daemon of one worker with sessions that were not used yet.
struct Stage {
    scene: Scene,
    /// One that is never worked on when its worker dies.
    witness: Talk,
    fresh: Vec<Talk>,
    /// How many sessions ended with their worker.
    ended: u64,
}

impl Stage {
    fn new(kind: Kind) -> Self {
        let mut service = None;
        let scene = Scene::with(|builder| {
            let started = Service::start(kind, builder.folder());
            let mut listener =
                Listener::tcp("main", &started.address()).line("tls = { mode = \"preferred\" }");
            if kind == Kind::Unix {
                let path = builder.folder().join("front.sock");
                listener = listener.bind(&format!("unix:{}", path.display()));
            }
            if kind == Kind::BothTls {
                listener = listener.line("backend_tls = { mode = \"require\" }");
            }
            service = Some(started);
            builder
                .set("keep_after", "\"1ms\"")
                .set("heartbeat_timeout", "\"60s\"")
                .listener(listener)
        });
        let service = service.expect("it was started");
        let client = Client::new(&scene.ca);
        let open = |mode| Talk::begin(kind.open(&scene.daemon, &client), mode, &service);
        let witness = open(Kind::ECHO);
        let fresh = (0..SESSIONS).map(|_| open(kind.mode())).collect();
        scene
            .daemon
            .await_status("all sessions are kept", |status| {
                status["sessions"]["kept"] == SESSIONS + 1
            });
        Self {
            scene,
            witness,
            fresh,
            ended: 0,
        }
    }

    /// Returns the only worker, which is not this one.
    fn worker_after(&self, last: u32) -> u32 {
        eventually("there is a worker", PATIENCE, || {
            let children = process::children(self.scene.daemon.pid()).into_iter();
            let mut workers = children.filter(|pid| *pid != last && process::is_alive(*pid));
            workers.find(|pid| process::name(*pid).as_deref() == Some("proxyd-worker"))
        })
    }

    /// Has one conversation while the worker is stepped, and another one over a session that was idle meanwhile.
    fn converse(&mut self, kind: Kind, worker: u32, stop: usize) -> Stepped {
        let mut talk = self.fresh.pop().expect("there are some left");
        let stepper = Stepper::attach(worker, Some(stop));
        let said = talk.converse();
        let stepped = stepper.finish();
        let context = format!("{kind:?}, stop {stop}: {stepped:?}");
        match said {
            Ok(Ended::Well) => {}
            // Nothing tells whether a Unix socket took what its worker was just writing.
            Ok(Ended::Early) if kind == Kind::Unix && stepped.killed.is_some() => self.ended += 1,
            said => panic!("{context}: {said:?}"),
        }
        let idle = self.witness.converse();
        assert!(matches!(idle, Ok(Ended::Well)), "{context}, idle: {idle:?}");
        stepped
    }

    /// Asserts that sessions were lost for the one reason that there may be, which may also be behind the last byte.
    fn assert_lost(&self) {
        let sessions = &self.scene.daemon.status()["sessions"];
        let lost = sessions["lost_total"].as_u64().unwrap();
        assert!(lost >= self.ended, "{sessions}, {} ended", self.ended);
        assert_eq!(sessions["lost_by_reason"]["unix_write"], lost, "{sessions}");
    }
}

/// Kills workers at each stop that a conversation of this kind brings about.
fn at_every_stop(kind: Kind) {
    if !is_root() {
        return skip("only root may attach to a worker");
    }
    let (mut stop, mut unreached, mut last) = (0, 0, 0);
    let mut stage = Stage::new(kind);
    while unreached < ENOUGH {
        if stage.fresh.is_empty() {
            stage.assert_lost();
            stage = Stage::new(kind);
        }
        stop += 1;
        let worker = stage.worker_after(last);
        let stepped = stage.converse(kind, worker, stop);
        if stepped.killed.is_some() {
            (unreached, last) = (0, worker);
        } else {
            unreached += 1;
        }
    }
    stage.assert_lost();
    let stops = stop - ENOUGH;
    assert!(stops >= FEWEST, "{kind:?}: only {stops} stops");
}

#[test]
fn a_session_of_tls_13_outlives_a_worker_that_is_killed_at_any_system_call() {
    at_every_stop(Kind::Tls13);
}

#[test]
fn a_session_of_tls_12_outlives_a_worker_that_is_killed_at_any_system_call() {
    at_every_stop(Kind::Tls12);
}

#[test]
fn a_session_with_tls_on_both_sides_outlives_a_worker_that_is_killed_at_any_system_call() {
    at_every_stop(Kind::BothTls);
}

#[test]
fn a_session_in_plaintext_outlives_a_worker_that_is_killed_at_any_system_call() {
    at_every_stop(Kind::Plain);
}

#[test]
fn a_session_over_unix_sockets_outlives_a_worker_that_is_killed_unless_it_was_writing() {
    at_every_stop(Kind::Unix);
}

#[test]
fn a_session_that_one_side_has_ended_outlives_a_worker_that_is_killed_at_any_system_call() {
    at_every_stop(Kind::HalfClosed);
}

#[test]
fn a_session_in_which_bytes_wait_outlives_a_worker_that_is_killed_at_any_system_call() {
    at_every_stop(Kind::Slow);
}
