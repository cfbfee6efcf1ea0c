//! Going back to the generation before: what holds it, and what ends it.

use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    backend::Backend,
    builder::Builder,
    client::{self, Client},
    configuration::Listener,
    daemon::TestDaemon,
    pause,
    pki::{Ca, Leaf, overwrite, replace},
    process,
    scene::{NAME, Scene},
    until,
};

/// Serves the new certificate of a scene, which is good and the wrong one.
fn renewed(scene: &Scene) {
    scene.renew();
    assert_eq!(scene.reload_tls()["generation"], 2);
    scene.shows(&scene.new);
}

/// Goes back; returns the answer, which must be a success.
#[track_caller]
fn roll_back(scene: &Scene) -> Value {
    let text = scene.daemon.ctl(&["--json", "tls-rollback"]).answer();
    serde_json::from_str(&text).unwrap()
}

/// Sees to it that a rollback is refused for a reason with these words.
#[track_caller]
fn is_refused(daemon: &TestDaemon, words: &[&str]) {
    let outcome = daemon.ctl(&["tls-rollback"]);
    assert_eq!(outcome.code(), 1, "{outcome:#?}");
    for words in words {
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
}

fn kinds(daemon: &TestDaemon) -> Vec<String> {
    let kind = |event: Value| event["kind"].as_str().unwrap().to_owned();
    daemon.events().into_iter().map(kind).collect()
}

#[test]
fn what_was_served_before_is_served_again_by_every_worker() {
    let scene = Scene::with(|builder| builder.workers(2));
    renewed(&scene);
    let mut session = scene.session();
    let report = roll_back(&scene);
    assert_eq!(report["generation"], 3);
    assert_eq!(report["changed"], true);
    assert_eq!(report["workers"], 2);
    assert_eq!(report["problems"], json!([]));
    let identity = &report["identities"][0];
    assert_eq!(identity["outcome"], "updated");
    assert_eq!(identity["old"]["sha256"], scene.new.sha256);
    assert_eq!(identity["new"]["sha256"], scene.old.sha256);
    scene.shows(&scene.old);
    session.echo("no session minds").unwrap();
}

#[test]
fn status_check_events_and_log_say_that_a_rollback_is_in_force() {
    let scene = Scene::new();
    renewed(&scene);
    assert_eq!(scene.daemon.status()["tls"]["rollback"], Value::Null);
    roll_back(&scene);
    let status = scene.daemon.status();
    let tls = &status["tls"];
    assert_eq!(tls["trigger"], "tls-rollback");
    assert_eq!(tls["generation"], 3);
    assert_eq!(tls["rollback"]["from_generation"], 2);
    assert_eq!(tls["rollback"]["to_generation"], 1);
    assert!(tls["rollback"]["since"].is_string());
    assert_eq!(tls["disk"]["state"], "changed");
    assert_eq!(tls["disk"]["settling"], false);
    let reason = tls["disk"]["reason"].as_str().unwrap();
    assert!(reason.contains("rollback"), "{reason}");
    assert_eq!(tls["restart_safe"], true);
    assert_eq!(tls["last_error"], Value::Null);
    let text = scene.daemon.ctl(&["status"]).answer();
    assert!(text.contains("rolled back since"), "{text}");
    let check = scene.daemon.ctl(&["check"]);
    assert_eq!(check.code(), 1);
    assert!(
        check
            .stdout
            .contains("a rollback to generation 1 is in force")
    );
    assert!(kinds(&scene.daemon).contains(&"rolled-back".to_owned()));
    assert!(scene.daemon.log().contains("in service by a rollback"));

    assert_eq!(scene.reload_tls()["generation"], 4);
    scene.shows(&scene.new);
    assert_eq!(scene.daemon.status()["tls"]["rollback"], Value::Null);
    assert_eq!(scene.daemon.ctl(&["check"]).code(), 0);
    let kinds = kinds(&scene.daemon);
    assert_eq!(kinds.iter().filter(|it| *it == "rollback-ended").count(), 1);
}

#[test]
fn neither_a_change_on_disk_nor_the_death_of_a_worker_ends_it() {
    let scene = Scene::with(|builder| builder.watch().workers(2));
    scene.renew();
    scene
        .daemon
        .await_status("the new one is served", |status| {
            status["tls"]["generation"] == 2
        });
    roll_back(&scene);
    let third = scene.ca.leaf(NAME);
    scene.daemon.files("default").put(&third);
    let worker = scene.daemon.workers()[0];
    assert!(process::send(worker, Signal::SIGKILL));
    scene.await_restarts(1);
    // Nothing tells that the watch has seen the change and left it.
    pause(Duration::from_secs(2));
    scene.shows(&scene.old);
    let status = scene.daemon.status();
    assert_eq!(status["tls"]["generation"], 3);
    assert_eq!(status["workers"][0]["generation"], 3);
    assert_eq!(status["tls"]["rollback"]["to_generation"], 1);

    let report = scene.reload_tls();
    assert_eq!(report["generation"], 4);
    scene.shows(&third);
    // And the watch is at work again.
    scene.renew();
    scene.daemon.await_status("the change is served", |status| {
        status["tls"]["generation"] == 5
    });
    scene.shows(&scene.new);
}

#[test]
fn a_reload_that_finds_on_disk_what_is_served_ends_it_too() {
    let scene = Scene::with(Builder::watch);
    scene.renew();
    scene
        .daemon
        .await_status("the new one is served", |status| {
            status["tls"]["generation"] == 2
        });
    roll_back(&scene);
    scene.daemon.files("default").put(&scene.old);
    let report = scene.reload_tls();
    assert_eq!(report["changed"], false);
    assert_eq!(report["generation"], 3);
    let status = scene.daemon.status();
    assert_eq!(status["tls"]["rollback"], Value::Null);
    assert_eq!(status["tls"]["disk"]["state"], "same");
    assert!(kinds(&scene.daemon).contains(&"rollback-ended".to_owned()));
    let third = scene.ca.leaf(NAME);
    scene.daemon.files("default").put(&third);
    scene.daemon.await_status("the change is served", |status| {
        status["tls"]["generation"] == 4
    });
    scene.shows(&third);
}

#[test]
fn a_reload_that_takes_nothing_leaves_it_in_force_and_a_hangup_ends_it() {
    let mut scene = Scene::new();
    renewed(&scene);
    roll_back(&scene);
    overwrite(&scene.daemon.files("default").cert, "nothing");
    assert_eq!(scene.daemon.ctl(&["reload-tls"]).code(), 1);
    let status = scene.daemon.status();
    assert_eq!(status["tls"]["generation"], 3);
    assert_eq!(status["tls"]["rollback"]["to_generation"], 1);
    scene.shows(&scene.old);

    scene.renew();
    scene.daemon.signal(Signal::SIGHUP);
    scene.daemon.await_status("the hangup ended it", |status| {
        status["tls"]["generation"] == 4 && status["tls"]["rollback"] == Value::Null
    });
    until("the new one is shown", || {
        client::handshake(scene.daemon.address(), NAME, &scene.ca)
            .is_ok_and(|shown| shown.sha256 == scene.new.sha256)
    });
}

#[test]
fn it_is_refused_without_an_earlier_generation_and_a_second_time() {
    let scene = Scene::new();
    is_refused(&scene.daemon, &["no earlier generation", "generation 1"]);
    renewed(&scene);
    roll_back(&scene);
    is_refused(&scene.daemon, &["already", "proxyctl reload-tls"]);
    assert_eq!(scene.daemon.status()["tls"]["generation"], 3);
    scene.shows(&scene.old);
    // Once it has ended, there is an earlier generation again.
    scene.reload_tls();
    assert_eq!(roll_back(&scene)["generation"], 5);
    scene.shows(&scene.old);
}

#[test]
fn it_is_refused_when_what_was_served_has_expired() {
    let ca = Ca::new("authority");
    let short = ca.request(&[NAME]).expiring_in(4).issue();
    let end = SystemTime::now() + Duration::from_secs(6);
    let daemon = TestDaemon::builder().identity("default", &short).start();
    let new = ca.leaf(NAME);
    daemon.files("default").put(&new);
    daemon.ctl(&["reload-tls"]).answer();
    until("it has expired", || SystemTime::now() > end);
    is_refused(
        &daemon,
        &["generation 1", "identity \"default\"", "expired at"],
    );
    let shown = client::handshake(daemon.address(), NAME, &ca).unwrap();
    assert_eq!(shown.sha256, new.sha256);
    assert_eq!(daemon.status()["tls"]["rollback"], Value::Null);
}

#[test]
fn it_is_refused_when_the_configuration_names_what_was_not_there() {
    let mut scene = Scene::new();
    let other = scene.ca.leaf("other.test");
    scene.daemon.files("other").put(&other);
    scene.daemon.reconfigure(|configuration| {
        configuration.identities.push("other".to_owned());
    });
    scene.daemon.ctl(&["reload"]).answer();
    is_refused(
        &scene.daemon,
        &[
            "identity \"other\"",
            "not configured",
            "generation 2 is still",
        ],
    );
    scene.shows(&scene.old);
}

#[test]
fn it_is_refused_when_a_listener_asks_for_more_now() {
    let mut scene = Scene::new();
    renewed(&scene);
    let bundle = scene.daemon.path("clients.pem");
    replace(&bundle, scene.ca.pem());
    scene.daemon.reconfigure(|configuration| {
        let line = format!("client_auth = {{ mode = \"optional\", ca = {bundle:?} }}");
        configuration.listener("main").lines.push(line);
    });
    scene.daemon.ctl(&["reload"]).answer();
    is_refused(&scene.daemon, &["listener \"main\" client_auth"]);
    scene.shows(&scene.new);
}

#[test]
fn it_is_refused_when_a_list_of_then_would_have_clients_refused() {
    let ca = Ca::new("authority");
    let clients = Ca::new("clients");
    let none: [&Leaf; 0] = [];
    let builder = TestDaemon::builder().identity("default", &ca.leaf(NAME));
    let (bundle, list) = (
        builder.folder().join("clients.pem"),
        builder.folder().join("clients.crl"),
    );
    let line = |expired: &str| {
        format!(
            "client_auth = {{ mode = \"required\", ca = {bundle:?}, crl = {list:?}, \
             expired_crl = \"{expired}\" }}"
        )
    };
    let listener = Listener::tcp("main", &builder.backend().address()).line(&line("accept"));
    let mut daemon = builder
        .file("clients.pem", clients.pem())
        .file("clients.crl", clients.revoke_until(&none, -1))
        .listener(listener)
        .start();
    replace(&list, clients.revoke(&none));
    daemon.ctl(&["reload-tls"]).answer();
    daemon.reconfigure(|configuration| {
        configuration.listener("main").lines = vec![line("refuse")];
    });
    daemon.ctl(&["reload"]).answer();
    is_refused(
        &daemon,
        &["listener \"main\" client_auth", "revocation list"],
    );
}

#[test]
fn it_goes_back_within_the_configuration_in_force() {
    let mut scene = Scene::new();
    renewed(&scene);
    let backend = Backend::tcp();
    let address = backend.address();
    scene.daemon.reconfigure(|configuration| {
        configuration
            .listeners
            .push(Listener::tcp("second", &address));
    });
    scene.daemon.ctl(&["reload"]).answer();
    assert_eq!(roll_back(&scene)["generation"], 4);
    let second = scene.daemon.address_of("second");
    let shown = client::handshake(second, NAME, &scene.ca).unwrap();
    assert_eq!(shown.sha256, scene.old.sha256);
    let rollback = &scene.daemon.status()["tls"]["rollback"];
    assert_eq!(rollback["from_generation"], 3);
    assert_eq!(rollback["to_generation"], 1);
}

#[test]
fn revocation_lists_go_back_too() {
    let ca = Ca::new("authority");
    let clients = Ca::new("clients");
    let user = clients.leaf("user");
    let (none, revoked): ([&Leaf; 0], _) = ([], [&user]);
    let builder = TestDaemon::builder().identity("default", &ca.leaf(NAME));
    let (bundle, list) = (
        builder.folder().join("clients.pem"),
        builder.folder().join("clients.crl"),
    );
    let line = format!("client_auth = {{ mode = \"required\", ca = {bundle:?}, crl = {list:?} }}");
    let listener = Listener::tcp("main", &builder.backend().address()).line(&line);
    let daemon = builder
        .file("clients.pem", clients.pem())
        .file("clients.crl", clients.revoke(&none))
        .listener(listener)
        .start();
    let client = Client::new(&ca).present(&user);
    let gets_in = || {
        let session = client.connect(daemon.address());
        session.is_ok_and(|mut session| session.echo("hello").is_ok())
    };
    assert!(gets_in());
    replace(&list, clients.revoke(&revoked));
    daemon.ctl(&["reload-tls"]).answer();
    assert!(!gets_in());
    let answer = daemon.ctl(&["tls-rollback"]).answer();
    assert!(gets_in());
    let words = "authorities and revocation lists for clients of listener \"main\" went back too";
    assert!(daemon.log().contains(words), "{}", daemon.log());
    assert!(answer.contains(words), "{answer}");
    let check = daemon.ctl(&["check"]);
    assert_eq!(check.code(), 1);
    assert!(check.stdout.contains(words), "{}", check.stdout);
    let rollback = &daemon.status()["tls"]["rollback"];
    assert_eq!(rollback["trust_went_back"], json!(["main"]));
    assert!(daemon.ctl(&["status"]).answer().contains(words));
    let report = daemon.json(&["reload-tls"]);
    assert_eq!(report["trust_went_back"], json!([]));
    assert!(!gets_in());
    assert_eq!(daemon.ctl(&["check"]).code(), 0);
    replace(&list, clients.revoke(&none));
    daemon.ctl(&["reload-tls"]).answer();
    let report = daemon.json(&["tls-rollback"]);
    assert_eq!(report["trust_went_back"], json!(["main"]));
}

#[test]
fn it_is_refused_while_the_daemon_ends_and_forgotten_when_it_is_started_again() {
    let mut scene = Scene::new();
    renewed(&scene);
    roll_back(&scene);
    let mut session = scene.session();
    scene.daemon.signal(Signal::SIGTERM);
    scene.daemon.await_status("it drains", |status| {
        status["supervisor"]["state"] == "draining"
    });
    is_refused(&scene.daemon, &["ending"]);
    session.finish().unwrap();
    drop(session);
    scene.daemon.wait_exit(Duration::from_secs(30));
    scene.daemon.start();
    scene.shows(&scene.new);
    assert_eq!(scene.daemon.status()["tls"]["rollback"], Value::Null);
    is_refused(&scene.daemon, &["no earlier generation"]);
}
