//! Supervisors that are killed, and the next ones, which go on with what those have left.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{busy::Busy, kind::Kind, stage::Stage};
use crate::support::{
    PATIENCE, client::connect, configuration::Listener, daemon::TestDaemon, pause, process, until,
};

/// How often the supervisor is killed under load.
const DEATHS: usize = 20;

/// A backend that says what it hears.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
            });
        }
    });
    address
}

/// Clients that come and go all the time.
struct Knocking {
    enough: Arc<AtomicBool>,
    client: JoinHandle<Vec<String>>,
}

impl Knocking {
    fn at(address: SocketAddr) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&enough);
        let client = thread::spawn(move || {
            let mut failures = Vec::new();
            let mut round = 0_u32;
            while !done.load(Ordering::Relaxed) {
                round += 1;
                if let Err(error) = knock(address) {
                    failures.push(format!("client {round}: {error}"));
                }
            }
            failures
        });
        Self { enough, client }
    }

    /// Sees that every client was served.
    #[track_caller]
    fn end_served(self) {
        self.enough.store(true, Ordering::Relaxed);
        assert_eq!(self.client.join().unwrap(), [""; 0]);
    }
}

fn knock(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    for _ in 0..3 {
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
    }
    Ok(())
}

/// Starts a daemon with two workers, one listener of which has a backend that answers.
fn stage(lines: &[(&str, &str)]) -> Stage {
    let echo = echo().to_string();
    Stage::with(&[], |it| {
        let listener = Listener::tcp("echo", &echo).line("tls = { mode = \"preferred\" }");
        let builder = it.workers(2).listener(listener);
        lines
            .iter()
            .fold(builder, |it, (name, value)| it.set(name, value))
    })
}

/// Kills the supervisor alone; returns its workers.
#[track_caller]
fn kill_supervisor(daemon: &mut TestDaemon) -> Vec<u32> {
    let workers = process::workers(daemon.pid());
    daemon.signal(Signal::SIGKILL);
    daemon.wait_exit(PATIENCE);
    workers
}

/// Waits until these processes have ended.
#[track_caller]
fn await_end(what: &str, pids: &[u32]) {
    until(what, || !pids.iter().any(|pid| process::is_alive(*pid)));
}

/// Returns the names in the folder of the doors.
fn doors(daemon: &TestDaemon) -> Vec<PathBuf> {
    let folder = fs::read_dir(daemon.path("control.sock.doors"));
    let entries = folder.into_iter().flatten();
    entries.map(|it| it.unwrap().path()).collect()
}

/// Returns what the events of a kind say.
#[track_caller]
fn told(daemon: &TestDaemon, kind: &str) -> Vec<String> {
    let events = daemon.events();
    let events = events.iter().filter(|it| it["kind"] == kind);
    events
        .map(|it| it["message"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn twenty_supervisors_are_killed_and_no_client_and_no_byte_is_lost() {
    let mut stage = stage(&[]);
    let talks = stage.open_all(&Kind::mixed());
    let sessions = talks.len();
    stage.await_kept(sessions);
    let busy = Busy::start(talks);
    let knocking = Knocking::at(stage.daemon.address_of("echo"));
    for round in 0..DEATHS {
        busy.go_on();
        let resolver = process::resolver(stage.daemon.pid());
        let old = kill_supervisor(&mut stage.daemon);
        busy.go_on();
        stage.daemon.start();
        await_end("the old workers have handed over", &old);
        await_end("the old resolver has ended", &[resolver]);
        let found = told(&stage.daemon, "workers-found");
        let last = found.last().unwrap();
        assert!(
            last.starts_with("2 workers of an earlier supervisor were found"),
            "{last}"
        );
        // Events go on across supervisors.
        let mut handed = told(&stage.daemon, "worker-handed-over");
        // A session may keep its worker for a moment, because it is just ending.
        handed.retain(|it| it.contains("has handed over"));
        assert_eq!((found.len(), handed.len()), (round + 1, 2 * (round + 1)));
        until("each worker has a door", || doors(&stage.daemon).len() == 2);
    }
    busy.go_on();
    knocking.end_served();
    stage.await_kept(sessions);
    for session in stage.list(&["--older-than", "1s"]) {
        assert_eq!(session["takeovers"], DEATHS, "{session}");
    }
    busy.end_whole();
    stage.lost_none();
}

#[test]
fn nothing_piles_up_in_the_processes_of_supervisors_that_follow_each_other() {
    let mut stage = stage(&[]);
    let _talks = stage.open_all(&Kind::mixed());
    let mut counts = Vec::new();
    for _ in 0..6 {
        let old = kill_supervisor(&mut stage.daemon);
        stage.daemon.start();
        await_end("the old workers have handed over", &old);
        stage.await_kept(Kind::mixed().len());
        until("each worker has a door", || doors(&stage.daemon).len() == 2);
        let mut all = vec![stage.daemon.pid()];
        all.extend(process::workers(stage.daemon.pid()));
        let descriptors = all.iter().map(|pid| process::descriptors(*pid).len());
        counts.push(descriptors.sum::<usize>());
    }
    assert!(counts[5] <= counts[0] + 2, "{counts:?}");
}

#[test]
fn a_supervisor_that_is_killed_while_it_takes_over_leaves_all_to_the_next() {
    let mut stage = stage(&[]);
    let talks = stage.open_all(&Kind::mixed());
    stage.await_kept(talks.len());
    let busy = Busy::start(talks);
    let knocking = Knocking::at(stage.daemon.address_of("echo"));
    for moment in 0..12 {
        let mut old = kill_supervisor(&mut stage.daemon);
        // Each round kills it a bit later: before it finds the workers, while they tell, while they hand over.
        let mut next = stage.daemon.command().spawn().unwrap();
        pause(Duration::from_millis(30 * moment));
        old.extend(process::workers(next.id()));
        next.kill().unwrap();
        next.wait().unwrap();
        busy.go_on();
        stage.daemon.start();
        await_end("the old workers have handed over", &old);
    }
    busy.go_on();
    knocking.end_served();
    busy.end_whole();
    stage.lost_none();
    until("each worker has a door", || doors(&stage.daemon).len() == 2);
}

#[test]
fn a_session_that_is_not_kept_stays_with_its_worker_until_it_ends() {
    let mut stage = stage(&[("keep_after", "\"off\"")]);
    let mut talk = stage.open(&Kind::mixed()[0]);
    talk.exchange();
    let old = kill_supervisor(&mut stage.daemon);
    let mut next = stage.daemon.command().spawn().unwrap();
    stage.daemon.adopt(next.id());
    until("the daemon answers", || {
        !stage.daemon.ctl(&["status"]).stdout.is_empty()
    });
    let status = stage.daemon.await_status("one hands over", |status| {
        let workers = status["workers"].as_array().unwrap();
        workers.len() == 3 && workers[2]["state"] == "handing-over"
    });
    let stays = u32::try_from(status["workers"][2]["pid"].as_u64().unwrap()).unwrap();
    assert!(old.contains(&stays), "{old:?}");
    assert_eq!(status["workers"][2]["connections"], 1);
    assert_eq!(stage.list(&[]).len(), 1);
    until("operators are told why", || {
        let told = told(&stage.daemon, "worker-handed-over");
        told.iter().any(|it| it.contains("until 1 of them"))
    });
    talk.exchange();
    // An operator ends it like any other.
    let id = stage.list(&[])[0]["id"].as_str().unwrap().to_owned();
    stage.daemon.ctl(&["end", &id]).answer();
    await_end("the old worker has ended", &old);
    stage
        .daemon
        .await_status("only the new ones are left", |status| {
            status["workers"].as_array().unwrap().len() == 2
        });
    next.kill().unwrap();
    next.wait().unwrap();
}

#[test]
fn a_drain_reaches_the_workers_of_an_earlier_supervisor_and_waits_for_them() {
    let mut stage = stage(&[("keep_after", "\"off\""), ("drain_timeout", "\"60s\"")]);
    let mut talk = stage.open(&Kind::mixed()[0]);
    let old = kill_supervisor(&mut stage.daemon);
    let mut next = stage.daemon.command().spawn().unwrap();
    stage.daemon.adopt(next.id());
    until("the daemon answers", || {
        !stage.daemon.ctl(&["status"]).stdout.is_empty()
    });
    stage.daemon.await_status("one hands over", |status| {
        status["workers"].as_array().unwrap().len() == 3
    });
    process::send(next.id(), Signal::SIGTERM);
    stage.daemon.await_status("it drains", |status| {
        status["workers"][0]["state"] == "draining"
    });
    talk.exchange();
    talk.client_finishes();
    drop(talk);
    assert!(next.wait().unwrap().success());
    await_end("the old workers have ended", &old);
    assert_eq!(doors(&stage.daemon), [""; 0].map(PathBuf::from));
    assert!(!stage.daemon.path("control.sock.doors").exists());
}

#[test]
fn a_worker_that_is_stopped_and_strange_files_keep_no_supervisor_from_starting() {
    let mut stage = stage(&[("orphan_timeout", "\"8s\"")]);
    let mut talks = stage.open_all(&Kind::mixed());
    stage.await_kept(talks.len());
    let old = kill_supervisor(&mut stage.daemon);
    let folder = stage.daemon.path("control.sock.doors");
    fs::write(folder.join("7"), "no socket").unwrap();
    fs::create_dir(folder.join("8")).unwrap();
    std::os::unix::fs::symlink("/dev/null", folder.join("9")).unwrap();
    fs::write(folder.join("notes"), "").unwrap();
    process::send(old[0], Signal::SIGSTOP);
    stage.daemon.start();
    let found = told(&stage.daemon, "workers-found");
    assert!(
        found.iter().any(|it| it.contains("it does not answer")),
        "{found:?}"
    );
    await_end("the other has handed over", &old[1..]);
    // It goes on when it can, alone.
    process::send(old[0], Signal::SIGCONT);
    for talk in &mut talks {
        talk.exchange();
    }
    for talk in talks {
        drop(talk);
    }
    await_end("it has ended", &old);
    connect(stage.daemon.address_of("echo")).unwrap();
}

#[test]
fn workers_that_no_supervisor_comes_for_end_and_the_next_one_begins_anew() {
    let mut stage = stage(&[
        ("orphan_timeout", "\"300ms\""),
        ("drain_timeout", "\"300ms\""),
    ]);
    let old = kill_supervisor(&mut stage.daemon);
    await_end("they have ended", &old);
    stage.daemon.start();
    assert_eq!(told(&stage.daemon, "workers-found"), [""; 0]);
    until("each worker has a door", || doors(&stage.daemon).len() == 2);
}
