//! `upgrade`, and what can be told of a daemon of another version.

use std::{
    fmt::Write as _,
    path::{self, Path},
};

use serde::Serialize;

use super::{
    CtlError, Output,
    render::{Paint, Tone, clean},
};
use crate::{
    cli::{
        exit,
        proxyctl::{Proxyctl, Upgrade},
    },
    control::{
        client::{ClientError, fixed},
        fixed::{Answer, Checked, Request, Status, Upgraded},
    },
    facts::amount,
};

/// What came of `upgrade`, as `--json` prints it.
#[derive(Serialize)]
struct Document<'a> {
    /// Whether another program runs now.
    upgraded: bool,
    from: &'a str,
    to: &'a str,
    path: &'a Path,
    /// Sessions that were handed over.
    sessions: u64,
    /// Sessions that stay with workers of the version before, until they end.
    staying: u64,
}

/// Asks the daemon to go on as another program, or only to try it.
pub(super) fn run(
    arguments: &Proxyctl,
    how: &Upgrade,
    output: &mut Output,
) -> Result<u8, CtlError> {
    let binary = how.binary.as_deref().map(path::absolute).transpose();
    let request = Request::Upgrade(crate::control::fixed::Upgrade {
        binary: binary.map_err(CtlError::CurrentDirectory)?,
        check: how.check,
    });
    match ask(arguments, &request)? {
        Answer::Checked(found) => output.answer(&checked(&found), |_| checked_text(&found))?,
        Answer::Upgraded(done) => output.answer(&upgraded(&done), |_| upgraded_text(&done))?,
        _ => return Err(ClientError::Unexpected.into()),
    }
    Ok(exit::DONE)
}

/// Shows the little that a daemon of another version tells of itself.
pub(super) fn minimal_status(arguments: &Proxyctl, output: &mut Output) -> Result<(), CtlError> {
    let Answer::Status(status) = ask(arguments, &Request::Status {})? else {
        return Err(ClientError::Unexpected.into());
    };
    Ok(output.answer(&status, |paint| status_text(&status, paint))?)
}

fn ask(arguments: &Proxyctl, request: &Request) -> Result<Answer, ClientError> {
    fixed::ask(&arguments.socket(), arguments.timeout(), request)
}

fn checked(found: &Checked) -> Document<'_> {
    Document {
        upgraded: false,
        from: &found.from,
        to: &found.to,
        path: &found.path,
        sessions: 0,
        staying: 0,
    }
}

fn upgraded(done: &Upgraded) -> Document<'_> {
    Document {
        upgraded: true,
        from: &done.from,
        to: &done.to,
        path: &done.path,
        sessions: done.sessions,
        staying: done.staying,
    }
}

fn checked_text(found: &Checked) -> String {
    format!(
        "proxyd {} ({}) can go on for proxyd {}, which still runs.\n",
        clean(&found.to),
        clean(&found.path.to_string_lossy()),
        clean(&found.from)
    )
}

fn upgraded_text(done: &Upgraded) -> String {
    let mut text = format!(
        "proxyd {} ({}) has gone on for proxyd {}; {} went on with it.\n",
        clean(&done.to),
        clean(&done.path.to_string_lossy()),
        clean(&done.from),
        amount(done.sessions, "session")
    );
    if done.staying > 0 {
        let _ = writeln!(
            text,
            "{} cannot be handed over and stay with the workers of before until they end.",
            amount(done.staying, "session")
        );
    }
    text
}

fn status_text(status: &Status, paint: Paint) -> String {
    format!(
        "proxyd {} is {}\n  pid {}, generation {}, {}, {}\n",
        clean(&status.version),
        paint.paint(&clean(&status.state), Tone::Heading),
        status.pid,
        status.generation,
        amount(status.workers, "worker"),
        amount(status.sessions, "session"),
    )
}
