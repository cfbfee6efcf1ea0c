//! Processes that are short of descriptors (setrlimit(2), `RLIMIT_NOFILE`).

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{
    PATIENCE,
    client::{self, Client},
    configuration::Listener,
    eventually, is_root, process,
    scene::{NAME, Scene},
    skip, until,
};

/// More than any daemon of the tests needs.
const ENOUGH: usize = 20_000;

/// Limits how many descriptors a process may have open; returns whether that succeeded.
fn limit_descriptors(pid: u32, limit: usize) -> bool {
    let done = process::limit_descriptors(pid, limit);
    if !done {
        skip("the limit of a process that runs cannot be set");
    }
    done
}

#[test]
fn a_worker_without_descriptors_says_so_and_recovers() {
    let scene = Scene::new();
    let address = scene.daemon.address();
    let worker = scene.daemon.workers()[0];
    if !is_root() {
        return skip("only root may limit a worker that protects its memory");
    }
    let open = process::descriptors(worker).len();
    let mut session = scene.session();
    if !limit_descriptors(worker, open + 4) {
        return;
    }
    let waiting: Vec<_> = (0..8).map(|_| client::connect(address).unwrap()).collect();
    until("it says so", || {
        scene.daemon.log().contains("cannot accept")
    });
    session.echo("still there").unwrap();
    assert!(limit_descriptors(worker, ENOUGH));
    for stream in waiting {
        let mut session = Client::new(&scene.ca).over(stream).unwrap();
        session.echo("at last").unwrap();
    }
    assert_eq!(scene.daemon.workers(), [worker]);
}

#[test]
fn a_supervisor_without_descriptors_still_replaces_workers() {
    let scene = Scene::with(|builder| builder.workers(2));
    let supervisor = scene.daemon.pid();
    // One is for the connection that asks how things stand.
    if !leave(supervisor, 1) {
        return;
    }
    for restarts in 1..=4 {
        let worker = scene.daemon.workers()[0];
        process::send(worker, Signal::SIGKILL);
        scene.await_restarts(restarts);
        scene.shows(&scene.old);
    }
}

#[test]
fn a_worker_whose_descriptors_are_all_taken_still_gets_new_certificates() {
    let scene = Scene::new();
    let worker = scene.daemon.workers()[0];
    if !is_root() {
        return skip("only root may limit a worker that protects its memory");
    }
    for generation in 2..=4 {
        let leaf = scene.ca.leaf(NAME);
        scene.daemon.files("default").put(&leaf);
        // What is kept back has high numbers, which have to stay below the limit to be of use.
        let highest = process::descriptors(worker).last().map_or(0, |it| it.0);
        if !limit_descriptors(worker, highest as usize + 1) {
            return;
        }
        let report = scene.reload_tls();
        assert_eq!(report["generation"], generation);
        assert_eq!(report["workers"], 1);
        assert!(limit_descriptors(worker, ENOUGH));
        scene.shows(&leaf);
    }
    assert_eq!(scene.daemon.workers(), [worker]);
}

/// Starts a daemon whose backend is known by a name, which the resolver looks up for each session.
fn by_name(workers: usize) -> Scene {
    Scene::with(|builder| {
        let backend = builder
            .backend()
            .address()
            .replace("127.0.0.1", "localhost");
        let listener = Listener::tcp("main", &backend);
        // Without descriptors, workers are linked to the resolver one after the other, in the seconds that follow.
        let patient = listener.line("limits = { connect_timeout = \"20s\" }");
        builder.workers(workers).listener(patient)
    })
}

/// Has the resolver be replaced.
fn replace_resolver(scene: &Scene) -> u32 {
    let before = process::resolver(scene.daemon.pid());
    assert!(process::send(before, Signal::SIGKILL));
    until("the resolver is gone", || !process::is_alive(before));
    process::resolver(scene.daemon.pid())
}

#[test]
fn a_worker_whose_descriptors_are_all_taken_is_still_linked_to_the_next_resolver() {
    if !is_root() {
        return skip("only root may limit a worker that protects its memory");
    }
    let scene = by_name(1);
    scene.session();
    let worker = scene.daemon.workers()[0];
    if !leave(worker, 0) {
        return;
    }
    replace_resolver(&scene);
    assert!(limit_descriptors(worker, ENOUGH));
    scene.session();
    assert_eq!(scene.daemon.workers(), [worker]);
}

#[test]
fn a_supervisor_without_descriptors_still_links_all_workers_to_the_next_resolver() {
    let scene = by_name(3);
    // One is for the connection that asks how things stand.
    if !leave(scene.daemon.pid(), 1) {
        return;
    }
    replace_resolver(&scene);
    for _ in 0..24 {
        scene.session();
    }
}

#[test]
fn a_resolver_whose_descriptors_are_all_taken_is_still_linked_to_a_new_worker() {
    if !is_root() {
        return skip("only root may limit a resolver that protects its memory");
    }
    let scene = by_name(1);
    scene.session();
    let resolver = process::resolver(scene.daemon.pid());
    // What is kept back is open since before the first pair, whose number must not be free for the next.
    let open = process::descriptors(resolver).into_iter();
    let mut kept = open.filter(|(_, file)| file.ends_with("anon_inode:[eventfd]"));
    let kept = kept.next_back().expect("a descriptor is kept back").0;
    if !limit_descriptors(resolver, kept as usize + 1) {
        return;
    }
    assert!(process::send(scene.daemon.workers()[0], Signal::SIGKILL));
    scene.await_restarts(1);
    assert!(limit_descriptors(resolver, ENOUGH));
    scene.session();
    assert_eq!(process::resolver(scene.daemon.pid()), resolver);
}

#[test]
fn a_resolver_that_is_short_of_descriptors_keeps_the_last_for_names() {
    if !is_root() {
        return skip("only root may limit a resolver that protects its memory");
    }
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().join("db");
    let _backend = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    let scene = Scene::with(|builder| {
        let backend = builder
            .backend()
            .address()
            .replace("127.0.0.1", "localhost");
        let path = format!("unix:{}", path.display());
        builder
            .listener(Listener::tcp("main", &backend))
            .listener(Listener::tcp("path", &path))
    });
    if !leave(process::resolver(scene.daemon.pid()), 12) {
        return;
    }
    let address = scene.daemon.address_of("path");
    let mut session = Client::new(&scene.ca).connect(address).unwrap();
    assert!(session.echo("hello").is_err());
    let status = scene.daemon.status();
    let told = &status["listeners"][1]["backends"][0]["last_error"];
    let told = told.as_str().unwrap_or_default();
    assert!(told.contains("keeps the last for lookups"), "{status}");
    scene.session();
}

#[test]
fn sessions_wait_until_a_supervisor_has_the_descriptors_that_the_next_workers_need() {
    let scene = Scene::with(|builder| builder.workers(4));
    let supervisor = scene.daemon.pid();
    let mut sessions: Vec<_> = (0..8).map(|_| scene.session()).collect();
    for more in 0..6 {
        scene.daemon.await_status("all are kept", |status| {
            let workers = status["workers"].as_array().unwrap();
            status["sessions"]["kept"] == 8 && workers.iter().all(|it| it["state"] == "serving")
        });
        let killed = scene.daemon.workers();
        if !leave(supervisor, more) {
            return;
        }
        for pid in &killed {
            process::send(*pid, Signal::SIGKILL);
        }
        until("all are replaced", || {
            let workers = process::workers(supervisor);
            workers.len() == 4 && workers.iter().all(|pid| !killed.contains(pid))
        });
        assert!(limit_descriptors(supervisor, ENOUGH));
        for session in &mut sessions {
            session.echo("still there").unwrap();
        }
        assert_eq!(scene.daemon.status()["sessions"]["lost_total"], 0, "{more}");
    }
}

/// Limits a process to so many descriptors beyond those that it has; returns whether that succeeded.
///
/// The limit is one of numbers, and a process may have open what is above it.
pub(crate) fn leave(pid: u32, more: usize) -> bool {
    let open: BTreeSet<u32> = process::descriptors(pid)
        .into_iter()
        .map(|it| it.0)
        .collect();
    let mut free = (0..).filter(|number| !open.contains(number));
    let limit = free.nth(more).expect("there are enough numbers");
    limit_descriptors(pid, limit as usize)
}

/// Adds a listener to the configuration on disk.
fn add_listener(scene: &mut Scene) {
    let listener = Listener::tcp("second", &scene.daemon.backend.address());
    scene.daemon.reconfigure(|it| it.listeners.push(listener));
}

/// Checks that a reload is refused with exit 1, and that everything is served as before.
#[track_caller]
fn is_refused(scene: &Scene, workers: &[u32]) {
    let outcome = scene.daemon.ctl(&["reload"]);
    assert_eq!(outcome.code(), 1, "{outcome:#?}");
    assert!(!outcome.stderr.is_empty());
    let status = scene.daemon.status();
    assert_eq!(status["tls"]["generation"], 1);
    assert_eq!(status["listeners"].as_array().unwrap().len(), 1);
    assert_eq!(status["restarts"]["total"], 0);
    assert_eq!(scene.daemon.workers(), workers);
    scene.shows(&scene.old);
}

#[test]
fn a_reload_that_a_supervisor_without_descriptors_cannot_carry_out_changes_nothing() {
    let mut scene = Scene::with(|builder| builder.workers(2));
    let (supervisor, workers) = (scene.daemon.pid(), scene.daemon.workers());
    add_listener(&mut scene);
    // With each number, the descriptor that cannot be opened is for another thing.
    for more in 0..8 {
        if !leave(supervisor, more) {
            return;
        }
        let outcome = scene.daemon.ctl(&["reload"]);
        assert!(limit_descriptors(supervisor, ENOUGH));
        scene.shows(&scene.old);
        assert_eq!(scene.daemon.workers(), workers);
        assert_eq!(scene.daemon.status()["supervisor"]["state"], "serving");
        if outcome.is_success() {
            break;
        }
        assert!(matches!(outcome.code(), 1 | 3), "{outcome:#?}");
    }
    scene.daemon.ctl(&["reload"]).answer();
    let second = scene.daemon.address_of("second");
    client::handshake(second, NAME, &scene.ca).unwrap();
}

#[test]
fn a_reload_that_one_worker_has_no_descriptors_for_is_rolled_back() {
    let mut scene = Scene::with(|builder| builder.workers(2));
    if !is_root() {
        return skip("only root may limit a worker that protects its memory");
    }
    let workers = scene.daemon.workers();
    add_listener(&mut scene);
    for name in ["third", "fourth"] {
        let listener = Listener::tcp(name, &scene.daemon.backend.address());
        scene.daemon.reconfigure(|it| it.listeners.push(listener));
    }
    // Enough for one session, and not for the sockets of three listeners.
    if !leave(workers[1], 2) {
        return;
    }
    is_refused(&scene, &workers);
    is_refused(&scene, &workers);
    assert_eq!(scene.daemon.ctl(&["check"]).code(), 2);
    let events = scene.daemon.events();
    assert!(events.iter().any(|it| it["kind"] == "reload-failed"));
    assert!(limit_descriptors(workers[1], ENOUGH));
    scene.daemon.ctl(&["reload"]).answer();
    assert_eq!(scene.daemon.status()["tls"]["generation"], 2);
    let second = scene.daemon.address_of("second");
    for _ in 0..8 {
        client::handshake(second, NAME, &scene.ca).unwrap();
    }
    assert_eq!(scene.daemon.workers(), workers);
}

#[test]
fn sockets_that_do_not_arrive_are_reported_and_handed_over_again() {
    let scene = Scene::with(|builder| builder.workers(2));
    if !is_root() {
        return skip("only root may limit a worker that protects its memory");
    }
    let workers = scene.daemon.workers();
    if !leave(workers[1], 0) {
        return;
    }
    // A worker fails again and again; the neighbour must accept for its slot, and cannot.
    eventually("it says that clients wait", PATIENCE, || {
        let status = scene.daemon.status();
        if status["supervisor"]["state"] == "degraded" {
            return Some(());
        }
        let pid = status["workers"][0]["pid"].as_u64();
        if let Some(pid) = pid.and_then(|pid| u32::try_from(pid).ok()) {
            process::send(pid, Signal::SIGKILL);
        }
        None
    });
    assert_eq!(scene.daemon.ctl(&["check"]).code(), 2);
    assert!(limit_descriptors(workers[1], ENOUGH));
    scene.daemon.await_status("all serve again", |status| {
        let mut all = status["workers"].as_array().unwrap().iter();
        status["supervisor"]["state"] == "serving" && all.all(|it| it["state"] == "serving")
    });
    scene.shows(&scene.old);
}
