//! How a daemon starts and ends, and what it leaves behind.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{
    PATIENCE,
    client::{self, Client},
    configuration::Listener,
    daemon::TestDaemon,
    eventually, is_root,
    ports::free_port,
    process,
    scene::{NAME, Scene},
    skip, until,
};

#[test]
fn a_second_daemon_is_refused_and_names_the_first() {
    let scene = Scene::new();
    let outcome = scene.daemon.run(&[]);
    assert_eq!(outcome.code(), 1);
    let pid = scene.daemon.pid().to_string();
    assert!(outcome.stderr.contains(&pid), "{outcome:#?}");
    scene.shows(&scene.old);
    assert_eq!(
        scene.daemon.status()["supervisor"]["pid"],
        scene.daemon.pid()
    );
}

#[test]
fn a_stale_pid_file_and_socket_are_taken_over() {
    let mut scene = Scene::prepare(|builder| builder);
    fs::write(scene.daemon.path("pid"), "1\n").unwrap();
    drop(UnixListener::bind(scene.daemon.socket()).unwrap());
    scene.daemon.start();
    scene.shows(&scene.old);
    let pid = fs::read_to_string(scene.daemon.path("pid")).unwrap();
    assert_eq!(pid.trim(), scene.daemon.pid().to_string());
}

#[test]
fn the_default_start_creates_a_certificate_that_its_authority_vouches_for() {
    let daemon = TestDaemon::builder().start();
    let folder = daemon.path("state/tls");
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["ca-key.pem", "ca.pem", "server-key.pem", "server.pem"]
    );
    let ca = fs::read_to_string(folder.join("ca.pem")).unwrap();
    let mut session = Client::trusting(&ca).connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
}

#[test]
fn a_certificate_that_was_created_is_the_same_after_a_restart() {
    let mut daemon = TestDaemon::builder().start();
    let sha256 = |daemon: &TestDaemon| daemon.status()["tls"]["identities"][0]["sha256"].clone();
    let before = sha256(&daemon);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait_exit(PATIENCE).success());
    daemon.start();
    assert_eq!(sha256(&daemon), before);
}

#[test]
fn a_termination_lets_sessions_end_and_refuses_new_ones() {
    let mut scene = Scene::with(|builder| builder.workers(2));
    let address = scene.daemon.address();
    let mut session = scene.session();
    scene.daemon.signal(Signal::SIGTERM);
    eventually("new clients are refused", PATIENCE, || {
        client::connect(address).err()
    });
    session.echo("still there").unwrap();
    assert!(scene.daemon.exit_status().is_none());
    session.close().unwrap();
    assert_eq!(scene.daemon.wait_exit(PATIENCE).code(), Some(0));
    assert!(!scene.daemon.path("pid").exists());
    assert!(!scene.daemon.socket().exists());
}

#[test]
fn a_drain_ends_at_its_timeout() {
    let mut scene = Scene::with(|builder| builder.set("drain_timeout", "\"500ms\""));
    let mut session = scene.session();
    let began = Instant::now();
    scene.daemon.signal(Signal::SIGTERM);
    assert_eq!(scene.daemon.wait_exit(PATIENCE).code(), Some(0));
    assert!(began.elapsed() >= Duration::from_millis(500));
    assert!(session.echo("gone").is_err());
}

#[test]
fn a_second_termination_ends_at_once() {
    let mut scene = Scene::with(|builder| builder.set("drain_timeout", "\"1h\""));
    let mut session = scene.session();
    scene.daemon.signal(Signal::SIGTERM);
    scene.daemon.await_status("it drains", |status| {
        status["supervisor"]["state"] == "draining"
    });
    scene.daemon.signal(Signal::SIGTERM);
    assert_eq!(scene.daemon.wait_exit(PATIENCE).code(), Some(0));
    assert!(session.echo("gone").is_err());
}

#[test]
fn an_interrupt_drains() {
    let mut scene = Scene::new();
    let mut session = scene.session();
    scene.daemon.signal(Signal::SIGINT);
    scene.daemon.await_status("it drains", |status| {
        status["supervisor"]["state"] == "draining"
    });
    session.echo("still there").unwrap();
    session.close().unwrap();
    assert_eq!(scene.daemon.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn an_interrupt_typed_at_a_terminal_does_not_end_workers() {
    let mut scene = Scene::new();
    let mut session = scene.session();
    let worker = scene.daemon.workers()[0];
    let group = i32::try_from(scene.daemon.pid()).unwrap();
    nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group), Signal::SIGINT).unwrap();
    scene.daemon.await_status("it drains", |status| {
        status["supervisor"]["state"] == "draining"
    });
    assert!(process::is_alive(worker));
    session.echo("still there").unwrap();
    scene.daemon.signal(Signal::SIGINT);
    scene.daemon.wait_exit(PATIENCE);
}

#[test]
fn workers_that_may_not_serve_alone_finish_their_sessions_when_the_supervisor_is_killed() {
    let mut scene = Scene::with(|it| it.workers(2).set("orphan_timeout", "\"0s\""));
    let mut session = scene.session();
    let workers = scene.daemon.workers();
    scene.daemon.signal(Signal::SIGKILL);
    scene.daemon.wait_exit(PATIENCE);
    let is_alive = |pid: &u32| process::is_alive(*pid);
    until("the idle worker has ended", || {
        workers.iter().filter(|pid| is_alive(pid)).count() == 1
    });
    session.echo("still there").unwrap();
    session.close().unwrap();
    until("no worker is left", || !workers.iter().any(is_alive));
}

#[test]
fn a_worker_that_serves_no_clients_yet_finishes_the_sessions_it_took_over() {
    let mut scene = Scene::with(|builder| builder.workers(1));
    let mut session = scene.session();
    scene
        .daemon
        .await_status("it is kept", |status| status["sessions"]["kept"] == 1);
    // After so many failures in a row, a worker serves only after a second or more.
    for _ in 0..7 {
        for worker in process::workers(scene.daemon.pid()) {
            process::send(worker, Signal::SIGKILL);
            until("it is dead", || !process::is_alive(worker));
        }
        session.echo("still there").unwrap();
    }
    scene.daemon.signal(Signal::SIGKILL);
    scene.daemon.wait_exit(PATIENCE);
    let killed = Instant::now();
    while killed.elapsed() < Duration::from_millis(300) {
        session.echo("still there").unwrap();
    }
    session.close().unwrap();
}

#[test]
fn the_successor_of_a_killed_supervisor_takes_the_port_at_once() {
    let port = free_port();
    let mut scene = Scene::with(|builder| {
        let listener = Listener::tcp("main", &builder.backend().address());
        builder
            .workers(2)
            .set("orphan_timeout", "\"0s\"")
            .listener(listener.bind(&format!("127.0.0.1:{port}")))
    });
    let mut session = scene.session();
    for _ in 0..3 {
        let before = scene.daemon.workers();
        scene.daemon.signal(Signal::SIGKILL);
        scene.daemon.wait_exit(PATIENCE);
        scene.daemon.start();
        scene.shows(&scene.old);
        assert!(
            scene
                .daemon
                .workers()
                .iter()
                .all(|pid| !before.contains(pid))
        );
    }
    session.echo("still there").unwrap();
}

#[test]
fn no_process_is_left_behind() {
    let mut scene = Scene::with(|builder| builder.workers(3));
    let workers = scene.daemon.workers();
    let pid = scene.daemon.pid();
    scene.daemon.signal(Signal::SIGTERM);
    scene.daemon.wait_exit(PATIENCE);
    assert!(
        !workers
            .iter()
            .chain([&pid])
            .any(|pid| process::is_alive(*pid))
    );
}

#[test]
fn usr1_opens_the_log_file_anew() {
    let mut scene = Scene::new();
    fs::rename(scene.daemon.path("log"), scene.daemon.path("log.1")).unwrap();
    scene.daemon.signal(Signal::SIGUSR1);
    until("the log file is there again", || {
        scene.daemon.path("log").exists()
    });
    scene.renew();
    scene.reload_tls();
    let log = fs::read_to_string(scene.daemon.path("log")).unwrap();
    assert!(log.contains("loaded"), "{log}");
    let before = fs::read_to_string(scene.daemon.path("log.1")).unwrap();
    assert!(before.contains("The daemon serves"), "{before}");
}

#[test]
fn twenty_deaths_leave_no_descriptor_and_no_zombie() {
    let scene = Scene::with(|builder| builder.workers(4));
    let pid = scene.daemon.pid();
    scene.shows(&scene.old);
    let before = descriptors(pid);
    for round in 0..5 {
        for worker in scene.daemon.workers() {
            process::send(worker, Signal::SIGKILL);
        }
        scene.await_restarts((round + 1) * 4);
    }
    // Four workers and the resolver.
    assert_eq!(process::children(pid).len(), 5);
    until("as many descriptors are open as before", || {
        descriptors(pid) <= before
    });
}

/// Returns how many descriptors a supervisor has open while nobody asks it anything.
fn descriptors(pid: u32) -> usize {
    process::descriptors(pid).len()
}

#[test]
fn a_hundred_reloads_leave_no_descriptor() {
    let scene = Scene::with(|builder| builder.workers(2));
    let leaves = [scene.ca.leaf(NAME), scene.ca.leaf(NAME)];
    let pids: Vec<u32> = [scene.daemon.pid()]
        .into_iter()
        .chain(scene.daemon.workers())
        .collect();
    scene.reload_tls();
    let count = |pid: &u32| {
        if is_root() || *pid == pids[0] {
            descriptors(*pid)
        } else {
            0
        }
    };
    let before: Vec<usize> = pids.iter().map(count).collect();
    for round in 0..100 {
        scene.daemon.files("default").put(&leaves[round % 2]);
        scene.reload_tls();
    }
    until("as many descriptors are open as before", || {
        pids.iter()
            .map(count)
            .zip(&before)
            .all(|(now, before)| now <= *before)
    });
}

#[test]
fn workers_that_die_young_are_restarted_ever_more_slowly() {
    let scene = Scene::new();
    let mut waits = Vec::new();
    for round in 1..=5 {
        let worker = eventually("a worker serves", PATIENCE, || {
            let status = scene.await_restarts(round - 1);
            status["workers"][0]["pid"].as_u64()
        });
        let died = Instant::now();
        process::send(u32::try_from(worker).unwrap(), Signal::SIGKILL);
        let status = scene.await_restarts(round);
        waits.push(died.elapsed());
        assert_eq!(status["restarts"]["consecutive"], round);
    }
    // By the fifth death it has waited for 0, 0.1, 0.2, 0.4 and 0.8 s.
    assert!(waits[3] >= Duration::from_millis(400), "{waits:?}");
    assert!(waits[4] >= Duration::from_millis(800), "{waits:?}");
}

#[test]
fn workers_run_as_somebody_else_than_root() {
    if !is_root() {
        return skip("only root can become somebody else");
    }
    let scene = Scene::with(|builder| builder.workers(2));
    for worker in scene.daemon.workers() {
        assert_ne!(process::user(worker), Some(0));
        assert_eq!(process::status_line(worker, "Groups"), Some(String::new()));
        assert_eq!(
            process::status_line(worker, "NoNewPrivs").as_deref(),
            Some("1")
        );
        let capabilities = process::status_line(worker, "CapEff").unwrap();
        assert_eq!(capabilities.trim_start_matches('0'), "");
    }
}

#[test]
fn workers_have_no_descriptor_that_they_do_not_need() {
    if !is_root() {
        return skip("only root sees the descriptors of workers");
    }
    let scene = Scene::with(|builder| builder.workers(2));
    let _session = scene.session();
    let folder = scene.daemon.folder().to_owned();
    for worker in scene.daemon.workers() {
        let mut tables = 0;
        for (number, target) in process::descriptors(worker) {
            let target = target.to_str().unwrap();
            assert!(
                !target.contains(folder.to_str().unwrap()),
                "{number}: {target}"
            );
            // The last are the sealed memory in which chains and keys lie, the worker's own table and board, what it keeps
            // for the next supervisor, and by what it tells how much memory it takes.
            let known = [
                "socket:",
                "pipe:",
                "anon_inode:[event",
                "/dev/null",
                "/memfd:proxyd-identities",
                "/memfd:proxyd-table",
                "/memfd:proxyd-board",
                "/memfd:proxyd-book",
                "/memfd:proxyd-served",
                &format!("/proc/{worker}/statm"),
            ];
            let known = known.iter().any(|start| target.starts_with(start));
            assert!(known, "{number}: {target}");
            tables += u32::from(target.starts_with("/memfd:proxyd-table"));
        }
        assert_eq!(tables, 1);
    }
}

#[test]
fn a_descriptor_of_whoever_starts_it_reaches_no_worker() {
    let scene = Scene::prepare(|builder| {
        builder.wrapped(&["bash", "-c", "exec 9</etc/passwd; exec \"$@\"", "bash"])
    });
    let mut scene = scene;
    scene.daemon.start();
    if !is_root() {
        return skip("only root sees the descriptors of workers");
    }
    for worker in scene.daemon.workers() {
        for (number, target) in process::descriptors(worker) {
            assert_ne!(target.to_str(), Some("/etc/passwd"), "descriptor {number}");
        }
    }
}

#[test]
fn checking_the_configuration_starts_nothing() {
    let scene = Scene::prepare(|builder| builder);
    let outcome = scene.daemon.run(&["--check-config"]);
    assert!(outcome.answer().contains("good"));
    assert!(!scene.daemon.path("state").exists());
    assert!(!scene.daemon.socket().exists());
}

#[test]
fn what_is_odd_about_a_good_configuration_is_told_and_starts() {
    let limits = "limits = { connect_timeout = \"20s\" }";
    let names = "server_names = [\"other.test\"]";
    let mut scene = Scene::prepare(|builder| {
        let backend = builder.backend().address();
        builder.listener(Listener::tcp("orders", &backend).line(limits).line(names))
    });
    let file = scene.daemon.path("proxyd.toml");
    let odd = [
        format!(
            "listener \"orders\": {}: `connect_timeout` of 20 s never passes: \
             `handshake_timeout`, which bounds it, is 10 s",
            file.display()
        ),
        "listener \"orders\": none of its identities holds its name other.test".to_owned(),
    ];
    let checked = scene.daemon.run(&["--check-config"]).answer();
    scene.daemon.start();
    let verified = scene.daemon.ctl(&["verify"]);
    assert_eq!(verified.code(), 0, "{verified:#?}");
    for odd in odd {
        for told in [&checked, &verified.stderr, &scene.daemon.log()] {
            assert!(told.contains(&odd), "{odd} is not in {told}");
        }
    }
}

#[test]
fn checking_a_bad_configuration_tells_why() {
    let scene = Scene::prepare(|builder| builder);
    let cert = scene.daemon.files("default").cert;
    fs::remove_file(&cert).unwrap();
    let outcome = scene.daemon.run(&["--check-config"]);
    assert_eq!(outcome.code(), 1);
    assert!(
        outcome.stderr.contains(cert.to_str().unwrap()),
        "{outcome:#?}"
    );
}

#[test]
fn a_command_line_that_makes_no_sense_exits_with_2() {
    let scene = Scene::prepare(|builder| builder);
    for argument in ["--frobnicate", "--workers=0", "--daemonize=maybe"] {
        assert_eq!(scene.daemon.run(&[argument]).code(), 2, "{argument}");
    }
}

#[test]
fn one_listener_needs_no_configuration_file() {
    let daemon = TestDaemon::builder().prepare();
    let state = daemon.path("state");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_proxyd"));
    command
        .env_clear()
        .args(["--listen", "127.0.0.1:0", "--workers", "1", "--backend"])
        .arg(daemon.backend.address())
        .arg("--state-dir")
        .arg(&state)
        .arg("--control-socket")
        .arg(daemon.socket())
        .arg("--pid-file")
        .arg(daemon.path("pid"))
        .stderr(fs::File::create(daemon.path("log")).unwrap());
    let mut child = command.spawn().unwrap();
    let mut daemon = daemon;
    daemon.adopt(child.id());
    until("it answers", || daemon.ctl(&["status"]).is_success());
    let status = daemon.status();
    let address = status["listeners"][0]["bind"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let ca = fs::read_to_string(state.join("tls/ca.pem")).unwrap();
    let mut session = Client::trusting(&ca).connect(address).unwrap();
    session.echo("hello").unwrap();
    session.close().unwrap();
    process::send(child.id(), Signal::SIGTERM);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_client_that_closes_its_side_still_gets_the_rest() {
    let scene = Scene::new();
    let mut session = scene.session();
    let bytes = vec![b'x'; 200_000];
    session.send(&bytes).unwrap();
    session.close().unwrap();
    assert_eq!(session.rest().unwrap().len(), bytes.len());
}

#[test]
fn a_client_that_speaks_no_tls_is_turned_away() {
    let scene = Scene::new();
    let mut stream = client::connect(scene.daemon.address()).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // Whether it is an alert or a reset, nothing of the backend's comes.
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.len() < 100);
    scene.shows(&scene.old);
    until("the handshake is counted", || {
        scene.daemon.status()["listeners"][0]["connections"]["failed_handshakes"] == 1
    });
}
