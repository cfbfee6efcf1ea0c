//! The CPU time of a new connection: accept, full TLS 1.3 handshake, backend, one byte, close.

use std::{io, thread, time::Duration};

use crate::{Failure, daemon::pause, front::Pair, table::Table, turns};

const ROUNDS: usize = 40;

/// Clients at a time.
const CLIENTS: u32 = 2;

/// Visits of each in a round.
const VISITS: u32 = 100;

/// Rounds of connections that are kept.
const KEPT_ROUNDS: usize = 8;

/// Connections of such a round, all open at a time.
const KEPT: u32 = 100;

/// How long each lasts: for twice as long as it takes to be kept.
const LASTS: Duration = Duration::from_millis(200);

/// How long their ends may take.
const ENDS: Duration = Duration::from_millis(100);

pub(crate) fn measure(table: &mut Table) -> Result<(), Failure> {
    let pair = Pair::start()?;
    let (ours, baseline) = turns::least(&pair, ROUNDS, |front| {
        let cpu = front.cpu_of(|| {
            let visits = || (0..VISITS).try_for_each(|_| pair.clients.visit(front.address));
            thread::scope(|scope| {
                let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(visits)).collect();
                clients.into_iter().try_for_each(|client| {
                    client
                        .join()
                        .unwrap_or_else(|_| Err(io::Error::other("it panicked")))
                })
            })?;
            Ok(())
        })?;
        Ok(cpu.as_secs_f64() * 1e6 / f64::from(CLIENTS * VISITS))
    })?;
    table.compare("CPU of a new TLS 1.3 connection, µs", ours, baseline)?;
    measure_kept(&pair, table)
}

/// Measures connections that last so long that they outlive their worker.
fn measure_kept(pair: &Pair, table: &mut Table) -> Result<(), Failure> {
    let (ours, baseline) = turns::least(pair, KEPT_ROUNDS, |front| {
        let cpu = front.cpu_of(|| {
            let open = |_| pair.clients.open(front.address);
            let sessions = (0..KEPT).map(open).collect::<Result<Vec<_>, _>>()?;
            pause(LASTS);
            drop(sessions);
            pause(ENDS);
            Ok(())
        })?;
        Ok(cpu.as_secs_f64() * 1e6 / f64::from(KEPT))
    })?;
    table.compare(
        "  of one that lasts 200 ms, and is kept, µs",
        ours,
        baseline,
    )?;
    Ok(())
}
