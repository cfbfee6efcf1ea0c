//! The CPU time of relayed bytes, in each direction.

use std::io::{Read as _, Write as _};

use crate::{
    Failure,
    backend::{POUR, SWALLOW},
    client::Session,
    front::Pair,
    table::Table,
    turns,
};

const ROUNDS: usize = 16;

/// The bytes of a round.
const LENGTH: u32 = 64 << 20;

/// What a client writes and reads at once.
const CHUNK: usize = 64 * 1024;

pub(crate) fn measure(table: &mut Table) -> Result<(), Failure> {
    let pair = Pair::start()?;
    for (what, mode) in [
        ("CPU of 1 GB from client to backend, s", SWALLOW),
        ("CPU of 1 GB from backend to client, s", POUR),
    ] {
        let (ours, baseline) = turns::least(&pair, ROUNDS, |front| {
            let mut session = pair.clients.connect(front.address)?;
            session.write_all(&[mode])?;
            let cpu = front.cpu_of(|| {
                session.write_all(&u64::from(LENGTH).to_be_bytes())?;
                match mode {
                    SWALLOW => send(&mut session),
                    _ => receive(&mut session),
                }
            })?;
            Ok(cpu.as_secs_f64() * 1e9 / f64::from(LENGTH))
        })?;
        table.compare(what, ours, baseline)?;
    }
    Ok(())
}

fn send(session: &mut Session) -> Result<(), Failure> {
    let chunk = vec![7; CHUNK];
    for _ in 0..LENGTH as usize / CHUNK {
        session.write_all(&chunk)?;
    }
    session.flush()?;
    Ok(session.read_exact(&mut [0])?)
}

fn receive(session: &mut Session) -> Result<(), Failure> {
    let mut space = vec![0; CHUNK];
    let mut left = LENGTH as usize;
    while left > 0 {
        match session.read(&mut space)? {
            0 => return Err("the download ended early".into()),
            read => left -= read,
        }
    }
    Ok(())
}
