//! What `reload-tls` costs: the wait for its answer, and what clients notice.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Failure, backend,
    client::Clients,
    daemon::Daemon,
    pki::{Authority, Leaf},
    process,
    table::Table,
    turns,
};

/// Reloads while nothing else happens.
const QUIET: u32 = 200;

/// Reloads under load.
const LOADED: u32 = 1_000;

/// Reloads before memory is looked at first.
const FIRST: u32 = 100;

/// Clients that connect all the time.
const CLIENTS: u32 = 2;

/// When reloads are given up, however many there were.
const LIMIT: Duration = Duration::from_secs(15);

pub(crate) fn measure(table: &mut Table) -> Result<(), Failure> {
    let authority = Authority::new()?;
    let leaves = [authority.issue()?, authority.issue()?];
    let daemon = Daemon::start(2, &leaves[0], backend::start()?)?;
    let clients = Clients::new(authority.der())?;
    let subject = Subject {
        daemon,
        clients,
        leaves,
    };
    let quiet = subject.reload(QUIET)?;
    table.single("reload-tls to its answer, p50, ms", quiet.p50)?;
    table.single("reload-tls to its answer, p99, ms", quiet.p99)?;
    subject.under_load(table)
}

struct Subject {
    daemon: Daemon,
    clients: Clients,
    leaves: [Leaf; 2],
}

/// What reloads came to.
struct Reloads {
    done: u32,
    p50: f64,
    p99: f64,
    /// Handshakes after an answer that still showed the certificate of before.
    stale: u32,
}

impl Subject {
    fn under_load(&self, table: &mut Table) -> Result<(), Failure> {
        let over = AtomicBool::new(false);
        let (good, failed) = (AtomicU32::new(0), AtomicU32::new(0));
        let connect = || {
            while !over.load(Ordering::Relaxed) {
                match self.clients.visit(self.daemon.address) {
                    Ok(()) => good.fetch_add(1, Ordering::Relaxed),
                    Err(_) => failed.fetch_add(1, Ordering::Relaxed),
                };
            }
        };
        let (memory, reloads) = thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(connect);
            }
            let result = self.watched();
            over.store(true, Ordering::Relaxed);
            result
        })?;
        table.single("reload-tls under load, p50, ms", reloads.p50)?;
        table.single("reload-tls under load, p99, ms", reloads.p99)?;
        table.single("  reloads", f64::from(reloads.done))?;
        table.single("  handshakes meanwhile", f64::from(good.into_inner()))?;
        table.single("  handshakes that failed", f64::from(failed.into_inner()))?;
        table.single(
            "  handshakes after an answer with the old",
            f64::from(reloads.stale),
        )?;
        table.single("  growth of all processes' memory, KiB", memory)?;
        Ok(())
    }

    /// Reloads, and returns what memory has grown by meanwhile.
    fn watched(&self) -> Result<(f64, Reloads), Failure> {
        self.reload(FIRST)?;
        let before = self.memory()?;
        let reloads = self.reload(LOADED)?;
        Ok((self.memory()? - before, reloads))
    }

    fn reload(&self, times: u32) -> Result<Reloads, Failure> {
        let begun = Instant::now();
        let (mut waits, mut stale, mut done) = (Vec::new(), 0, 0);
        while done < times && begun.elapsed() < LIMIT {
            done += 1;
            // All counts here are even, so that the first reload of the next has something new.
            let leaf = &self.leaves[done as usize % 2];
            self.daemon.present(leaf)?;
            let asked = Instant::now();
            self.daemon.reload_tls()?;
            waits.push(asked.elapsed().as_secs_f64() * 1e3);
            let session = self.clients.connect(self.daemon.address)?;
            let shown = session.conn.peer_certificates();
            stale += u32::from(shown.and_then(<[_]>::first) != Some(&leaf.der));
        }
        if done % 2 == 1 {
            self.daemon.present(&self.leaves[0])?;
            self.daemon.reload_tls()?;
        }
        let waits = turns::sorted(waits);
        Ok(Reloads {
            done,
            p50: turns::percentile(&waits, 50),
            p99: turns::percentile(&waits, 99),
            stale,
        })
    }

    fn memory(&self) -> Result<f64, Failure> {
        let mut total = process::memory(self.daemon.supervisor())?;
        for worker in self.daemon.workers()? {
            total += process::memory(worker)?;
        }
        Ok(total)
    }
}
