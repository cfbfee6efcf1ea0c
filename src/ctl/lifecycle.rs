//! `drain` and `stop`.

use std::time::Duration;

use serde::Serialize;

use super::{CtlError, Output, connect, render::duration};
use crate::{
    cli::{exit, proxyctl::Proxyctl},
    control::{Request, Response, client::ClientError},
    facts::amount,
};

/// How a daemon ended, as `--json` prints it.
#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are the document's")]
struct Ended {
    ended: bool,
    connections: u64,
    within_s: f64,
}

/// Asks the daemon to end and waits until it has.
pub(super) fn end(
    arguments: &Proxyctl,
    request: &Request,
    output: &mut Output,
) -> Result<u8, CtlError> {
    let mut client = connect(arguments)?;
    let response = client.ask(request)?;
    let Response::Ending {
        connections,
        within,
    } = response
    else {
        return Err(ClientError::Unexpected.into());
    };
    if !output.json {
        output.text(&ending(connections, within))?;
    }
    let patience = within.saturating_add(arguments.timeout());
    if !client.wait_end(patience) {
        return Err(CtlError::NotEnded(patience));
    }
    let ended = Ended {
        ended: true,
        connections,
        within_s: within.as_secs_f64(),
    };
    output.answer(&ended, |_| "proxyd has ended.\n".to_owned())?;
    Ok(exit::DONE)
}

fn ending(connections: u64, within: Duration) -> String {
    let sessions = amount(connections, "session");
    if connections == 0 || within.is_zero() {
        return format!("proxyd is ending with {sessions} open.\n");
    }
    format!(
        "proxyd is ending; {sessions} may go on for {}.\n",
        duration(within)
    )
}
