//! The daemon as a service of systemd: its unit, and the messages between the daemon and systemd.

mod newer;
mod package;
mod pgbench;
mod restarts;
mod socket;
mod work;

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{
    PATIENCE,
    backend::Backend,
    client::{Client, handshake},
    daemon::TestDaemon,
    eventually,
    machine::{CONFIGURATION, Machine},
    pki::{Ca, Leaf},
    process,
    program::clean_command,
    skip, until,
};

const CERT: &str = "/etc/proxyd/tls/server.pem";
const KEY: &str = "/etc/proxyd/tls/server.key";

/// A machine with the service, the authority of its certificates, and a backend.
struct Service {
    machine: Machine,
    ca: Ca,
    backend: Backend,
}

impl Service {
    /// Installs and configures the service, with further lines at the beginning of the configuration.
    fn new(lines: &str) -> Option<Self> {
        let service = Self {
            machine: Machine::with_service()?,
            ca: Ca::new("authority"),
            backend: Backend::tcp(),
        };
        service.configure(lines);
        service.put(&service.ca.leaf("localhost"));
        Some(service)
    }

    /// Installs, configures and starts the service.
    fn started(lines: &str) -> Option<Self> {
        let service = Self::new(lines)?;
        service.machine.start();
        Some(service)
    }

    fn configure(&self, lines: &str) {
        let (bind, backend) = (self.machine.address(), self.backend.address());
        self.machine.write(
            CONFIGURATION,
            format!(
                "workers = 2\nwatch = false\n{lines}\n\
                 [[identity]]\nname = \"default\"\ncert = \"{CERT}\"\nkey = \"{KEY}\"\n\
                 [[listener]]\nname = \"main\"\nbind = \"{bind}\"\nprotocol = \"tcp\"\n\
                 backend = \"{backend}\"\n"
            ),
        );
    }

    fn put(&self, leaf: &Leaf) {
        self.machine.write(CERT, &leaf.cert);
        self.machine.write(KEY, &leaf.key);
    }

    /// Waits until clients are shown this certificate.
    #[track_caller]
    fn await_shown(&self, leaf: &Leaf) {
        until("the certificate is shown", || {
            handshake(self.machine.address(), "localhost", &self.ca)
                .is_ok_and(|shown| shown.sha256 == leaf.sha256)
        });
    }

    #[track_caller]
    fn await_property(&self, name: &str, is_it: impl Fn(&str) -> bool) {
        let mut last = String::new();
        eventually(&format!("{name} is as it should be"), PATIENCE, || {
            last = self.machine.property(name);
            is_it(&last).then_some(())
        });
    }

    /// Waits until systemd has started the service at least so many times by itself.
    #[track_caller]
    fn await_restarts(&self, times: u32) {
        self.await_property("NRestarts", |told| {
            told.parse::<u32>().is_ok_and(|told| told >= times)
        });
    }

    /// Kills the supervisor and waits until a new one serves.
    fn kill(&self) {
        let killed = eventually("the service runs", PATIENCE, || {
            let is_active = self.machine.property("ActiveState") == "active";
            self.machine.main_process().filter(|_| is_active)
        });
        killed.send(Signal::SIGKILL);
        until("the supervisor is dead", || !killed.is_alive());
    }
}

#[test]
fn a_started_service_serves_and_reports_its_state() {
    let Some(service) = Service::started("") else {
        return;
    };
    let machine = &service.machine;
    assert_eq!(machine.property("ActiveState"), "active");
    handshake(machine.address(), "localhost", &service.ca).unwrap();
    let _session = Client::new(&service.ca).connect(machine.address()).unwrap();
    service.await_property("StatusText", |text| {
        text == "generation 1, 2 workers, 1 session"
    });
    assert_eq!(machine.property("OOMPolicy"), "continue");
    assert_eq!(machine.property("OOMScoreAdjust"), "-900");
}

#[test]
fn a_reload_succeeds_or_fails_with_its_reason() {
    let Some(service) = Service::started("") else {
        return;
    };
    let (machine, leaf) = (&service.machine, service.ca.leaf("localhost"));
    service.put(&leaf);
    machine.service("reload").answer();
    service.await_shown(&leaf);

    machine.write(CERT, "no certificate");
    machine.service("reload").complaint();
    assert_eq!(machine.property("ActiveState"), "active");
    service.await_shown(&leaf);
    service.await_property("StatusText", |text| {
        text.starts_with("generation 2,")
            && text.contains("; last reload failed: ")
            && text.contains(CERT)
    });
}

#[test]
fn the_journal_knows_errors_by_their_priority() {
    let Some(service) = Service::started("") else {
        return;
    };
    service.machine.write(CERT, "no certificate");
    service.machine.service("reload").complaint();
    let is_told = |lines: &str| lines.lines().any(|line| line.contains(CERT));
    until("the error is told", || {
        is_told(&service.machine.journal(&[]))
    });
    let errors = service.machine.journal(&["--priority=err"]);
    assert!(is_told(&errors), "{errors}");
    let others = service.machine.journal(&["--priority=debug..warning"]);
    assert!(others.contains("proxyd starts"), "{others}");
    assert!(!errors.contains("proxyd starts"), "{errors}");
}

#[test]
fn a_supervisor_that_hangs_is_replaced_by_the_watchdog() {
    let Some(service) = Service::new("") else {
        return;
    };
    service.machine.drop_in("[Service]\nWatchdogSec=1s\n");
    service.machine.start();
    let hanging = service.machine.main_process().unwrap();
    // The daemon feeds the watchdog: otherwise systemd would have killed it before this.
    let began = Instant::now();
    until("the watchdog's time has passed", || {
        began.elapsed() > Duration::from_millis(2500)
    });
    assert_eq!(service.machine.main_process().as_ref(), Some(&hanging));

    let mut session = Client::new(&service.ca)
        .connect(service.machine.address())
        .unwrap();
    session.echo("before").unwrap();
    hanging.send(Signal::SIGSTOP);
    service.await_restarts(1);
    session.echo("its workers go on").unwrap();
    let leaf = service.ca.leaf("localhost");
    service.put(&leaf);
    until("its successor reloads", || {
        service.machine.service("reload").is_success()
    });
    service.await_shown(&leaf);
    session.echo("with its successor").unwrap();
    assert!(!hanging.is_alive());
}

#[test]
fn a_supervisor_that_is_killed_again_and_again_is_started_again_and_again() {
    let Some(service) = Service::started("") else {
        return;
    };
    for killed in 1..=6 {
        service.kill();
        service.await_restarts(killed);
    }
    service.await_property("ActiveState", |state| state == "active");
    handshake(service.machine.address(), "localhost", &service.ca).unwrap();
}

#[test]
fn a_fault_at_the_start_is_over_when_it_is_mended() {
    let Some(service) = Service::new("") else {
        return;
    };
    let (leaf, other) = (service.ca.leaf("localhost"), service.ca.leaf("localhost"));
    service.put(&leaf);
    service.machine.write(KEY, &other.key);
    service.machine.service("start").complaint();
    // More starts than systemd's default limit allows.
    service.await_restarts(6);
    service.machine.write(KEY, &leaf.key);
    service.await_property("ActiveState", |state| state == "active");
    service.await_shown(&leaf);
}

#[test]
fn a_configuration_that_is_missing_when_the_supervisor_dies_does_not_end_the_service() {
    let Some(service) = Service::started("") else {
        return;
    };
    fs::remove_file(service.machine.path(CONFIGURATION)).unwrap();
    service.kill();
    service.await_restarts(1);
    // That of before stays in force.
    service.await_property("ActiveState", |state| state == "active");
}

#[test]
fn a_drain_may_last_longer_than_the_unit_gives_it() {
    let Some(service) = Service::new("drain_timeout = \"20s\"") else {
        return;
    };
    let patience = Duration::from_secs(1);
    service.machine.drop_in(&format!(
        "[Service]\nTimeoutStopSec={}s\n",
        patience.as_secs()
    ));
    service.machine.start();
    let mut session = Client::new(&service.ca)
        .connect(service.machine.address())
        .unwrap();
    session.echo("before").unwrap();
    let began = Instant::now();
    service
        .machine
        .run(&["systemctl", "stop", "--no-block", "proxyd"])
        .answer();
    service.await_property("StatusText", |text| text == "draining, 1 session left");
    until("the unit's time has passed three times", || {
        session.echo("meanwhile").unwrap();
        began.elapsed() > 3 * patience
    });
    session.close().unwrap();
    drop(session);
    service.await_property("ActiveState", |state| state != "deactivating");
    assert_eq!(service.machine.property("Result"), "success");
    assert!(
        began.elapsed() < Duration::from_secs(18),
        "the drain went on"
    );
}

#[test]
fn a_drain_that_hangs_is_ended_by_systemd() {
    let Some(service) = Service::new("drain_timeout = \"5m\"") else {
        return;
    };
    service
        .machine
        .drop_in("[Service]\nTimeoutStopSec=1s\nWatchdogSec=0\n");
    service.machine.start();
    let mut session = Client::new(&service.ca)
        .connect(service.machine.address())
        .unwrap();
    session.echo("before").unwrap();
    let hanging = service.machine.main_process().unwrap();
    service
        .machine
        .run(&["systemctl", "stop", "--no-block", "proxyd"])
        .answer();
    service.await_property("StatusText", |text| text.starts_with("draining"));
    hanging.send(Signal::SIGSTOP);
    eventually("systemd kills it", Duration::from_secs(60), || {
        (!hanging.is_alive()).then_some(())
    });
}

#[test]
fn a_service_stopped_by_proxyctl_stays_stopped() {
    let Some(service) = Service::started("") else {
        return;
    };
    service.machine.ctl(&["stop"]).answer();
    service.await_property("ActiveState", |state| state == "inactive");
    assert_eq!(service.machine.property("NRestarts"), "0");
}

#[test]
fn workers_are_not_spared_with_the_supervisor_when_memory_runs_short() {
    let spared = ["choom", "-n", "-500", "--"];
    let mut probe = clean_command(spared[0]);
    if !probe
        .args(&spared[1..])
        .arg("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        return skip("only root with CAP_SYS_RESOURCE may spare a process");
    }
    let daemon = TestDaemon::builder().wrapped(&spared).start();
    let adjustment = |pid| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(adjustment(daemon.pid()), "-500\n");
    for worker in daemon.workers() {
        assert_eq!(adjustment(worker), "0\n");
    }
}

#[test]
fn the_sandbox_lets_through_what_the_service_needs() {
    let lines = "control_group = \"proxyadmin\"\n\
                 log = { file = \"/var/log/proxyd/proxyd.log\" }\n\
                 on_exit_failure = { command = [\"/bin/sh\", \"-c\", \"echo paged\"] }";
    let Some(service) = Service::new(lines) else {
        return;
    };
    let machine = &service.machine;
    // Like the key of a database, which belongs to the database's own user.
    machine.run(&["chown", "1:1", KEY]).answer();
    machine.run(&["chmod", "600", KEY]).answer();
    machine.start();
    handshake(machine.address(), "localhost", &service.ca).unwrap();

    let group = machine.run(&["getent", "group", "proxyadmin"]).answer();
    let group = group.split(':').nth(2).unwrap();
    let groups = format!("--groups={group}");
    let member = ["setpriv", "--reuid=1", "--regid=1", &groups, "proxyctl"];
    let socket = ["--socket", "/run/proxyd/proxyd.sock", "status"];
    machine.run(&[&member[..], &socket].concat()).answer();

    let worker = machine.worker();
    let user = process::user(worker.pid);
    assert!(user.is_some_and(|user| user != 0), "{user:?}");
    worker.send(Signal::SIGKILL);
    let log = machine.path("/var/log/proxyd/proxyd.log");
    until("the exit-failure command has run", || {
        fs::read_to_string(&log).unwrap().contains("paged")
    });
    let checked = machine.ctl(&["check"]);
    let is_fine = checked.code() <= 1;
    assert!(is_fine, "neither critical nor unknown: {checked:#?}");
}

#[test]
fn the_sandbox_is_tight() {
    let Some(machine) = Machine::with_service() else {
        return;
    };
    let threshold = "--threshold=25";
    machine
        .run(&["systemd-analyze", "security", threshold, "proxyd.service"])
        .answer();
}
