//! Sessions and new clients at work while the daemon has one successor after the other: by upgrades and by restarts.

use std::{
    process::Child,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    alone, collect_report, number_behind, pgbench_at, put_files_for_sysbench, sysbench_at,
};
use crate::{
    support::{
        configuration::Listener,
        front::Front,
        program::{run, spawn},
        servers::{self, Server},
    },
    upgrade::programs::Programs,
};

/// For how many seconds programs work.
const SECONDS: u32 = 75;

/// Sessions of each program.
const SESSIONS: u32 = 8;

/// How long a program may take for all that.
const DEADLINE: Duration = Duration::from_secs(300);

/// How many successors there are at most: a hundred by upgrades, and twenty by restarts between them.
const MOST: u32 = 120;

/// How many there are at least, on a machine that does much else.
const LEAST: u32 = 24;

/// After how many upgrades there is a restart.
const UPGRADES: u32 = 5;

fn front(programs: &Programs, postgres: &Server, mariadb: &Server) -> Front {
    let program = programs.daemon("proxyd");
    Front::with(|it| {
        let listener = |name: &str, server: &Server, protocol: &str| {
            Listener::tcp(name, &server.address()).protocol(protocol)
        };
        it.workers(2)
            .program(&program)
            .listener(listener("postgres", postgres, "postgres"))
            .listener(listener("mariadb", mariadb, "mysql"))
    })
}

/// A program that works, and what it has said so far.
struct Program {
    child: Child,
    report: JoinHandle<String>,
}

impl Program {
    fn start(command: &mut std::process::Command) -> Self {
        let mut child = spawn(command);
        let report = collect_report(&mut child);
        Self { child, report }
    }

    /// Waits for its end, and returns what it said.
    fn finish(mut self) -> String {
        let status = self.child.wait().unwrap();
        let report = self.report.join().unwrap();
        assert!(status.success(), "{status}: {report}");
        report
    }
}

/// Gives the daemon one successor after the other until the programs are about to end; returns how many.
fn succeed(front: &mut Front, begun: Instant) -> u32 {
    let until = begun + Duration::from_secs(u64::from(SECONDS) - 5);
    let mut successors = 0;
    while Instant::now() < until && successors < MOST {
        successors += 1;
        if successors % (UPGRADES + 1) == 0 {
            front.daemon.ctl(&["stop", "--for-restart"]).answer();
            front.daemon.start();
        } else {
            front.daemon.ctl(&["upgrade"]).answer();
        }
    }
    successors
}

#[test]
fn no_transaction_fails_while_the_daemon_is_upgraded_and_restarted_again_and_again() {
    let (Some(postgres), Some(mariadb)) = (servers::postgres(), servers::mariadb()) else {
        return;
    };
    let Some(programs) = Programs::new() else {
        return;
    };
    let _alone = [alone(&mariadb), alone(&postgres)];
    let mut front = front(&programs, &postgres, &mariadb);
    put_files_for_sysbench(&front);
    let sysbench = |what: &str| {
        let command = sysbench_at(&front, "mariadb", &mariadb, what);
        command.map(|mut it| {
            it.args([format!("--time={SECONDS}"), format!("--threads={SESSIONS}")]);
            it
        })
    };
    let (Some(prepare), Some(mut sysbench)) = (sysbench("prepare"), sysbench("run")) else {
        return;
    };
    run(prepare, DEADLINE).answer();
    let mut prepare = pgbench_at(&front, "postgres", &postgres);
    prepare.args(["--initialize", "--quiet", postgres.database]);
    run(prepare, DEADLINE).answer();
    let pgbench = |further: &[&str]| {
        let mut command = pgbench_at(&front, "postgres", &postgres);
        command
            .args([format!("--client={SESSIONS}"), format!("--time={SECONDS}")])
            .args(further)
            .arg(postgres.database);
        command
    };
    let begun = Instant::now();
    let lasting = Program::start(&mut pgbench(&[]));
    let connecting = Program::start(&mut pgbench(&["--connect"]));
    let other = Program::start(&mut sysbench);
    let successors = succeed(&mut front, begun);
    assert!(successors >= LEAST, "{successors} successors");
    for program in [lasting, connecting] {
        let report = program.finish();
        let failed = number_behind(&report, "number of failed transactions:");
        assert_eq!(failed, 0, "{report}");
        assert!(!report.contains(" aborted in "), "{report}");
    }
    let report = other.finish();
    if let Some(cleanup) = sysbench_at(&front, "mariadb", &mariadb, "cleanup") {
        run(cleanup, DEADLINE).answer();
    }
    assert_eq!(number_behind(&report, "reconnects:"), 0, "{report}");
    let status = front.daemon.status();
    assert_eq!(status["sessions"]["lost_total"], 0, "{status}");
}
