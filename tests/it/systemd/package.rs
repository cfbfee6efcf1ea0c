//! The Debian package: the effects of installation, upgrade, removal and purge.

use std::{path::Path, process::Command, time::Duration};

use crate::support::{
    client::exchange,
    machine::{CONFIGURATION, Machine},
    program::run,
};

/// The paths of which a purge must leave nothing.
const PLACES: [&str; 6] = [
    "/etc/proxyd",
    "/etc/systemd/system/multi-user.target.wants/proxyd.service",
    "/run/proxyd",
    "/usr/bin/proxyd",
    "/var/lib/proxyd",
    "/var/log/proxyd",
];

/// Boots a machine with the package in `/mnt`, which is returned too; `None` skips the test.
fn with_package() -> Option<(Machine, String)> {
    let machine = Machine::bare()?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let programs = Path::new(env!("CARGO_BIN_EXE_proxyd")).parent().unwrap();
    let mut builder = Command::new(repository.join("packaging/build-deb"));
    builder
        .arg("--programs")
        .arg(programs)
        .arg("--compression=none")
        .arg(machine.shared());
    let path = run(builder, Duration::from_secs(60)).answer();
    let name = Path::new(&path).file_name().unwrap().to_str().unwrap();
    let package = format!("/mnt/{name}");
    Some((machine, package))
}

fn configure(machine: &Machine) {
    let address = machine.address();
    machine.write(
        CONFIGURATION,
        format!(
            "[[listener]]\nname = \"main\"\nbind = \"{address}\"\nprotocol = \"tcp\"\n\
             backend = \"127.0.0.1:9\"\n"
        ),
    );
}

fn install_and_start(machine: &Machine, package: &str) {
    machine.run(&["dpkg", "--install", package]).answer();
    configure(machine);
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
    machine
        .run(&["systemctl", "enable", "--now", "proxyd"])
        .answer();
    assert_eq!(machine.property("ActiveState"), "active");
}

#[test]
fn an_upgrade_leaves_the_daemon_alone_and_a_removal_ends_it() {
    let Some((machine, package)) = with_package() else {
        return;
    };
    install_and_start(&machine, &package);
    let running = machine.main_process().unwrap();
    let said = machine.run(&["dpkg", "--install", &package]).answer();
    assert!(said.contains("systemctl restart proxyd"), "{said}");
    assert_eq!(machine.main_process(), Some(running.clone()));

    machine.run(&["dpkg", "--remove", "proxyd"]).answer();
    assert!(!running.is_alive());
    assert!(exchange(machine.address(), b"").is_err());
    // The metadata of the link itself, because a link that leads nowhere would count as missing.
    let link = machine.path(PLACES[1]);
    assert!(link.symlink_metadata().is_err());
    assert!(machine.path("/var/lib/proxyd/tls/ca-key.pem").exists());
    assert!(machine.path(CONFIGURATION).exists());
}

#[test]
fn a_purge_leaves_nothing_but_what_others_made() {
    let Some((machine, package)) = with_package() else {
        return;
    };
    install_and_start(&machine, &package);
    machine.run(&["dpkg", "--purge", "proxyd"]).answer();
    assert!(machine.path(CONFIGURATION).exists(), "an operator made it");
    machine.run(&["rm", CONFIGURATION]).answer();
    machine.run(&["rmdir", PLACES[0]]).answer();
    for place in PLACES {
        assert!(machine.path(place).symlink_metadata().is_err(), "{place}");
    }
    let names = ["-name", "proxyd*", "-o", "-name", "_proxyd"];
    let left = machine.run(&[&["find", "/etc", "/usr", "/var"][..], &names].concat());
    assert_eq!(left.answer(), "");
}
