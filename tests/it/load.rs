//! Many sessions at work while certificates are replaced and workers die.

mod successors;

use std::{
    fs::{self, File},
    io::Read,
    process::{Child, Command},
    sync::mpsc::{self, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::support::{
    front::{Front, listener},
    process,
    program::{clean_command, collect, run, spawn, text_of},
    reaper::lost_none,
    servers::{self, Server, found},
    stream::lines_of,
};

/// How many sessions there are.
const SESSIONS: u64 = 16;

/// For how many seconds they work.
const SECONDS: u32 = 60;

/// From which of them on workers are killed, one in each.
const KILL_FROM: usize = 8;

/// How many are killed.
const KILLS: usize = 20;

/// How long a program may take for all that.
const DEADLINE: Duration = Duration::from_secs(180);

fn front(server: &Server) -> Front {
    Front::with(|it| it.workers(2).listener(listener(server, "plain")))
}

/// Waits until no other test has programs work on a server, whose tables they share; until the lock is dropped, none has.
fn alone(server: &Server) -> File {
    let folder = server.socket.parent().unwrap();
    let lock = File::create(folder.join("load.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

/// Replaces the certificate with each second that is over, and kills workers in some.
fn disturb(front: &Front, seconds: impl Iterator<Item = ()>) {
    let mut killed = 0;
    for (second, ()) in seconds.enumerate() {
        let leaf = front.ca.request(&["localhost", "127.0.0.1"]).issue();
        front.daemon.files("default").put(&leaf);
        front.daemon.ctl(&["reload-tls"]).answer();
        if (KILL_FROM..KILL_FROM + KILLS).contains(&second) {
            let workers = process::workers(front.daemon.pid());
            let victim = workers.get(second % workers.len().max(1));
            killed += usize::from(victim.is_some_and(|it| process::send(*it, Signal::SIGKILL)));
        }
    }
    assert!(killed > KILLS / 2, "{killed} workers were killed");
    lost_none(&front.daemon, SESSIONS);
}

/// Returns the number behind a word of a program's report.
#[track_caller]
pub(crate) fn number_behind(report: &str, word: &str) -> u64 {
    let line = report
        .lines()
        .find_map(|line| line.trim().strip_prefix(word));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no {word:?} in:\n{report}"))
}

/// Returns the command for one session.
fn sysbench(front: &Front, server: &Server, what: &str) -> Option<Command> {
    let mut command = sysbench_at(front, "plain", server, what)?;
    command
        .arg(format!("--time={SECONDS}"))
        .arg("--report-interval=1");
    Some(command)
}

/// Returns the command that works at a listener.
fn sysbench_at(front: &Front, listener: &str, server: &Server, what: &str) -> Option<Command> {
    let mut command = clean_command(found("sysbench", "PROXYD_TEST_SYSBENCH")?);
    command
        .current_dir(front.daemon.folder())
        .arg("oltp_read_write")
        .args([
            "--db-driver=mysql",
            "--mysql-host=127.0.0.1",
            "--mysql-ssl=on",
        ])
        .arg(format!("--mysql-port={}", front.port(listener)))
        .arg(format!("--mysql-user={}", server.user))
        .arg(format!("--mysql-password={}", server.password))
        .arg(format!("--mysql-db={}", server.database))
        .args(["--tables=1", "--table-size=10000"])
        .arg(what);
    Some(command)
}

/// Puts the files where sysbench looks for them.
fn put_files_for_sysbench(front: &Front) {
    let files = front.daemon.files("default");
    for (file, name) in [
        (&front.ca_file, "cacert.pem"),
        (&files.cert, "client-cert.pem"),
        (&files.key, "client-key.pem"),
    ] {
        fs::copy(file, front.daemon.path(name)).unwrap();
    }
}

/// Passes on the number of each second that a program says is over; returns all that it said.
fn listen(output: impl Read + Send + 'static, seconds: Sender<u32>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut said = String::new();
        for line in lines_of(output, DEADLINE) {
            let second = line
                .strip_prefix("[ ")
                .and_then(|line| line.split('s').next());
            if let Some(second) = second.and_then(|second| second.parse().ok()) {
                // Nobody listens any more once the worker was killed and all is counted.
                let _ = seconds.send(second);
            }
            said.push_str(&line);
            said.push('\n');
        }
        said
    })
}

/// Collects all that a program says, of both kinds.
fn collect_report(child: &mut Child) -> JoinHandle<String> {
    let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let [output, errors] = [
        thread::spawn(move || std::io::read_to_string(output).unwrap_or_default()),
        thread::spawn(move || std::io::read_to_string(errors).unwrap_or_default()),
    ];
    thread::spawn(move || [output.join().unwrap(), errors.join().unwrap()].concat())
}

/// A program for each session, so that each of them tells.
#[test]
fn sysbench_loses_no_session_when_workers_die() {
    let Some(server) = servers::mariadb() else {
        return;
    };
    let _alone = alone(&server);
    let front = front(&server);
    put_files_for_sysbench(&front);
    let Some(prepare) = sysbench(&front, &server, "prepare") else {
        return;
    };
    run(prepare, DEADLINE).answer();
    let (sender, seconds) = mpsc::channel();
    let programs: Vec<_> = (0..SESSIONS)
        .map(|_| {
            let mut child = spawn(&mut sysbench(&front, &server, "run").unwrap());
            let report = listen(child.stdout.take().unwrap(), sender.clone());
            (child, report)
        })
        .collect();
    drop(sender);
    // Each program counts, and the first to come to a second tells it for all.
    let mut newest = 0;
    let first = seconds.into_iter().filter(|second| {
        let is_first = *second > newest;
        newest = newest.max(*second);
        is_first
    });
    disturb(&front, first.map(|_| ()));
    for (mut child, report) in programs {
        let report = report.join().unwrap();
        assert!(child.wait().unwrap().success(), "{report}");
        assert_eq!(number_behind(&report, "reconnects:"), 0, "{report}");
        assert!(number_behind(&report, "transactions:") > 10, "{report}");
    }
    run(sysbench(&front, &server, "cleanup").unwrap(), DEADLINE).answer();
}

fn pgbench(front: &Front, server: &Server) -> Command {
    pgbench_at(front, "plain", server)
}

/// Returns the command that works at a listener.
fn pgbench_at(front: &Front, listener: &str, server: &Server) -> Command {
    let mut command = clean_command(server.client.with_file_name("pgbench"));
    command
        .env("PGPASSWORD", server.password)
        .env("PGSSLMODE", "verify-full")
        .env("PGSSLROOTCERT", &front.ca_file)
        .arg("--host=127.0.0.1")
        .arg(format!("--port={}", front.port(listener)))
        .arg(format!("--username={}", server.user));
    command
}

#[test]
fn pgbench_loses_no_session_when_workers_die() {
    let Some(server) = servers::postgres() else {
        return;
    };
    let _alone = alone(&server);
    let front = front(&server);
    let mut prepare = pgbench(&front, &server);
    prepare.args(["--initialize", "--quiet", server.database]);
    run(prepare, DEADLINE).answer();
    let mut work = pgbench(&front, &server);
    work.arg(format!("--client={SESSIONS}"))
        .arg(format!("--time={SECONDS}"))
        .args(["--progress=1", server.database]);
    let mut child = spawn(&mut work);
    let report = collect(child.stdout.take(), ());
    let progress = child.stderr.take().unwrap();
    let mut said = String::new();
    let seconds = lines_of(progress, DEADLINE).filter(|line| {
        said.push_str(line);
        said.push('\n');
        line.starts_with("progress: ")
    });
    disturb(&front, seconds.map(|_| ()));
    let report = text_of(report);
    // It says so when sessions were lost.
    assert_eq!(child.wait().unwrap().code(), Some(0), "{report}{said}");
    assert!(!said.contains(" aborted in "), "{report}{said}");
    assert_eq!(
        number_behind(&report, "number of failed transactions:"),
        0,
        "{report}"
    );
    let done = number_behind(&report, "number of transactions actually processed:");
    assert!(done > 100, "{report}");
}
