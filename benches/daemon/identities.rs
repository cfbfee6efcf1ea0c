//! What thousands of identities cost beside ten: the start, reloads, a crash, a handshake.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{
    Failure, backend,
    client::Clients,
    daemon::Daemon,
    pki::{self, Authority},
    process,
    table::Table,
    turns,
};

const MANY: u32 = 10_000;
const FEW: u32 = 10;

/// Reloads of which the median counts.
const TIMES: usize = 9;

/// Handshakes of a round, and rounds of which the least counts.
const VISITS: u32 = 200;
const ROUNDS: usize = 15;

pub(crate) fn measure(table: &mut Table) -> Result<(), Failure> {
    let authority = Authority::new()?;
    let many = Fleet::start(&authority, MANY)?;
    let few = Fleet::start(&authority, FEW)?;
    table.single(&format!("start with {MANY} identities, s"), many.start)?;
    let mut compare = |what: &str, figure: &dyn Fn(&Fleet) -> Result<f64, Failure>| {
        let (ours, baseline) = (figure(&many)?, figure(&few)?);
        table.compare(what, ours, baseline)?;
        Ok::<_, Failure>(())
    };
    compare(
        "  reload of nothing new, ms (baseline: ten)",
        &Fleet::reload_nothing,
    )?;
    compare("  reload of one, ms", &|it| it.reload_one(&authority))?;
    compare("  CPU of a handshake that asks for a name, µs", &|it| {
        it.handshake(&authority)
    })?;
    compare(
        "  all workers killed: death to the next handshake, ms",
        &|it| it.crash(&authority),
    )?;
    compare("  memory of a worker, MiB", &Fleet::memory)?;
    let held = (many.memory()? - few.memory()?) * 1024.0 / f64::from(MANY - FEW);
    table.single(
        "  memory of a worker for an identity that nobody asks for, KiB",
        held,
    )?;
    let all = many.reload_all(&authority)?;
    table.single("  reload of all of them, s", all)?;
    Ok(())
}

/// A daemon with one worker and a folder of identities.
struct Fleet {
    daemon: Daemon,
    folder: TempDir,
    count: u32,
    start: f64,
}

impl Fleet {
    fn start(authority: &Authority, count: u32) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        fill(&folder, authority, count)?;
        let begun = Instant::now();
        let daemon = Daemon::start_with_folder(1, folder.path(), backend::start()?)?;
        Ok(Self {
            daemon,
            folder,
            count,
            start: begun.elapsed().as_secs_f64(),
        })
    }

    fn reload_nothing(&self) -> Result<f64, Failure> {
        median(|| {
            let begun = Instant::now();
            self.daemon.reload()?;
            Ok(begun.elapsed())
        })
    }

    fn reload_one(&self, authority: &Authority) -> Result<f64, Failure> {
        median(|| {
            put(&self.folder, authority, self.count / 2)?;
            let begun = Instant::now();
            self.daemon.reload_tls()?;
            Ok(begun.elapsed())
        })
    }

    fn reload_all(&self, authority: &Authority) -> Result<f64, Failure> {
        fill(&self.folder, authority, self.count)?;
        let begun = Instant::now();
        self.daemon.reload_tls()?;
        Ok(begun.elapsed().as_secs_f64())
    }

    fn handshake(&self, authority: &Authority) -> Result<f64, Failure> {
        let clients = Clients::new(authority.der())?;
        let worker = self.daemon.worker()?;
        let mut least = f64::INFINITY;
        for _ in 0..ROUNDS {
            let before = process::cpu(worker)?;
            (0..VISITS).try_for_each(|_| clients.visit(self.daemon.address))?;
            let took = process::cpu(worker)?.saturating_sub(before);
            least = least.min(took.as_secs_f64() * 1e6 / f64::from(VISITS));
        }
        Ok(least)
    }

    /// From the death of the only worker to a handshake with its successor. The next death would be
    /// followed by a back-off, so there is one.
    fn crash(&self, authority: &Authority) -> Result<f64, Failure> {
        let clients = Clients::new(authority.der())?;
        let worker = self.daemon.worker()?;
        let begun = Instant::now();
        kill(Pid::from_raw(worker.cast_signed()), Signal::SIGKILL)?;
        while clients.connect(self.daemon.address).is_err() {}
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    }

    fn memory(&self) -> Result<f64, Failure> {
        Ok(process::memory(self.daemon.worker()?)? / 1024.0)
    }
}

fn median(mut act: impl FnMut() -> Result<Duration, Failure>) -> Result<f64, Failure> {
    let mut values = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        values.push(act()?.as_secs_f64() * 1e3);
    }
    Ok(turns::percentile(&turns::sorted(values), 50))
}

/// Puts so many new identities there; the first has the name that clients ask for.
fn fill(folder: &TempDir, authority: &Authority, count: u32) -> Result<(), Failure> {
    (0..count).try_for_each(|number| put(folder, authority, number))
}

fn put(folder: &TempDir, authority: &Authority, number: u32) -> Result<(), Failure> {
    let name = match number {
        0 => pki::SERVER_NAME.to_owned(),
        _ => format!("db{number:05}.example"),
    };
    let leaf = authority.issue_for(&name)?;
    let aside = folder.path().join("aside");
    fs::write(&aside, format!("{}{}", leaf.cert, leaf.key))?;
    fs::rename(&aside, folder.path().join(format!("{number:05}.pem")))?;
    Ok(())
}
