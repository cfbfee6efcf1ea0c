//! Reloads: their answers, what they change, and what they leave alone.

use std::{fs, thread, time::Duration};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    PATIENCE,
    backend::Backend,
    client::{self, Client},
    configuration::Listener,
    daemon::TestDaemon,
    pki::{Ca, overwrite, replace},
    program::run,
    scene::{NAME, Scene},
    until,
};

#[test]
fn the_answer_names_what_was_and_what_is() {
    let scene = Scene::with(|builder| builder.workers(2));
    scene.renew();
    let report = scene.reload_tls();
    assert_eq!(report["generation"], 2);
    assert_eq!(report["changed"], true);
    assert_eq!(report["workers"], 2);
    assert_eq!(report["problems"], json!([]));
    let identity = &report["identities"][0];
    assert_eq!(identity["name"], "default");
    assert_eq!(identity["outcome"], "updated");
    for (facts, leaf) in [("old", &scene.old), ("new", &scene.new)] {
        let facts = &identity[facts];
        assert_eq!(facts["sha256"], leaf.sha256);
        assert_eq!(facts["serial"], leaf.serial());
        assert_eq!(facts["subject"], format!("CN={NAME}"));
        assert_eq!(facts["issuer"], "CN=authority");
        assert!(facts["not_after"].is_string());
    }
    scene.shows(&scene.new);
}

#[test]
fn the_answer_for_people_names_both_fingerprints_the_subject_and_the_end() {
    let scene = Scene::new();
    scene.renew();
    let text = scene.daemon.ctl(&["reload-tls"]).answer();
    let status = scene.daemon.status();
    let end = &status["tls"]["identities"][0]["not_after"]
        .as_str()
        .unwrap()[..10];
    for part in [&scene.old.sha256[..8], &scene.new.sha256[..8], NAME, end] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn nothing_new_is_no_new_generation() {
    let scene = Scene::new();
    for _ in 0..2 {
        let report = scene.reload_tls();
        assert_eq!(report["changed"], false);
        assert_eq!(report["generation"], 1);
        assert_eq!(report["identities"][0]["outcome"], "unchanged");
    }
    assert_eq!(scene.daemon.status()["tls"]["trigger"], "start");
}

#[test]
fn the_same_contents_in_other_files_are_nothing_new() {
    let scene = Scene::new();
    scene.daemon.files("default").put(&scene.old);
    assert_eq!(scene.reload_tls()["changed"], false);
    assert_eq!(scene.daemon.status()["tls"]["disk"]["state"], "same");
}

#[test]
fn status_tells_that_the_disk_has_something_new() {
    let scene = Scene::new();
    scene.renew();
    scene.daemon.await_status("the disk has changed", |status| {
        status["tls"]["disk"]["state"] == "changed"
    });
    scene.shows(&scene.old);
}

#[test]
fn a_hangup_reloads() {
    let mut scene = Scene::new();
    scene.renew();
    scene.daemon.signal(Signal::SIGHUP);
    let status = scene
        .daemon
        .await_status("the hangup had its effect", |status| {
            status["tls"]["generation"] == 2
        });
    assert_eq!(status["tls"]["trigger"], "sighup");
    until("workers serve it", || {
        scene.daemon.status()["workers"][0]["generation"] == 2
    });
    scene.shows(&scene.new);
}

#[test]
fn a_broken_identity_is_kept_while_its_neighbour_is_renewed() {
    let ca = Ca::new("authority");
    let (one, other) = (ca.leaf("one.test"), ca.leaf("other.test"));
    let daemon = TestDaemon::builder()
        .identity("one", &one)
        .identity("other", &other)
        .start();
    let renewed = ca.leaf("other.test");
    daemon.files("other").put(&renewed);
    let broken = daemon.files("one").cert;
    overwrite(&broken, "-----BEGIN CERTIFICATE-----\n!");

    let outcome = daemon.ctl(&["--json", "reload-tls"]);
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stderr.contains(broken.to_str().unwrap()));
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(report["generation"], 2);
    assert_eq!(report["identities"][0]["outcome"], "kept");
    assert_eq!(report["identities"][1]["outcome"], "updated");
    assert_eq!(report["problems"][0]["file"], broken.to_str().unwrap());

    let address = daemon.address();
    let shown = client::handshake(address, "one.test", &ca).unwrap();
    assert_eq!(shown.sha256, one.sha256);
    let shown = client::handshake(address, "other.test", &ca).unwrap();
    assert_eq!(shown.sha256, renewed.sha256);
    let status = daemon.status();
    assert_eq!(status["tls"]["last_error"]["trigger"], "reload-tls");
    assert_eq!(status["tls"]["restart_safe"], false);
}

#[test]
fn a_session_survives_twenty_reloads() {
    let scene = Scene::new();
    let mut session = scene.session();
    for round in 0..20 {
        scene.daemon.files("default").put(&scene.ca.leaf(NAME));
        assert_eq!(scene.reload_tls()["generation"], round + 2);
        session.echo("still there").unwrap();
    }
    assert_eq!(scene.daemon.backend.accepted(), 1);
}

#[test]
fn whoever_connected_before_a_reload_and_speaks_after_it_sees_the_new_certificate() {
    let scene = Scene::new();
    let early = client::connect(scene.daemon.address()).unwrap();
    until("the worker has taken the connection", || {
        scene.daemon.status()["listeners"][0]["connections"]["open"] == 1
    });
    scene.renew();
    scene.reload_tls();
    let session = Client::new(&scene.ca).over(early).unwrap();
    assert_eq!(session.shown().sha256, scene.new.sha256);
}

#[test]
fn a_session_is_never_resumed_and_so_never_shows_an_old_certificate() {
    let scene = Scene::new();
    for client in [Client::new(&scene.ca), Client::new(&scene.ca).tls12()] {
        let client = client.resuming();
        for _ in 0..2 {
            let leaf = scene.ca.leaf(NAME);
            scene.daemon.files("default").put(&leaf);
            scene.reload_tls();
            let mut session = client.connect(scene.daemon.address()).unwrap();
            session.echo("a ticket would come by now").unwrap();
            assert!(!session.is_resumed());
            assert_eq!(session.shown().sha256, leaf.sha256);
        }
    }
}

#[test]
fn every_one_of_many_reloads_at_once_answers_for_what_was_on_disk_before_it() {
    const ASKERS: usize = 20;
    const ROUNDS: usize = 10;
    let mut scene = Scene::with(|builder| {
        let leaf = Ca::new("unused").leaf(NAME);
        (0..ASKERS).fold(builder.workers(2), |builder, number| {
            builder.identity(&format!("of-{number}"), &leaf)
        })
    });
    let daemon = &scene.daemon;
    thread::scope(|scope| {
        for number in 0..ASKERS {
            let (ca, name) = (&scene.ca, format!("of-{number}"));
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let leaf = ca.leaf(NAME);
                    // In between it is broken, which is no news to whoever else asks.
                    daemon.files(&name).put(&leaf);
                    let outcome = run(daemon.ctl_command(&["--json", "reload-tls"]), PATIENCE * 4);
                    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
                    let identities = report["identities"].as_array().unwrap();
                    let mine = identities.iter().find(|it| it["name"] == name.as_str());
                    let mine = mine.unwrap();
                    assert_eq!(mine["new"]["sha256"], leaf.sha256, "{outcome:#?}");
                }
            });
        }
    });
    for _ in 0..20 {
        scene.daemon.signal(Signal::SIGHUP);
    }
    scene.renew();
    scene.reload_tls();
    scene.shows(&scene.new);
}

#[test]
fn a_daemon_that_does_not_watch_waits_to_be_told() {
    let scene = Scene::new();
    scene.renew();
    let quiet = std::time::Instant::now() + Duration::from_secs(3);
    until("it had time to reload", || {
        std::time::Instant::now() > quiet
    });
    assert_eq!(scene.daemon.status()["tls"]["generation"], 1);
}

#[test]
fn a_missing_file_that_comes_back_is_served_again() {
    let scene = Scene::new();
    let cert = scene.daemon.files("default").cert;
    fs::remove_file(&cert).unwrap();
    let complaint = scene.daemon.ctl(&["reload-tls"]).complaint();
    assert!(complaint.contains(cert.to_str().unwrap()), "{complaint}");
    replace(&cert, &scene.old.cert);
    assert_eq!(scene.reload_tls()["changed"], false);
    let status = scene.daemon.status();
    assert_eq!(status["tls"]["last_error"], Value::Null);
    assert_eq!(status["tls"]["restart_safe"], true);
}

#[test]
fn a_backend_that_is_down_does_not_hinder_a_reload() {
    let closed = crate::support::backend::Closed::new();
    let scene = Scene::with(|builder| {
        builder.listener(Listener::tcp("main", &closed.address().to_string()))
    });
    scene.renew();
    assert_eq!(scene.reload_tls()["generation"], 2);
    let _up: Backend = closed.open();
    scene.shows(&scene.new);
}
