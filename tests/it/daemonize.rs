//! Going to the background: the shell is told the truth.

use std::fs;

use crate::support::{
    PATIENCE,
    backend::Backend,
    client,
    configuration::Listener,
    pki::overwrite,
    process::{self, Known},
    program::{Outcome, run},
    scene::{NAME, Scene},
    until,
};

/// Starts a daemon in the background.
fn daemonize(scene: &mut Scene) -> Outcome {
    let mut command = scene.daemon.command();
    command.arg("--daemonize");
    let outcome = run(command, PATIENCE);
    if let Some(pid) = pid(scene) {
        scene.daemon.adopt(pid);
    }
    outcome
}

fn pid(scene: &Scene) -> Option<u32> {
    let text = fs::read_to_string(scene.daemon.path("pid")).ok()?;
    text.trim().parse().ok()
}

#[test]
fn success_means_that_it_serves() {
    let mut scene = Scene::prepare(|builder| builder.workers(2));
    let outcome = daemonize(&mut scene);
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""));
    // Not even the first look may find it unready.
    let status = scene.daemon.ctl(&["--json", "status"]);
    assert_eq!(status.code(), 0);
    client::handshake(scene.daemon.address(), NAME, &scene.ca).unwrap();

    let daemon = Known::new(pid(&scene).unwrap()).unwrap();
    assert_eq!(scene.daemon.ctl(&["stop"]).code(), 0);
    until("it has ended", || !daemon.is_alive());
}

#[test]
fn it_lets_go_of_the_terminal_and_the_folder() {
    let mut scene = Scene::prepare(|builder| builder);
    assert_eq!(daemonize(&mut scene).code(), 0);
    let pid = pid(&scene).unwrap();
    let folder = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(folder.to_str(), Some("/"));
    for (number, target) in process::descriptors(pid) {
        if number < 3 {
            assert_eq!(target.to_str(), Some("/dev/null"), "descriptor {number}");
        }
    }
}

#[test]
fn a_broken_certificate_fails_with_its_reason() {
    let mut scene = Scene::prepare(|builder| builder);
    let cert = scene.daemon.files("default").cert;
    overwrite(&cert, "nonsense");
    let outcome = daemonize(&mut scene);
    assert_eq!(outcome.code(), 1);
    assert!(
        outcome.stderr.contains(cert.to_str().unwrap()),
        "{outcome:#?}"
    );
}

#[test]
fn a_busy_port_fails_with_its_reason() {
    let busy = Backend::tcp();
    let mut scene = Scene::prepare(|builder| {
        let listener = Listener::tcp("main", &builder.backend().address());
        builder.listener(listener.bind(&busy.address()))
    });
    let outcome = daemonize(&mut scene);
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stderr.contains(&busy.address()), "{outcome:#?}");
}

#[test]
fn a_broken_configuration_fails_with_its_reason() {
    let mut scene = Scene::prepare(|builder| builder.set("workers", "\"many\""));
    let outcome = daemonize(&mut scene);
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stderr.contains("workers"), "{outcome:#?}");
}

#[test]
fn a_second_daemon_fails_and_names_the_first() {
    let mut scene = Scene::new();
    let outcome = daemonize(&mut scene);
    assert_eq!(outcome.code(), 1);
    let pid = scene.daemon.pid().to_string();
    assert!(outcome.stderr.contains(&pid), "{outcome:#?}");
}
