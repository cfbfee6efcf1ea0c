//! The memory of a connection that says nothing.

use std::time::Duration;

use crate::{
    Failure,
    daemon::pause,
    front::{Front, Pair},
    process,
    table::Table,
};

/// Connections that are idle at a time.
const SESSIONS: u32 = 2_000;

/// Connections before, so that what is needed once is there.
const FIRST: u32 = 50;

/// How long memory is left to settle: a session is at rest a moment after it has moved bytes.
const SETTLE: Duration = Duration::from_secs(3);

pub(crate) fn measure(table: &mut Table) -> Result<(), Failure> {
    let pair = Pair::start()?;
    let ours = growth(&pair, pair.ours)?;
    let baseline = growth(&pair, pair.baseline)?;
    table.compare("memory of an idle connection, KiB", ours, baseline)?;
    let both = Pair::start_with_tls_on_both_legs()?;
    let both = growth(&both, both.ours)?;
    table.compare("  with TLS on both legs, KiB", both, baseline)?;
    Ok(())
}

fn growth(pair: &Pair, front: Front) -> Result<f64, Failure> {
    for _ in 0..FIRST {
        pair.clients.visit(front.address)?;
    }
    pause(SETTLE);
    let before = process::memory(front.pid)?;
    let open = |_| pair.clients.open(front.address);
    let sessions = (0..SESSIONS).map(open).collect::<Result<Vec<_>, _>>()?;
    pause(SETTLE);
    let after = process::memory(front.pid)?;
    drop(sessions);
    Ok((after - before) / f64::from(SESSIONS))
}
