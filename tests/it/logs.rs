//! The log: where it goes, and that no process waits for it.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};

use crate::support::{
    PATIENCE, builder::Builder, client, eventually, process, program::End, scene::Scene, until,
};

/// Makes a FIFO in the builder's folder.
fn fifo(builder: &Builder, name: &str) -> PathBuf {
    let path = builder.folder().join(name);
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    path
}

/// Makes the daemon log to a FIFO as its standard error, which no process reads.
fn unread() -> Scene {
    Scene::prepare(|builder| {
        let pipe = fifo(&builder, "pipe");
        // Opened for reading and writing, so that opening does not wait and writing does not fail.
        let start = format!("exec \"$0\" \"$@\" 2<>{}", pipe.display());
        builder
            .set("log", "{ level = \"info\" }")
            .wrapped(&["sh", "-c", &start])
    })
}

/// Makes the daemon log lines until some are lost; returns how many.
fn overflow(scene: &Scene) -> u64 {
    eventually("lines are lost", PATIENCE, || {
        scene.daemon.log_lines(500);
        let lost = scene.daemon.status()["log"]["lost_lines"].as_u64().unwrap();
        Some(lost).filter(|lost| *lost > 0)
    })
}

#[test]
fn an_unread_log_stops_nothing_and_lost_lines_are_counted() {
    let mut scene = unread();
    scene.daemon.start();
    let lost = overflow(&scene);
    scene.renew();
    scene.reload_tls();
    scene.shows(&scene.new);
    let worker = scene.daemon.workers()[0];
    process::send(worker, Signal::SIGKILL);
    scene.await_restarts(1);
    assert!(
        scene
            .daemon
            .ctl(&["status"])
            .answer()
            .contains("lines lost")
    );
    let mut pipe = fs::File::open(scene.daemon.path("pipe")).unwrap();
    let mut text = Vec::new();
    let mut space = [0; 4096];
    until("the log tells of the loss", || {
        let read = pipe.read(&mut space).unwrap();
        text.extend_from_slice(&space[..read]);
        told(&String::from_utf8_lossy(&text)) >= lost
    });
}

/// Returns how many lines a log says were lost.
fn told(text: &str) -> u64 {
    let numbers = text.split("lost_lines=").skip(1);
    numbers
        .filter_map(|rest| rest.lines().next()?.parse::<u64>().ok())
        .sum()
}

#[test]
fn a_daemon_whose_log_is_not_read_ends_when_told_to() {
    let mut scene = unread();
    scene.daemon.start();
    overflow(&scene);
    let began = Instant::now();
    scene.daemon.signal(Signal::SIGTERM);
    assert_eq!(scene.daemon.wait_exit(PATIENCE).code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[test]
fn what_is_logged_before_a_refused_start_is_written() {
    let hook = "{ command = [\"/nonexistent\"] }";
    let scene = Scene::prepare(|builder| builder.set("on_exit_failure", hook));
    fs::write(scene.daemon.files("default").cert, "nonsense").unwrap();
    let outcome = scene.daemon.run(&[]);
    assert_eq!(outcome.code(), 1);
    let log = scene.daemon.log();
    assert!(log.contains("/nonexistent cannot be run"), "{outcome:#?}");
}

#[test]
fn standard_descriptors_and_the_null_device_can_be_the_log() {
    for place in ["/dev/stderr", "/dev/stdout", "/dev/null", "/proc/self/fd/2"] {
        let mut scene =
            Scene::prepare(|builder| builder.set("log", &format!("{{ file = \"{place}\" }}")));
        assert_eq!(
            scene.daemon.run(&["--check-config"]).end,
            End::Exit(0),
            "{place}"
        );
        scene.daemon.start();
        scene.daemon.signal(Signal::SIGUSR1);
        scene.renew();
        scene.reload_tls();
        if place.ends_with(['2', 'r']) {
            until("it is logged", || scene.daemon.log().contains("loaded"));
        }
        scene.daemon.signal(Signal::SIGTERM);
        assert_eq!(scene.daemon.wait_exit(PATIENCE).code(), Some(0), "{place}");
    }
}

#[test]
fn a_log_file_of_another_kind_is_refused_by_name() {
    let mut scene = Scene::prepare(|builder| {
        let pipe = fifo(&builder, "pipe");
        fs::create_dir(builder.folder().join("folder")).unwrap();
        builder.set("log", &format!("{{ file = \"{}\" }}", pipe.display()))
    });
    for (name, kind) in [("pipe", "FIFO"), ("folder", "folder"), ("none/log", "none")] {
        let text = format!("{{ file = \"{name}\" }}");
        scene.daemon.reconfigure(|it| it.set("log", &text));
        for arguments in [&[][..], &["--check-config"]] {
            let outcome = scene.daemon.run(arguments);
            assert_eq!(outcome.code(), 1);
            assert!(
                outcome.stderr.contains(name) && outcome.stderr.contains(kind),
                "{outcome:#?}"
            );
        }
    }
    scene
        .daemon
        .reconfigure(|it| it.set("log", "{ file = \"log\" }"));
    scene.daemon.start();
    scene
        .daemon
        .reconfigure(|it| it.set("log", "{ file = \"pipe\" }"));
    let outcome = scene.daemon.ctl(&["verify"]);
    assert_eq!(outcome.code(), 1);
    assert!(format!("{outcome:?}").contains("FIFO"), "{outcome:#?}");
    scene
        .daemon
        .await_status("a restart is not safe", |status| {
            status["tls"]["restart_safe"] == false
        });
}

#[test]
fn a_log_file_replaced_by_a_fifo_is_reopened_once_the_fifo_is_gone() {
    let mut scene = Scene::new();
    let log = scene.daemon.path("log");
    fs::rename(&log, scene.daemon.path("old")).unwrap();
    mkfifo(&log, Mode::S_IRWXU).unwrap();
    scene.daemon.signal(Signal::SIGUSR1);
    let old = scene.daemon.path("old");
    until("it is told in the log that stays", || {
        fs::read_to_string(&old).unwrap().contains("FIFO")
    });
    scene.renew();
    scene.reload_tls();
    scene.shows(&scene.new);
    fs::remove_file(&log).unwrap();
    until("the file is reopened", || log.exists());
}

#[test]
fn lines_for_the_journal_have_a_priority_and_no_time() {
    let mut scene = Scene::prepare(|builder| {
        let stderr = builder.folder().join("stderr");
        fs::write(&stderr, "").unwrap();
        let about = fs::metadata(&stderr).unwrap();
        let stream = format!("{}:{}", about.dev(), about.ino());
        builder
            .set("log", "{ level = \"info\" }")
            .environment("JOURNAL_STREAM", &stream)
    });
    scene.daemon.start();
    let mut stream = client::connect(scene.daemon.address()).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    until("a worker logs", || {
        scene.daemon.log().contains("session failed")
    });
    fs::write(scene.daemon.files("default").key, "broken").unwrap();
    assert_eq!(scene.daemon.ctl(&["reload-tls"]).code(), 1);
    until("an error is logged", || {
        scene.daemon.log().contains("\n<3>")
    });
    for line in scene.daemon.log().lines() {
        let (priority, message) = line.split_at_checked(3).unwrap();
        assert!(["<3>", "<4>", "<6>"].contains(&priority), "{line}");
        assert!(
            !message.starts_with(|it: char| it.is_ascii_digit()),
            "{line}"
        );
    }
}

#[test]
fn a_start_that_is_refused_is_an_error_in_the_journal() {
    let scene = Scene::prepare(|builder| builder.text("nonsense"));
    let stderr = scene.daemon.path("stderr");
    let file = fs::File::create(&stderr).unwrap();
    let about = file.metadata().unwrap();
    let mut command = scene.daemon.command();
    command
        .env("JOURNAL_STREAM", format!("{}:{}", about.dev(), about.ino()))
        .stderr(file);
    assert_eq!(command.status().unwrap().code(), Some(1));
    let text = fs::read_to_string(&stderr).unwrap();
    assert!(text.lines().all(|line| line.starts_with("<3>")), "{text}");
}

#[test]
fn a_client_of_both_families_is_logged_by_its_ipv4_address() {
    let scene = Scene::with(|builder| {
        let listener =
            crate::support::configuration::Listener::tcp("main", &builder.backend().address());
        builder.listener(listener.bind("[::]:0"))
    });
    let port = scene.daemon.address().port();
    let mut stream = client::connect(([127, 0, 0, 1], port).into()).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    until("it is logged", || {
        scene.daemon.log().contains("session failed")
    });
    let log = scene.daemon.log();
    assert!(
        log.contains("127.0.0.1:") && !log.contains("::ffff:"),
        "{log}"
    );
}
