//! What becomes of sessions and of new clients when a supervisor has a successor: by an upgrade, by a restart, and because
//! it was killed.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use crate::{
    Failure,
    client::Clients,
    daemon::Daemon,
    kills::{Stage, milliseconds, mixed, number},
    table::Table,
    turns,
};

/// Successors in a row, unless `PROXYD_BENCH_SUCCESSORS` says otherwise.
const SUCCESSORS: usize = 20;

/// Workers of the daemon.
const WORKERS: usize = 2;

/// Measures upgrades to the program that runs already.
pub(crate) fn measure_upgrades(table: &mut Table) -> Result<(), Failure> {
    measure(table, "upgrades", |daemon| daemon.upgrade())
}

/// Measures supervisors that are told to leave their workers to the next one.
pub(crate) fn measure_restarts(table: &mut Table) -> Result<(), Failure> {
    measure(table, "restarts", |daemon| daemon.restart(WORKERS))
}

/// Measures supervisors that are killed.
pub(crate) fn measure_kills(table: &mut Table) -> Result<(), Failure> {
    measure(table, "supervisors killed", |daemon| {
        daemon.kill_supervisor(WORKERS)
    })
}

/// Has the daemon have one successor after the other, under sessions of all kinds and a client that connects all the time.
fn measure(
    table: &mut Table,
    what: &str,
    succeed: impl Fn(&mut Daemon) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let successors = number("PROXYD_BENCH_SUCCESSORS", SUCCESSORS)?;
    let mut stage = Stage::start(WORKERS, "", &mixed())?;
    let visitor = Visitor::start(stage.clients()?, stage.daemon.address);
    let without = stage.gap_without();
    let mut gaps = Vec::new();
    for _ in 0..successors {
        gaps.push(milliseconds(stage.gap_of(&succeed)?));
    }
    let gaps = turns::sorted(gaps);
    let visits = visitor.end()?;
    stage.end(table, &format!("{successors} {what}"))?;
    for (name, part) in [("median", 50), ("worst", 100)] {
        let what = format!("  longest gap of a busy session, {name}, ms (nothing)");
        table.compare(&what, turns::percentile(&gaps, part), without)?;
    }
    visits.tell(table)
}

/// A client that connects, finishes the handshake and leaves, again and again.
struct Visitor {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Visits>,
}

/// What such a client has met with.
#[derive(Default)]
struct Visits {
    /// How long each visit took, in ms.
    took: Vec<f64>,
    /// Why visits failed.
    failed: Vec<String>,
}

impl Visitor {
    fn start(clients: Clients, address: SocketAddr) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut visits = Visits::default();
            while !until.load(Ordering::Relaxed) {
                let begun = Instant::now();
                match clients.connect(address) {
                    Ok(_) => visits.took.push(milliseconds(begun.elapsed())),
                    Err(error) => visits.failed.push(error.to_string()),
                }
            }
            visits
        });
        Self { is_over, thread }
    }

    fn end(self) -> Result<Visits, Failure> {
        self.is_over.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| "the client that connects all the time has panicked".into())
    }
}

impl Visits {
    fn tell(self, table: &mut Table) -> Result<(), Failure> {
        let number = |value: usize| u32::try_from(value).map(f64::from);
        let Self { took, failed } = self;
        for why in failed.iter().take(10) {
            std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("  visit: {why}\n"))?;
        }
        let took = turns::sorted(took);
        table.single(
            "  visits of a client that connects all the time",
            number(took.len())?,
        )?;
        table.single("  visits that failed", number(failed.len())?)?;
        let median = turns::percentile(&took, 50);
        table.compare(
            "  longest visit, ms (median)",
            turns::percentile(&took, 100),
            median,
        )?;
        Ok(())
    }
}
