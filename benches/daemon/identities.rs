//! What thousands of identities cost beside ten: the start, reloads, a crash, a handshake.
//!
//! Half of them have P-256 keys, half RSA-2048 keys, of which there are few, because making one takes
//! longer than everything that is measured.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use tempfile::TempDir;

use crate::{
    Failure, backend,
    client::Clients,
    daemon::{Daemon, pause},
    pki::{self, Authority, Leaf},
    process,
    table::Table,
    turns,
};

const MANY: u32 = 10_000;
const FEW: u32 = 10;

/// RSA keys that certificates share.
const RSA_KEYS: usize = 16;

/// After which a daemon that nothing happens to rests.
const SETTLED: Duration = Duration::from_secs(3);

/// Reloads of which the median counts.
const TIMES: usize = 9;

/// Reloads of which the sum counts.
const CYCLES: u32 = 20;

/// Handshakes of a round, and rounds of which the least counts.
const VISITS: u32 = 200;
const ROUNDS: usize = 15;

pub(crate) fn measure(table: &mut Table) -> Result<(), Failure> {
    let authority = Issuer::new()?;
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
    compare("  CPU of the supervisor for that, ms", &Fleet::reload_cpu)?;
    compare(
        "  reload of nothing new that reads all, ms",
        &Fleet::read_all,
    )?;
    compare("  reload of one, ms", &|it| it.reload_one(&authority))?;
    compare("  verify, ms", &Fleet::verify)?;
    compare("  status, ms", &Fleet::status)?;
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
    let (wall, cpu) = watched(&authority)?;
    table.single(
        &format!("one of {MANY} renamed: until it is served, ms"),
        wall,
    )?;
    table.single("  CPU of the supervisor for that, ms", cpu)?;
    Ok(())
}

/// Renames one of many certificates into its place where the files are watched; returns how long it
/// takes until it is served, and what that costs the supervisor, in milliseconds.
fn watched(authority: &Issuer) -> Result<(f64, f64), Failure> {
    let folder = tempfile::tempdir()?;
    fill(&folder, authority, MANY)?;
    let daemon = Daemon::start_with_watched_folder(1, folder.path(), backend::start()?)?;
    let clients = Clients::new(authority.authority.der())?;
    let mut costs = Vec::with_capacity(TIMES);
    let wall = median(|| {
        // The looks that follow a start or a load are not part of it.
        pause(SETTLED);
        let before = process::cpu(daemon.supervisor())?;
        let leaf = put(&folder, authority, 0)?;
        let begun = Instant::now();
        loop {
            let session = clients.connect(daemon.address)?;
            let shown = session.conn.peer_certificates();
            if shown.and_then(<[_]>::first) == Some(&leaf.der) {
                break;
            }
            pause(Duration::from_millis(1));
        }
        let took = begun.elapsed();
        let spent = process::cpu(daemon.supervisor())?.saturating_sub(before);
        costs.push(spent.as_secs_f64() * 1e3);
        Ok(took)
    })?;
    Ok((wall, turns::percentile(&turns::sorted(costs), 50)))
}

/// An authority, and the keys that half of its certificates are for.
struct Issuer {
    authority: Authority,
    rsa: Vec<KeyPair>,
}

impl Issuer {
    fn new() -> Result<Self, Failure> {
        let make = || KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        let rsa = (0..RSA_KEYS).map(|_| make()).collect::<Result<_, _>>()?;
        Ok(Self {
            authority: Authority::new()?,
            rsa,
        })
    }

    fn issue(&self, number: u32, name: &str) -> Result<Leaf, Failure> {
        match self.rsa.get(number as usize / 2 % RSA_KEYS) {
            Some(key) if number % 2 == 1 => self.authority.certify(name, key),
            _ => self.authority.issue_for(name),
        }
    }
}

/// A daemon with one worker and a folder of identities.
struct Fleet {
    daemon: Daemon,
    folder: TempDir,
    count: u32,
    start: f64,
}

impl Fleet {
    fn start(authority: &Issuer, count: u32) -> Result<Self, Failure> {
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

    fn reload_cpu(&self) -> Result<f64, Failure> {
        let before = process::cpu(self.daemon.supervisor())?;
        for _ in 0..CYCLES {
            self.daemon.reload()?;
        }
        let spent = process::cpu(self.daemon.supervisor())?.saturating_sub(before);
        Ok(spent.as_secs_f64() * 1e3 / f64::from(CYCLES))
    }

    fn read_all(&self) -> Result<f64, Failure> {
        timed(|| self.daemon.reload_all().map(drop))
    }

    fn verify(&self) -> Result<f64, Failure> {
        timed(|| self.daemon.verify())
    }

    fn status(&self) -> Result<f64, Failure> {
        timed(|| self.daemon.status().map(drop))
    }

    fn reload_one(&self, authority: &Issuer) -> Result<f64, Failure> {
        median(|| {
            put(&self.folder, authority, self.count / 2)?;
            let begun = Instant::now();
            self.daemon.reload_tls()?;
            Ok(begun.elapsed())
        })
    }

    fn reload_all(&self, authority: &Issuer) -> Result<f64, Failure> {
        fill(&self.folder, authority, self.count)?;
        let begun = Instant::now();
        self.daemon.reload_tls()?;
        Ok(begun.elapsed().as_secs_f64())
    }

    fn handshake(&self, authority: &Issuer) -> Result<f64, Failure> {
        let clients = Clients::new(authority.authority.der())?;
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
    fn crash(&self, authority: &Issuer) -> Result<f64, Failure> {
        let clients = Clients::new(authority.authority.der())?;
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

fn timed(act: impl Fn() -> Result<(), Failure>) -> Result<f64, Failure> {
    median(|| {
        let begun = Instant::now();
        act()?;
        Ok(begun.elapsed())
    })
}

fn median(mut act: impl FnMut() -> Result<Duration, Failure>) -> Result<f64, Failure> {
    let mut values = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        values.push(act()?.as_secs_f64() * 1e3);
    }
    Ok(turns::percentile(&turns::sorted(values), 50))
}

/// Puts so many new identities there; the first has the name that clients ask for.
fn fill(folder: &TempDir, authority: &Issuer, count: u32) -> Result<(), Failure> {
    (0..count).try_for_each(|number| put(folder, authority, number).map(drop))
}

fn put(folder: &TempDir, authority: &Issuer, number: u32) -> Result<Leaf, Failure> {
    let name = match number {
        0 => pki::SERVER_NAME.to_owned(),
        _ => format!("db{number:05}.example"),
    };
    let leaf = authority.issue(number, &name)?;
    let aside = folder.path().join("aside");
    fs::write(&aside, format!("{}{}", leaf.cert, leaf.key))?;
    fs::rename(&aside, folder.path().join(format!("{number:05}.pem")))?;
    Ok(leaf)
}
