//! `drain` and `stop`.

mod systemd;

use std::time::Duration;

use serde::Serialize;

use super::{CtlError, Output, connect, render::duration};
use crate::{
    cli::{
        exit,
        proxyctl::{Proxyctl, Stop},
    },
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
    sessions_ended: Option<u64>,
    sessions_cut: Option<u64>,
}

/// What a supervisor left that ended alone, as `--json` prints it.
#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are the document's")]
struct Left {
    left: bool,
    workers: u64,
    connections: u64,
    serves_for_s: f64,
}

/// Ends the daemon, or the supervisor alone, and waits until it has ended.
pub(super) fn stop(arguments: &Proxyctl, how: &Stop, output: &mut Output) -> Result<u8, CtlError> {
    match &how.systemd {
        Some(unit) => stop_for(unit, arguments, output),
        None if how.for_restart => leave(arguments, output),
        None => end(arguments, &Request::Stop, output),
    }
}

/// Ends what systemd wants to end of a unit: the supervisor alone for a restart, otherwise the daemon.
///
/// systemd runs `ExecStop=` also for a daemon that has ended by itself. A failure of `ExecStop=` would count as one of
/// the daemon.
fn stop_for(unit: &str, arguments: &Proxyctl, output: &mut Output) -> Result<u8, CtlError> {
    let restarts = systemd::restarts(unit).unwrap_or_else(|error| {
        output.warn(&format_args!(
            "systemd did not say whether it restarts {unit}: {error}; proxyd ends as for a stop, and sessions that are \
             still open at the drain timeout are cut"
        ));
        false
    });
    let ended = if restarts {
        match leave(arguments, output) {
            Err(CtlError::Client(ClientError::Refused { reason })) => {
                output.warn(&reason);
                end(arguments, &Request::Drain, output)
            }
            ended => ended,
        }
    } else {
        end(arguments, &Request::Drain, output)
    };
    match ended {
        Err(CtlError::Client(
            ClientError::NoSocket { .. }
            | ClientError::SocketRemoved { .. }
            | ClientError::NoDaemon { .. },
        )) => {
            let ended = Ended {
                ended: true,
                connections: 0,
                within_s: 0.0,
                sessions_ended: None,
                sessions_cut: None,
            };
            output.answer(&ended, |_| "proxyd had ended before.\n".to_owned())?;
            Ok(exit::DONE)
        }
        ended => ended,
    }
}

/// Asks the supervisor to end alone and waits until it has.
fn leave(arguments: &Proxyctl, output: &mut Output) -> Result<u8, CtlError> {
    let mut client = connect(arguments)?;
    let Response::Leaving {
        workers,
        connections,
        within,
        serves_for,
    } = client.ask(&Request::Leave)?
    else {
        return Err(ClientError::Unexpected.into());
    };
    let patience = within.saturating_add(arguments.timeout());
    client
        .wait_end(patience)
        .map_err(|_| CtlError::NotLeft(patience))?;
    let left = Left {
        left: true,
        workers,
        connections,
        serves_for_s: serves_for.as_secs_f64(),
    };
    output.answer(&left, |_| {
        let go_on = go_on(workers, connections, serves_for);
        format!("The supervisor has ended. {go_on}\n")
    })?;
    Ok(exit::DONE)
}

/// Says what workers do that were left with sessions.
fn go_on(workers: u64, sessions: u64, serves_for: Duration) -> String {
    let (go, accept) = match workers {
        1 => ("goes", "accepts"),
        _ => ("go", "accept"),
    };
    let (workers, sessions) = (amount(workers, "worker"), amount(sessions, "session"));
    if serves_for.is_zero() {
        return format!(
            "{workers} {go} on with {sessions} and {accept} no new ones, because orphan_timeout is 0; start proxyd again."
        );
    }
    format!(
        "{workers} {go} on with {sessions} and {accept} new ones for {}; start proxyd again within that time.",
        duration(serves_for)
    )
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
    let counts = client
        .wait_end(patience)
        .map_err(|_| CtlError::NotEnded(patience))?;
    let ended = Ended {
        ended: true,
        connections,
        within_s: within.as_secs_f64(),
        sessions_ended: counts.map(|counts| counts.ended),
        sessions_cut: counts.map(|counts| counts.cut),
    };
    output.answer(&ended, |_| match counts {
        Some(counts) => format!("proxyd has ended: {counts}.\n"),
        None => "proxyd has ended without saying what became of its sessions.\n".to_owned(),
    })?;
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
