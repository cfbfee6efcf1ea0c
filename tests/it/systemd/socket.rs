//! Socket activation: systemd has the listening socket, and starts the service for the first client.

use std::net::TcpStream;

use nix::sys::signal::Signal;

use super::{KEY, Service};
use crate::support::{
    client::{Client, connect},
    machine::{CONFIGURATION, Machine},
    scene::Knocker,
};

impl Service {
    /// Installs and configures the service, and has systemd listen for it.
    fn behind_socket() -> Option<Self> {
        let service = Self::new("")?;
        service.machine.enable_socket();
        Some(service)
    }

    /// Has a client connect, which waits until there is a daemon.
    fn client_waits(&self) -> TcpStream {
        connect(self.machine.address()).unwrap()
    }

    #[track_caller]
    fn serves(&self, client: TcpStream) {
        let mut session = Client::new(&self.ca).over(client).unwrap();
        session.echo("hello").unwrap();
    }
}

impl Machine {
    /// Has systemd listen at its address, now and at each boot.
    pub(super) fn enable_socket(&self) {
        self.write(
            "/etc/systemd/system/proxyd.socket.d/override.conf",
            format!("[Socket]\nListenStream={}\n", self.address()),
        );
        self.run(&["systemctl", "daemon-reload"]).answer();
        let enable = ["systemctl", "enable", "--now", "proxyd.socket"];
        self.run(&enable).answer();
    }
}

#[test]
fn the_first_client_starts_the_service_and_no_restart_death_or_upgrade_refuses_or_cuts_any() {
    let Some(service) = Service::behind_socket() else {
        return;
    };
    let machine = &service.machine;
    assert_eq!(machine.property("ActiveState"), "inactive");
    service.serves(service.client_waits());
    let work = service.work();
    let knocker = Knocker::start(machine.address());
    for _ in 0..3 {
        let main = machine.main_process().unwrap();
        machine.service("restart").answer();
        let main = service.await_successor(&main);
        work.goes_on();
        main.send(Signal::SIGKILL);
        let main = service.await_successor(&main);
        work.goes_on();
        machine.ctl(&["--timeout", "60s", "upgrade"]).answer();
        assert_eq!(machine.main_process(), Some(main));
        work.goes_on();
    }
    work.was_never_disturbed();
    knocker.was_never_refused();
    let journal = machine.journal(&[]);
    let bound = format!("address={}", machine.address());
    assert!(journal.contains(&bound), "{journal}");
    assert!(!journal.contains("that no listener has"), "{journal}");
}

#[test]
fn a_stop_or_a_fault_at_the_start_leaves_the_port_open_and_clients_are_served_by_the_next_start() {
    let Some(service) = Service::behind_socket() else {
        return;
    };
    let machine = &service.machine;
    machine.start();
    machine.service("stop").answer();
    let check = ["proxyd", "--config", CONFIGURATION, "--check-config"];
    let told = machine.run(&check).answer();
    assert!(told.contains("systemd listens there"), "{told}");
    service.serves(service.client_waits());
    machine.ctl(&["stop"]).answer();
    service.await_property("ActiveState", |state| state == "inactive");
    let (leaf, other) = (service.ca.leaf("localhost"), service.ca.leaf("localhost"));
    service.put(&leaf);
    machine.write(KEY, &other.key);
    let client = service.client_waits();
    service.await_restarts(6);
    service.put(&leaf);
    service.serves(client);
}
