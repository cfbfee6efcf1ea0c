//! Workers whose supervisor was killed.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{
    PATIENCE,
    builder::Builder,
    client::{self, Client},
    configuration::Listener,
    eventually, process,
    scene::Scene,
    until,
};

/// Prepares a daemon with two workers and two listeners, whose workers serve for so long without a supervisor.
fn scene(orphan_timeout: &str, drain_timeout: &str) -> Scene {
    Scene::with(|builder| {
        let listener = |name: &str| Listener::tcp(name, &builder.backend().address());
        let listeners = [listener("one"), listener("two")];
        let builder = builder
            .workers(2)
            .set("orphan_timeout", &format!("{orphan_timeout:?}"))
            .set("drain_timeout", &format!("{drain_timeout:?}"));
        listeners.into_iter().fold(builder, Builder::listener)
    })
}

/// Kills the supervisor; returns the processes that it leaves behind, without the page, which ends with it.
fn kill_supervisor(scene: &mut Scene) -> Vec<u32> {
    let supervisor = scene.daemon.pid();
    let mut left = process::workers(supervisor);
    left.push(process::resolver(supervisor));
    scene.daemon.signal(Signal::SIGKILL);
    scene.daemon.wait_exit(PATIENCE);
    left
}

#[test]
fn workers_serve_every_listener_for_a_while_when_their_supervisor_is_killed() {
    let mut scene = scene("3s", "30s");
    let addresses = ["one", "two"].map(|name| scene.daemon.address_of(name));
    let client = Client::new(&scene.ca);
    let mut before = client.connect(addresses[0]).unwrap();
    before.echo("before").unwrap();
    let killed = Instant::now();
    let left = kill_supervisor(&mut scene);
    let mut served = 0;
    while killed.elapsed() < Duration::from_secs(2) {
        for address in addresses {
            let mut session = client.connect(address).unwrap();
            session.echo("new").unwrap();
            session.close().unwrap();
            served += 1;
        }
    }
    assert!(served > 2, "{served}");
    before.echo("during").unwrap();
    for address in addresses {
        eventually("new clients are refused", PATIENCE, || {
            client::connect(address).err()
        });
    }
    assert!(killed.elapsed() >= Duration::from_secs(3));
    before.echo("after").unwrap();
    before.close().unwrap();
    until("no process is left", || {
        !left.iter().any(|pid| process::is_alive(*pid))
    });
}

#[test]
fn a_session_that_begins_without_a_supervisor_goes_on_while_workers_drain_and_is_cut_at_the_end() {
    let mut scene = scene("1s", "1s");
    let address = scene.daemon.address_of("one");
    let client = Client::new(&scene.ca);
    let left = kill_supervisor(&mut scene);
    let mut session = client.connect(address).unwrap();
    session.echo("new").unwrap();
    eventually("new clients are refused", PATIENCE, || {
        client::connect(address).err()
    });
    session.echo("still there").unwrap();
    until("no process is left", || {
        !left.iter().any(|pid| process::is_alive(*pid))
    });
    assert!(session.echo("gone").is_err());
}

#[test]
fn clients_that_come_while_the_supervisor_dies_are_served() {
    let mut scene = scene("30s", "1s");
    let addresses = ["one", "two"].map(|name| scene.daemon.address_of(name));
    let ca = scene.ca.pem().to_owned();
    let knocking = addresses.map(|address| {
        let ca = ca.clone();
        thread::spawn(move || {
            let client = Client::trusting(&ca);
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(1) {
                let mut session = client.connect(address).unwrap();
                session.echo("hello").unwrap();
                session.close().unwrap();
            }
        })
    });
    kill_supervisor(&mut scene);
    for knocking in knocking {
        knocking.join().unwrap();
    }
}
