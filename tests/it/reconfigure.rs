//! Reloads of a configuration file that has changed.

use serde_json::Value;

use crate::support::{
    PATIENCE,
    backend::Backend,
    client::{self, Client},
    configuration::Listener,
    eventually,
    pki::Files,
    scene::{NAME, Scene},
};

/// Reloads; returns the answer, which must be a success.
#[track_caller]
fn reload(scene: &Scene) -> Value {
    let text = scene.daemon.ctl(&["--json", "reload"]).answer();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_listener_is_added_and_the_others_keep_their_sessions() {
    let mut scene = Scene::with(|builder| builder.workers(2));
    let first = scene.daemon.address();
    let mut session = scene.session();
    let listener = Listener::tcp("second", &scene.daemon.backend.address());
    scene.daemon.reconfigure(|it| it.listeners.push(listener));
    assert_eq!(reload(&scene)["generation"], 2);
    let second = scene.daemon.address_of("second");
    assert_ne!(first, second);
    for address in [first, second, second, second] {
        client::handshake(address, NAME, &scene.ca).unwrap();
    }
    session.echo("still there").unwrap();
    assert_eq!(scene.daemon.status()["tls"]["trigger"], "reload");
}

#[test]
fn when_sessions_are_kept_changes_for_those_that_begin_after_the_reload() {
    let mut scene = Scene::with(|builder| builder.workers(1).set("keep_after", "\"off\""));
    let sessions = |scene: &Scene| scene.daemon.status()["sessions"].clone();
    let mut first = scene.session();
    assert_eq!(sessions(&scene)["keeping"]["state"], "off");
    scene
        .daemon
        .reconfigure(|it| it.set("keep_after", "\"1ms\""));
    reload(&scene);
    let mut second = scene.session();
    scene.daemon.await_status("the second is kept", |status| {
        status["sessions"]["kept"] == 1
    });
    assert_eq!(sessions(&scene)["keeping"]["state"], "on");
    scene
        .daemon
        .reconfigure(|it| it.set("keep_after", "\"off\""));
    reload(&scene);
    let mut third = scene.session();
    for session in [&mut first, &mut second, &mut third] {
        session.echo("still there").unwrap();
    }
    let sessions = sessions(&scene);
    assert_eq!(
        (&sessions["open"], &sessions["kept"]),
        (&3.into(), &1.into())
    );
}

#[test]
fn a_listener_is_removed_and_its_sessions_go_on() {
    let mut scene = Scene::with(|builder| {
        let backend = builder.backend().address();
        builder
            .workers(2)
            .listener(Listener::tcp("main", &backend))
            .listener(Listener::tcp("second", &backend))
    });
    let second = scene.daemon.address_of("second");
    let mut session = Client::new(&scene.ca).connect(second).unwrap();
    session.echo("hello").unwrap();
    scene.daemon.reconfigure(|it| _ = it.listeners.pop());
    reload(&scene);
    eventually("nobody listens there any more", PATIENCE, || {
        client::connect(second).err()
    });
    session.echo("still there").unwrap();
    scene.shows(&scene.old);
    assert_eq!(
        scene.daemon.status()["listeners"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn a_listener_that_came_by_a_reload_survives_a_crash() {
    let mut scene = Scene::new();
    let listener = Listener::tcp("second", &scene.daemon.backend.address());
    scene.daemon.reconfigure(|it| it.listeners.push(listener));
    reload(&scene);
    let second = scene.daemon.address_of("second");
    let worker = scene.daemon.workers()[0];
    crate::support::process::send(worker, nix::sys::signal::Signal::SIGKILL);
    scene.await_restarts(1);
    assert_eq!(scene.daemon.address_of("second"), second);
    client::handshake(second, NAME, &scene.ca).unwrap();
}

#[test]
fn another_backend_is_for_new_sessions() {
    let mut scene = Scene::new();
    let mut session = scene.session();
    let other = Backend::tcp();
    let address = other.address();
    scene
        .daemon
        .reconfigure(|it| it.listener("main").backend = address);
    reload(&scene);
    scene.session();
    assert_eq!((scene.daemon.backend.accepted(), other.accepted()), (1, 1));
    session.echo("still there").unwrap();
    assert_eq!(other.accepted(), 1);
}

#[test]
fn a_backend_may_be_a_unix_socket() {
    let mut scene = Scene::new();
    let other = Backend::unix(&scene.daemon.path("backend.sock"));
    let address = other.address();
    scene
        .daemon
        .reconfigure(|it| it.listener("main").backend = address);
    reload(&scene);
    scene.session();
    assert_eq!(other.accepted(), 1);
}

#[test]
fn an_identity_is_added_and_chosen_by_name() {
    let mut scene = Scene::new();
    let leaf = scene.ca.leaf("other.test");
    Files::of(scene.daemon.folder(), "other").put(&leaf);
    scene
        .daemon
        .reconfigure(|it| it.identities.push("other".to_owned()));
    let report = reload(&scene);
    assert_eq!(report["identities"][1]["old"], Value::Null);
    let address = scene.daemon.address();
    let shown = client::handshake(address, "other.test", &scene.ca).unwrap();
    assert_eq!(shown.sha256, leaf.sha256);
    scene.shows(&scene.old);
}

#[test]
fn an_identity_is_taken_away() {
    let mut scene = Scene::prepare(|builder| builder);
    let leaf = scene.ca.leaf("other.test");
    Files::of(scene.daemon.folder(), "other").put(&leaf);
    scene
        .daemon
        .reconfigure(|it| it.identities.push("other".to_owned()));
    scene.daemon.start();
    scene.daemon.reconfigure(|it| _ = it.identities.pop());
    reload(&scene);
    let address = scene.daemon.address();
    client::handshake(address, "other.test", &scene.ca).unwrap_err();
    scene.shows(&scene.old);
}

#[test]
fn a_new_identity_that_is_broken_leaves_all_as_it_was() {
    let mut scene = Scene::new();
    scene
        .daemon
        .reconfigure(|it| it.identities.push("other".to_owned()));
    let complaint = scene.daemon.ctl(&["reload"]).complaint();
    assert!(complaint.contains("other.pem"), "{complaint}");
    let status = scene.daemon.status();
    assert_eq!(status["tls"]["identities"].as_array().unwrap().len(), 1);
    scene.shows(&scene.old);
}

#[test]
fn keys_that_need_a_restart_are_refused_by_name() {
    for (key, value) in [
        ("workers", "2"),
        ("state_dir", "\"elsewhere\""),
        ("control_socket", "\"elsewhere.sock\""),
        ("control_group", "\"root\""),
        ("pid_file", "\"elsewhere\""),
        ("log", "{ level = \"debug\", file = \"log\" }"),
        ("metrics", "{ bind = \"127.0.0.1:0\" }"),
        ("heartbeat_timeout", "\"7s\""),
    ] {
        let mut scene = Scene::new();
        scene.daemon.reconfigure(|it| it.set(key, value));
        let complaint = scene.daemon.ctl(&["reload"]).complaint();
        assert!(complaint.contains(key), "{key}: {complaint}");
        assert!(complaint.contains("restart"), "{key}: {complaint}");
        assert_eq!(scene.daemon.status()["tls"]["generation"], 1);
    }
}

#[test]
fn a_broken_configuration_keeps_everything() {
    let scene = Scene::new();
    let mut session = scene.session();
    scene
        .daemon
        .write_configuration("listner = 1\nworkers = \"many\"\n[[");
    let complaint = scene.daemon.ctl(&["reload"]).complaint();
    assert!(complaint.contains("proxyd.toml"), "{complaint}");
    session.echo("still there").unwrap();
    scene.shows(&scene.old);
    let status = scene.daemon.status();
    assert_eq!(status["tls"]["generation"], 1);
    assert_eq!(status["tls"]["disk"]["state"], "invalid");
    assert_eq!(status["tls"]["restart_safe"], false);
    let message = status["tls"]["last_error"]["message"].as_str().unwrap();
    assert!(message.contains("proxyd.toml"), "{message}");
}

#[test]
fn a_broken_configuration_does_not_keep_a_new_certificate_away() {
    let scene = Scene::new();
    scene.daemon.write_configuration("nonsense");
    scene.renew();
    let outcome = scene.daemon.ctl(&["--json", "reload"]);
    assert_eq!(outcome.code(), 1);
    scene.shows(&scene.new);
}

#[test]
fn reloading_tls_leaves_the_configuration_alone() {
    let mut scene = Scene::new();
    let listener = Listener::tcp("second", &scene.daemon.backend.address());
    scene.daemon.reconfigure(|it| it.listeners.push(listener));
    scene.renew();
    scene.reload_tls();
    assert_eq!(
        scene.daemon.status()["listeners"].as_array().unwrap().len(),
        1
    );
    scene.shows(&scene.new);
}

#[test]
fn a_new_listener_at_a_busy_port_leaves_all_as_it_was() {
    let mut scene = Scene::new();
    let busy = Backend::tcp();
    let address = busy.address();
    let listener = Listener::tcp("second", &scene.daemon.backend.address()).bind(&address);
    scene.daemon.reconfigure(|it| it.listeners.push(listener));
    let complaint = scene.daemon.ctl(&["reload"]).complaint();
    assert!(complaint.contains(&address), "{complaint}");
    assert_eq!(
        scene.daemon.status()["listeners"].as_array().unwrap().len(),
        1
    );
    scene.shows(&scene.old);
}

#[test]
fn a_refused_configuration_is_told_of_until_one_is_taken_whatever_else_is_loaded() {
    let mut scene = Scene::new();
    scene.daemon.write_configuration("nonsense = 1");
    assert_eq!(scene.daemon.ctl(&["reload"]).code(), 1);
    let told = |scene: &Scene| {
        let error = scene.daemon.status()["tls"]["last_error"].clone();
        error["message"].as_str().unwrap_or_default().to_owned()
    };
    assert!(told(&scene).contains("nonsense"), "{}", told(&scene));
    scene.renew();
    assert_eq!(scene.daemon.ctl(&["reload-tls"]).code(), 0);
    assert!(told(&scene).contains("nonsense"), "{}", told(&scene));
    scene
        .daemon
        .reconfigure(|it| it.set("drain_timeout", "\"7s\""));
    reload(&scene);
    assert_eq!(told(&scene), "");
}
