//! What clients notice when workers die.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{
    Failure, backend,
    baseline::Baseline,
    client::Clients,
    daemon::{Daemon, pause},
    pki::Authority,
    table::Table,
    turns,
};

/// Times that one worker of two is killed.
const KILLS: u32 = 10;

/// How long clients connect before a kill, and after it.
const WINDOW: Duration = Duration::from_millis(400);

/// Clients that connect all the time.
const CLIENTS: u32 = 3;

/// Times that all workers are killed.
const DEATHS: u32 = 20;

/// Measures the longest time without a handshake around the death of one worker of two.
pub(crate) fn measure_one(table: &mut Table) -> Result<(), Failure> {
    let mut windows = Vec::new();
    for _ in 0..KILLS {
        windows.push(window()?);
    }
    let gaps = |of: fn(&Window) -> f64| turns::sorted(windows.iter().map(of).collect());
    let (with, without) = (gaps(|window| window.with), gaps(|window| window.without));
    let of = |count: fn(&Window) -> u32| windows.iter().map(count).map(f64::from).sum();
    let median = |gaps: &[f64]| turns::percentile(gaps, 50);
    let longest = |gaps: &[f64]| turns::percentile(gaps, 100);
    table.compare(
        "1 of 2 workers killed: longest gap, median, ms (no kill)",
        median(&with),
        median(&without),
    )?;
    table.compare(
        "1 of 2 workers killed: longest gap, worst, ms (no kill)",
        longest(&with),
        longest(&without),
    )?;
    table.single("  connections refused", of(|window| window.refused))?;
    table.single("  handshakes cut by the death", of(|window| window.cut))?;
    Ok(())
}

/// Measures the time from the death of all workers to a handshake with a successor.
pub(crate) fn measure_all(table: &mut Table) -> Result<(), Failure> {
    let authority = Authority::new()?;
    let leaf = authority.issue()?;
    let clients = Clients::new(authority.der())?;
    let backend = backend::start()?;
    let folder = TempDir::new()?;
    let (mut returns, mut starts, mut refused) = (Vec::new(), Vec::new(), 0);
    for _ in 0..DEATHS {
        let daemon = Daemon::start(2, &leaf, backend)?;
        let death = Instant::now();
        for worker in daemon.workers()? {
            end(worker)?;
        }
        let death = death.max(Instant::now());
        while let Err(error) = clients.connect(daemon.address) {
            refused += u32::from(error.kind() == io::ErrorKind::ConnectionRefused);
        }
        returns.push(death.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        let baseline = Baseline::start(folder.path(), &leaf, backend)?;
        clients.connect(baseline.address)?;
        starts.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let (returns, starts) = (turns::sorted(returns), turns::sorted(starts));
    let what = "all workers killed: death to the next handshake";
    for (name, part) in [("least", 0), ("median", 50), ("worst", 100)] {
        table.compare(
            &format!("{what}, {name}, ms"),
            turns::percentile(&returns, part),
            turns::percentile(&starts, part),
        )?;
    }
    table.single("  connections refused", f64::from(refused))?;
    Ok(())
}

/// What clients saw of one death.
struct Window {
    /// The longest time without a handshake after the kill, in ms.
    with: f64,
    /// The same before it.
    without: f64,
    refused: u32,
    cut: u32,
}

/// What one client saw: when a handshake was done, or why it was not.
type Sight = (Instant, Result<(), io::ErrorKind>);

fn window() -> Result<Window, Failure> {
    let authority = Authority::new()?;
    let daemon = Daemon::start(2, &authority.issue()?, backend::start()?)?;
    let clients = Clients::new(authority.der())?;
    let (over, seen) = (AtomicBool::new(false), Mutex::new(Vec::<Sight>::new()));
    let connect = || {
        while !over.load(Ordering::Relaxed) {
            let result = clients.connect(daemon.address).map(drop);
            let sight = (Instant::now(), result.map_err(|error| error.kind()));
            seen.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(sight);
        }
    };
    let killed = thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(connect);
        }
        pause(WINDOW);
        let killed = kill_first(&daemon);
        pause(WINDOW);
        over.store(true, Ordering::Relaxed);
        killed
    })?;
    let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Window::of(&seen, killed))
}

fn kill_first(daemon: &Daemon) -> Result<Instant, Failure> {
    let workers = daemon.workers()?;
    let killed = Instant::now();
    end(*workers.first().ok_or("there is no worker")?)?;
    Ok(killed)
}

fn end(pid: u32) -> nix::Result<()> {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL)
}

impl Window {
    fn of(seen: &[Sight], killed: Instant) -> Self {
        let mut done: Vec<Instant> = seen
            .iter()
            .filter(|(_, result)| result.is_ok())
            .map(|(at, _)| *at)
            .collect();
        done.sort();
        let longest = |times: &[Instant]| {
            let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
            gaps.max().unwrap_or(WINDOW).as_secs_f64() * 1e3
        };
        let after = done.partition_point(|at| *at < killed);
        let failed = |wanted: fn(io::ErrorKind) -> bool| {
            let errors = seen.iter().filter_map(|(_, result)| result.err());
            u32::try_from(errors.filter(|kind| wanted(*kind)).count()).unwrap_or(u32::MAX)
        };
        Self {
            with: longest(&done[after.saturating_sub(1)..]),
            without: longest(&done[..after]),
            refused: failed(|kind| kind == io::ErrorKind::ConnectionRefused),
            cut: failed(|kind| kind != io::ErrorKind::ConnectionRefused),
        }
    }
}
