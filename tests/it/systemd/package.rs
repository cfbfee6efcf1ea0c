//! The Debian package: the effects of installation, upgrade, removal and purge.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path};

use super::{newer, pgbench::Pgbench, work::Work};
use crate::support::{
    backend::Backend,
    client::exchange,
    machine::{CONFIGURATION, Machine},
    package::{build, programs},
    servers,
};

/// The paths of which a purge must leave nothing.
const PLACES: [&str; 7] = [
    "/etc/proxyd",
    "/etc/systemd/system/multi-user.target.wants/proxyd.service",
    "/etc/systemd/system/sockets.target.wants/proxyd.socket",
    "/run/proxyd",
    "/usr/bin/proxyd",
    "/var/lib/proxyd",
    "/var/log/proxyd",
];

/// Boots a machine with the package in `/mnt`, which is returned too; `None` skips the test.
fn with_package() -> Option<(Machine, String)> {
    let machine = Machine::bare()?;
    let package = put_package(&machine, programs(), "1")?;
    Some((machine, package))
}

/// Builds the package of a revision out of the programs in a folder; returns where the machine has it.
fn put_package(machine: &Machine, programs: &Path, revision: &str) -> Option<String> {
    let path = build(machine.shared(), programs, revision)?;
    let name = path.file_name().unwrap().to_str().unwrap();
    Some(format!("/mnt/{name}"))
}

fn configure(machine: &Machine) {
    let listener = listener("main", machine.address(), "tcp", "127.0.0.1:9");
    machine.write(CONFIGURATION, listener);
}

/// Returns the lines that configure a listener.
fn listener(name: &str, address: SocketAddr, protocol: &str, backend: &str) -> String {
    format!(
        "[[listener]]\nname = \"{name}\"\nbind = \"{address}\"\nprotocol = \"{protocol}\"\n\
         backend = \"{backend}\"\n"
    )
}

fn install_and_start(machine: &Machine, package: &str) {
    machine.run(&["dpkg", "--install", package]).answer();
    configure(machine);
    enable(machine);
}

fn enable(machine: &Machine) {
    machine
        .run(&["systemctl", "enable", "--now", "proxyd"])
        .answer();
}

#[test]
fn an_installation_makes_the_user_and_says_what_is_to_be_done() {
    let Some((machine, package)) = with_package() else {
        return;
    };
    let said = machine.run(&["dpkg", "--install", &package]).answer();
    assert!(said.contains("systemctl enable --now proxyd"), "{said}");
    machine.run(&["getent", "passwd", "proxyd"]).answer();
    machine.run(&["getent", "group", "proxyadmin"]).answer();
    assert_eq!(machine.property("ActiveState"), "inactive");
    assert_eq!(machine.property("UnitFileState"), "disabled");

    let example = format!("{CONFIGURATION}.example");
    machine.run(&["cp", &example, CONFIGURATION]).answer();
    machine.run(&["proxyd", "--check-config"]).answer();
    configure(&machine);
    enable(&machine);
    assert_eq!(machine.property("ActiveState"), "active");
}

/// The folders in which programs are, behind one with a `proxyctl` of the test's own.
const PATHS: &str = "PATH=/mnt/own:/usr/sbin:/usr/bin:/sbin:/bin";

#[test]
fn an_upgrade_by_apt_under_load_disturbs_no_client_and_keeps_what_the_operator_changed() {
    let Some((machine, package)) = with_package() else {
        return;
    };
    let backend = Backend::tcp();
    machine.run(&["dpkg", "--install", &package]).answer();
    let address = machine.address();
    let database = SocketAddr::new(address.ip(), address.port() + 1000);
    let postgres = servers::postgres();
    let main = listener("main", address, "tcp", &backend.address());
    let other = postgres
        .as_ref()
        .map(|it| listener("database", database, "postgres", &it.address()));
    machine.write(CONFIGURATION, main + &other.unwrap_or_default());
    let example = format!("{CONFIGURATION}.example");
    for file in [newer::CHANGED, &example] {
        machine.write(file, "# An operator's.\n");
    }
    enable(&machine);
    newer::offer(&machine).unwrap();

    let running = machine.main_process().unwrap();
    let worker = machine.worker();
    let ca = fs::read_to_string(machine.path("/var/lib/proxyd/tls/ca.pem")).unwrap();
    let work = Work::start(3, &ca, address);
    let mut pgbench = postgres.map(|it| Pgbench::start(&it, database, &ca));
    work.goes_on();
    let said = newer::upgrade_all(&machine);
    if let Some(pgbench) = &mut pgbench {
        pgbench.is_at_work();
    }
    assert!(said.contains("Setting up proxyd"), "{said}");
    assert!(!said.contains("goes on running the version"), "{said}");
    assert_eq!(machine.main_process(), Some(running));
    assert!(!worker.is_alive(), "its sessions are with another: {said}");
    work.goes_on();
    work.was_never_disturbed();
    if let Some(pgbench) = pgbench {
        pgbench.lost_nothing();
    }
    for file in [newer::CHANGED, &example] {
        let kept = fs::read_to_string(machine.path(file)).unwrap();
        assert_eq!(kept, "# An operator's.\n", "{file}");
    }
}

#[test]
fn a_removal_ends_the_daemon_and_its_socket_and_leaves_what_it_made_and_the_operator_wrote() {
    let Some((machine, package)) = with_package() else {
        return;
    };
    machine.run(&["dpkg", "--install", &package]).answer();
    configure(&machine);
    machine.enable_socket();
    enable(&machine);
    let running = machine.main_process().unwrap();
    machine.run(&["dpkg", "--remove", "proxyd"]).answer();
    assert!(!running.is_alive());
    assert!(exchange(machine.address(), b"").is_err());
    // The metadata of the link itself, because a link that leads nowhere would count as missing.
    for link in &PLACES[1..3] {
        assert!(machine.path(link).symlink_metadata().is_err(), "{link}");
    }
    assert!(machine.path("/var/lib/proxyd/tls/ca-key.pem").exists());
    assert!(machine.path(CONFIGURATION).exists());
}

#[test]
fn an_upgrade_that_the_daemon_cannot_take_part_in_leaves_it_alone_and_says_what_to_do() {
    let Some((machine, package)) = with_package() else {
        return;
    };
    install_and_start(&machine, &package);
    let running = machine.main_process().unwrap();
    let upgraded = |proxyctl: &str| {
        machine.write("/mnt/own/proxyctl", format!("#!/bin/sh\n{proxyctl}\n"));
        machine.run(&["chmod", "755", "/mnt/own/proxyctl"]).answer();
        machine
            .run(&["env", PATHS, "dpkg", "--install", &package])
            .answer()
    };
    let said = upgraded("exit 4");
    assert!(said.contains("systemctl restart proxyd"), "{said}");
    let said = upgraded("echo error: a reload goes on >&2; exit 1");
    assert!(said.contains("error: a reload goes on"), "{said}");
    assert!(said.contains("Run \"proxyctl upgrade\" when"), "{said}");
    assert_eq!(machine.main_process(), Some(running));
}

#[test]
fn a_purge_leaves_nothing_but_what_others_made() {
    let Some((machine, package)) = with_package() else {
        return;
    };
    let before = files(&machine);
    install_and_start(&machine, &package);
    machine.run(&["dpkg", "--purge", "proxyd"]).answer();
    assert!(machine.path(CONFIGURATION).exists(), "an operator made it");
    machine.run(&["rm", CONFIGURATION]).answer();
    machine.run(&["rmdir", PLACES[0]]).answer();
    for place in PLACES {
        assert!(machine.path(place).symlink_metadata().is_err(), "{place}");
    }
    let after = files(&machine);
    let differ: Vec<_> = before.symmetric_difference(&after).collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

/// What the system itself writes at any time, and what it notes about users and packages.
const SYSTEM: [&str; 13] = [
    "/etc/.pwd.lock",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    "/var/cache",
    "/var/lib/dpkg",
    "/var/lib/systemd",
    "/var/log/dpkg.log",
    "/var/log/journal",
    "/var/tmp",
];

/// Returns the paths of all files and folders of a machine that only a package or an operator puts there.
fn files(machine: &Machine) -> BTreeSet<String> {
    let found = machine.run(&["find", "/etc", "/opt", "/root", "/usr", "/var", "-xdev"]);
    let is_systems = |path: &str| SYSTEM.iter().any(|it| path.starts_with(it));
    let all = found.answer();
    all.lines()
        .filter(|path| !is_systems(path))
        .map(str::to_owned)
        .collect()
}
