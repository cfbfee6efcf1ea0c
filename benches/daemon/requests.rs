//! The CPU time and the latency of a 64-byte request and its answer, on a session that is open.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use crate::{Failure, backend::ECHO, front::Pair, table::Table, turns};

const ROUNDS: usize = 30;

/// Requests of a round.
const REQUESTS: u32 = 2_000;

/// The length of a request and of its answer.
const LENGTH: usize = 64;

pub(crate) fn measure(table: &mut Table) -> Result<(), Failure> {
    let pair = Pair::start()?;
    // The round with the least CPU time need not be the one with the least latency.
    let mut waits = [Vec::new(), Vec::new()];
    let (ours, baseline) = turns::least(&pair, ROUNDS, |front| {
        let mut session = pair.clients.open(front.address)?;
        let of = usize::from(front.pid == pair.baseline.pid);
        let cpu = front.cpu_of(|| {
            waits[of].push(ask(&mut session)?);
            Ok(())
        })?;
        Ok(cpu.as_secs_f64() * 1e6 / f64::from(REQUESTS))
    })?;
    table.compare(
        "CPU of a 64-byte request and its answer, µs",
        ours,
        baseline,
    )?;
    let mut direct = Vec::new();
    for _ in 0..ROUNDS {
        direct.push(ask(&mut unproxied(pair.backend)?)?);
    }
    let [ours, baseline] = waits.map(|rounds| least(&rounds));
    let direct = least(&direct);
    table.compare("latency of it, p50, µs", ours.0, baseline.0)?;
    table.compare("latency of it, p99, µs", ours.1, baseline.1)?;
    table.compare("  against the backend itself, p50, µs", ours.0, direct.0)?;
    table.compare("  against the backend itself, p99, µs", ours.1, direct.1)?;
    Ok(())
}

/// Sends requests one after the other; returns the median and the 99th percentile of the waits.
fn ask(session: &mut (impl Read + Write)) -> Result<(f64, f64), Failure> {
    let (request, mut answer) = ([7; LENGTH], [0; LENGTH]);
    let mut waits = Vec::new();
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        session.write_all(&request)?;
        session.read_exact(&mut answer)?;
        waits.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    let waits = turns::sorted(waits);
    Ok((turns::percentile(&waits, 50), turns::percentile(&waits, 99)))
}

fn unproxied(backend: SocketAddr) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(backend)?;
    stream.set_nodelay(true)?;
    stream.write_all(&[ECHO])?;
    Ok(stream)
}

fn least(rounds: &[(f64, f64)]) -> (f64, f64) {
    let none = (f64::INFINITY, f64::INFINITY);
    rounds.iter().fold(none, |least, round| {
        (least.0.min(round.0), least.1.min(round.1))
    })
}
