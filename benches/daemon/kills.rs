//! What becomes of sessions when workers are killed: how many are lost, and how long busy ones stand still.

mod pulse;
mod sessions;
mod stream;
mod stuck;

use std::{
    env, io,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        resource::{Resource, getrlimit},
        signal::{Signal, kill},
    },
    unistd::Pid,
};

use self::{
    pulse::Role,
    sessions::{Place, Sessions},
    stuck::Stuck,
};
use crate::{
    Failure,
    client::Clients,
    daemon::{Daemon, pause},
    pki::Authority,
    process,
    table::Table,
    turns,
};

/// Sessions that are at work.
const BUSY: usize = 200;

/// Times that a worker is killed, unless `PROXYD_BENCH_KILLS` says otherwise.
const KILLS: usize = 100;

/// Idle sessions beside them, unless `PROXYD_BENCH_IDLE` says otherwise or there are too few descriptors.
const IDLE: usize = 10_000;

/// Descriptors for everything but sessions.
const SPARE: usize = 500;

/// How long sessions may stand still before the measure gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long sessions are watched before a kill, so that both gaps stand beside each other.
const WINDOW: Duration = Duration::from_secs(1);

/// How many lost sessions are told of each by itself.
const TOLD: usize = 10;

/// How often sessions are looked at.
const GLANCE: Duration = Duration::from_millis(1);

/// From how many failures in a row on the pause before the next start is long.
const FAILURES: usize = 9;

/// Measures kills of one worker of two, one after the other, under sessions of all kinds.
pub(crate) fn measure(table: &mut Table) -> Result<(), Failure> {
    let kills = number("PROXYD_BENCH_KILLS", KILLS)?;
    let stage = Stage::start(2, "", &mixed())?;
    let without = stage.gap_without();
    let mut gaps = Vec::new();
    for number in 0..kills {
        gaps.push(milliseconds(stage.kill(number)?));
    }
    let gaps = turns::sorted(gaps);
    let what = format!("{kills} workers killed under {BUSY} sessions");
    stage.end(table, &what)?;
    for (name, part) in [("median", 50), ("worst", 100)] {
        let what = format!("  longest gap of a busy session, {name}, ms (no kill)");
        table.compare(&what, turns::percentile(&gaps, part), without)?;
    }
    Ok(())
}

/// Measures a kill of the only worker, which has many idle sessions beside the busy ones.
pub(crate) fn measure_idle(table: &mut Table) -> Result<(), Failure> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Both ends of each are here, and the supervisor and the worker hold two sockets each.
    let most = usize::try_from(limit)?.saturating_sub(SPARE) / 2 - BUSY;
    let idle = number("PROXYD_BENCH_IDLE", IDLE)?.min(most);
    let roles = [mixed(), vec![Role::Idle; idle]].concat();
    let what = format!("1 worker killed, {idle} idle sessions beside {BUSY}");
    one_kill(table, &what, Stage::start(1, "", &roles)?)
}

/// Measures the same while a worker that fails is started ever more slowly.
pub(crate) fn measure_back_off(table: &mut Table) -> Result<(), Failure> {
    let stage = Stage::start(1, "", &mixed())?;
    for number in 0..FAILURES {
        stage.kill(number)?;
    }
    one_kill(table, "1 worker killed in a back-off", stage)
}

/// Measures the same while the load that follows a death hangs.
pub(crate) fn measure_stuck(table: &mut Table) -> Result<(), Failure> {
    let authority = Authority::new()?;
    let stuck = Stuck::new(&authority.issue_for("stuck.example")?)?;
    let stage = Stage::start(1, &stuck.table(), &mixed())?;
    stuck.hang(&authority.issue_for("stuck.example")?)?;
    one_kill(table, "1 worker killed while the load hangs", stage)
}

/// Kills the only worker, and tells what came of it.
fn one_kill(table: &mut Table, what: &str, stage: Stage) -> Result<(), Failure> {
    let without = stage.gap_without();
    let gap = stage.kill(0)?;
    stage.end(table, what)?;
    let what = "  longest gap of a busy session, ms (no kill)";
    table.compare(what, milliseconds(gap), without)?;
    Ok(())
}

/// Returns what the sessions at work do: most are busy both ways, the others are slow or half-closed.
pub(crate) fn mixed() -> Vec<Role> {
    let others = [
        Role::SlowClient,
        Role::SlowBackend,
        Role::ClientDone,
        Role::BackendDone,
    ];
    // Every other of each speaks TLS 1.2.
    (0..BUSY)
        .map(|number| match number / 2 % 8 {
            part @ 0..4 => others[part],
            _ => Role::Busy,
        })
        .collect()
}

/// A daemon and sessions through it, all of which outlive their worker.
pub(crate) struct Stage {
    /// The daemon.
    pub(crate) daemon: Daemon,
    authority: Authority,
    sessions: Sessions,
    number: usize,
}

impl Stage {
    /// Starts a daemon with a further table in its configuration, and opens sessions through it.
    pub(crate) fn start(workers: usize, table: &str, roles: &[Role]) -> Result<Self, Failure> {
        let authority = Authority::new()?;
        let place = Place::new()?;
        let leaf = authority.issue()?;
        let daemon = Daemon::start_with_table(workers, &leaf, place.address, table)?;
        let sessions = Sessions::open(place, daemon.address, &authority.der(), roles)?;
        let stage = Self {
            daemon,
            authority,
            sessions,
            number: roles.len(),
        };
        stage.until("all sessions are open", || stage.sessions.board.has_begun())?;
        let until = Instant::now() + PATIENCE;
        while stage.daemon.status()?.sessions.kept < stage.number as u64 {
            if Instant::now() > until {
                return Err(
                    format!("not all are kept: {:?}", stage.daemon.status()?.sessions).into(),
                );
            }
            pause(GLANCE * 10);
        }
        Ok(stage)
    }

    /// Returns the longest gap of a busy session while nothing happens, in ms.
    pub(crate) fn gap_without(&self) -> f64 {
        self.sessions.board.longest_gap();
        pause(WINDOW);
        milliseconds(self.sessions.board.longest_gap())
    }

    /// Returns clients of the daemon.
    pub(crate) fn clients(&self) -> Result<Clients, Failure> {
        Clients::new(self.authority.der())
    }

    /// Gives the daemon a successor, and waits until all old workers have handed over and every session goes on;
    /// returns the longest gap.
    pub(crate) fn gap_of(
        &mut self,
        succeed: impl FnOnce(&mut Daemon) -> Result<(), Failure>,
    ) -> Result<Duration, Failure> {
        self.sessions.board.longest_gap();
        succeed(&mut self.daemon)?;
        self.until("all have handed over", || {
            self.daemon.orphans().is_ok_and(|orphans| orphans == 0)
        })?;
        let board = &self.sessions.board;
        let before = board.progress();
        self.until("every session goes on", || board.has_moved(&before))?;
        Ok(board.longest_gap())
    }

    /// Kills a worker, each in turn, and waits until every session goes on; returns the longest gap.
    fn kill(&self, turn: usize) -> Result<Duration, Failure> {
        let mut victim = None;
        self.until("there is a worker", || {
            let workers = process::workers(self.daemon.supervisor());
            victim = workers.get(turn % workers.len().max(1)).copied();
            victim.is_some()
        })?;
        let pid = victim.ok_or("there is no worker")?;
        let board = &self.sessions.board;
        board.longest_gap();
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL)?;
        self.until("the worker is dead", || {
            !process::workers(self.daemon.supervisor()).contains(&pid)
        })?;
        let before = board.progress();
        self.until("every session goes on", || board.has_moved(&before))?;
        Ok(board.longest_gap())
    }

    /// Has all sessions end, and tells how many were lost.
    pub(crate) fn end(self, table: &mut Table, what: &str) -> Result<(), Failure> {
        let lost = self.sessions.end()?;
        // What the last worker has taken over is told a moment later than sessions go on.
        let told = self.daemon.status()?.sessions;
        let say = |text: &str| io::Write::write_fmt(&mut io::stderr(), format_args!("  {text}\n"));
        for why in lost.iter().take(TOLD) {
            say(&format!("lost: {why}"))?;
        }
        if !lost.is_empty() {
            say(&format!("{:?}", told.lost_by_reason))?;
            let log = self.daemon.log()?;
            let about = |line: &&str| line.contains("lost") || line.contains("WARN");
            log.lines().filter(about).try_for_each(say)?;
        }
        let number = |value: usize| u32::try_from(value).map(f64::from);
        table.single(&format!("{what}: lost"), number(lost.len())?)?;
        let told_lost = usize::try_from(told.lost_total)?;
        table.single("  lost, as the daemon counts", number(told_lost)?)?;
        let taken_over = usize::try_from(told.taken_over_total)?;
        table.single("  taken over", number(taken_over)?)?;
        Ok(())
    }

    fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), Failure> {
        let until = Instant::now() + PATIENCE;
        while !is_so() {
            if Instant::now() > until {
                let lost = self.sessions.board.lost();
                return Err(format!("not within {PATIENCE:?}: {what}; lost: {lost:?}").into());
            }
            pause(GLANCE);
        }
        Ok(())
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Returns the number in a variable of the environment, or this one.
pub(crate) fn number(variable: &str, otherwise: usize) -> Result<usize, Failure> {
    match env::var(variable) {
        Ok(text) => text
            .parse()
            .map_err(|error| format!("{variable}: {error}").into()),
        Err(_) => Ok(otherwise),
    }
}
