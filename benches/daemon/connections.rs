//! The CPU time of a new connection: accept, full TLS 1.3 handshake, backend, one byte, close.

use std::{io, thread};

use crate::{Failure, front::Pair, table::Table, turns};

const ROUNDS: usize = 40;

/// Clients at a time.
const CLIENTS: u32 = 2;

/// Visits of each in a round.
const VISITS: u32 = 100;

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
    Ok(())
}
