//! Restarts of the service and deaths of its processes, with clients at work: what is lost, and what is known after.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Service, work::Work};
use crate::support::{
    PATIENCE,
    client::{Client, connect, handshake},
    eventually,
    machine::Machine,
    process::{self, Known},
    scene::Knocker,
    until,
};

/// How often the service is restarted, or killed.
const ROUNDS: usize = 20;

/// How many sessions are at work.
const SESSIONS: usize = 6;

/// How many processes a service with two workers has: the supervisor, them, and the resolver.
const PROCESSES: usize = 4;

impl Service {
    pub(super) fn work(&self) -> Work {
        Work::start(SESSIONS, self.ca.pem(), self.machine.address())
    }

    fn status(&self) -> Value {
        let status = self.machine.ctl(&["--json", "status"]).answer();
        serde_json::from_str(&status).unwrap()
    }

    /// Waits until another supervisor than `before` serves with workers of its own alone; returns it.
    #[track_caller]
    pub(super) fn await_successor(&self, before: &Known) -> Known {
        eventually("a successor has taken over", PATIENCE, || {
            let main = self.machine.main_process()?;
            let status = self.machine.ctl(&["--json", "status"]);
            let status: Value = serde_json::from_str(&status.stdout).ok()?;
            let workers = status["workers"].as_array()?;
            let serve = workers.iter().all(|worker| worker["state"] == "serving");
            (main != *before && serve && workers.len() == 2).then_some(main)
        })
    }

    /// Waits until the service has no process but those that it needs.
    #[track_caller]
    fn await_processes(&self, count: usize) {
        until("no process is left behind", || {
            self.machine.processes("proxyd").len() == count
        });
    }

    /// Returns how many descriptors systemd keeps for the service.
    fn stored(&self) -> usize {
        self.machine
            .property("NFileDescriptorStore")
            .parse()
            .unwrap()
    }

    /// Waits until systemd keeps so many descriptors.
    #[track_caller]
    fn await_stored(&self, count: usize) {
        until("systemd keeps what it is to keep", || {
            self.stored() == count
        });
    }

    /// Has the main process end in some way [`ROUNDS`] times under load: no client is refused, and no session is lost.
    #[track_caller]
    fn goes_on_each_time(&self, end: impl Fn(&Known)) {
        let work = self.work();
        let mut main = self.machine.main_process().unwrap();
        work.goes_on();
        let stored = self.stored();
        assert!(
            stored >= 4,
            "two sockets, the book and the generation: {stored}"
        );
        for _ in 0..ROUNDS {
            end(&main);
            main = self.await_successor(&main);
            work.goes_on();
        }
        work.was_never_disturbed();
        self.went_on(stored);
    }

    /// Checks what must be known and left after deaths and restarts that none was to notice.
    #[track_caller]
    fn went_on(&self, stored: usize) {
        let status = self.status();
        assert_eq!(status["tls"]["generation"], 1, "{status:#}");
        assert_eq!(status["restarts"]["total"], 0, "{status:#}");
        assert_eq!(status["sessions"]["lost_total"], 0, "{status:#}");
        self.await_processes(PROCESSES);
        self.await_stored(stored);
    }
}

#[test]
fn twenty_restarts_under_load_refuse_no_client_and_lose_no_session() {
    let Some(service) = Service::started("") else {
        return;
    };
    service.goes_on_each_time(|_| drop(service.machine.service("restart").answer()));
    let journal = service.machine.journal(&[]);
    let left = journal.matches("The supervisor ends for a restart").count();
    assert_eq!(left, ROUNDS, "{journal}");
}

#[test]
fn twenty_deaths_of_the_supervisor_under_load_refuse_no_client_and_lose_no_session() {
    let Some(service) = Service::started("") else {
        return;
    };
    service.goes_on_each_time(|main| main.send(Signal::SIGKILL));
}

#[test]
fn a_port_stays_open_and_numbers_go_on_when_all_processes_are_killed() {
    let Some(service) = Service::started("") else {
        return;
    };
    let leaf = service.ca.leaf("localhost");
    service.put(&leaf);
    service.machine.service("reload").answer();
    service.await_shown(&leaf);
    service.await_stored(service.stored().max(4));
    let events = |service: &Service| {
        let told = service.machine.ctl(&["--json", "events"]).answer();
        told.lines().count()
    };
    let known = events(&service);
    let knocker = Knocker::start(service.machine.address());
    for round in 1..=5 {
        let main = service.machine.main_process().unwrap();
        let killed = ["systemctl", "kill", "--signal=KILL", "proxyd"];
        service.machine.run(&killed).answer();
        // It waits in the queue of a socket that no process but systemd has.
        service.await_successor(&main);
        handshake(service.machine.address(), "localhost", &service.ca).unwrap();
        let status = service.status();
        assert_eq!(status["tls"]["generation"], 2, "round {round}: {status:#}");
    }
    knocker.was_never_refused();
    assert!(events(&service) > known, "earlier events are still known");
    service.put(&service.ca.leaf("localhost"));
    service.machine.service("reload").answer();
    assert_eq!(service.status()["tls"]["generation"], 3);
}

#[test]
fn a_client_that_comes_while_no_process_runs_is_served_by_the_next() {
    let Some(service) = Service::new("") else {
        return;
    };
    service.machine.drop_in("[Service]\nRestartSec=2s\n");
    service.machine.start();
    service.await_stored(service.stored().max(4));
    let killed = ["systemctl", "kill", "--signal=KILL", "proxyd"];
    service.machine.run(&killed).answer();
    service.await_processes(0);
    let stream = connect(service.machine.address()).unwrap();
    let mut session = Client::new(&service.ca).over(stream).unwrap();
    session.echo("hello").unwrap();
}

#[test]
fn a_stop_drains_says_how_many_it_cut_and_leaves_nothing() {
    let Some(service) = Service::started("drain_timeout = \"2s\"") else {
        return;
    };
    let client = Client::new(&service.ca);
    let mut sessions: Vec<_> = (0..3)
        .map(|_| client.connect(service.machine.address()).unwrap())
        .collect();
    for session in &mut sessions {
        session.echo("hello").unwrap();
    }
    let began = Instant::now();
    thread::scope(|scope| {
        let stopped = scope.spawn(|| service.machine.service("stop"));
        service.await_property("StatusText", |text| text.starts_with("draining"));
        sessions.pop().unwrap().close().unwrap();
        stopped.join().unwrap().answer();
    });
    assert!(began.elapsed() >= Duration::from_secs(2), "it drains");
    let journal = service.machine.journal(&[]);
    let told = "1 session ended by itself and 2 were cut";
    assert!(
        journal.contains(&format!("The daemon has ended: {told}")),
        "{journal}"
    );
    assert!(
        journal.contains(&format!("proxyd has ended: {told}")),
        "{journal}"
    );
    assert_eq!(service.machine.property("Result"), "success");
    service.await_processes(0);
    assert!(connect(service.machine.address()).is_err());
    service.machine.start();
    assert_eq!(service.status()["sessions"]["open"], 0);
}

#[test]
fn a_restart_whose_start_fails_loses_no_session_and_the_next_start_takes_over() {
    let Some(service) = Service::started("") else {
        return;
    };
    let work = service.work();
    let main = service.machine.main_process().unwrap();
    work.goes_on();
    service
        .machine
        .drop_in("[Service]\nExecStartPre=/bin/false\n");
    service.machine.service("restart").complaint();
    service.await_restarts(2);
    work.goes_on();
    service.machine.drop_in("");
    service.await_successor(&main);
    work.goes_on();
    work.was_never_disturbed();
}

impl Machine {
    /// Returns the processes there whose names begin so.
    fn processes(&self, name: &str) -> Vec<u32> {
        let mut waiting = vec![self.init()];
        let mut found = Vec::new();
        while let Some(pid) = waiting.pop() {
            waiting.extend(process::children(pid));
            if process::status_line(pid, "Name").is_some_and(|it| it.starts_with(name)) {
                found.push(pid);
            }
        }
        found
    }
}
