//! `sessions` and `end`.

mod document;
mod end;
mod table;

use std::time::Duration;

use self::document::Document;
pub(super) use self::end::end;
use super::{CtlError, Output, ask, pause, status::CLEAR_SCREEN};
use crate::{
    cli::{
        exit,
        proxyctl::{Proxyctl, Sessions},
    },
    control::{Request, Response, client::ClientError},
    facts::{Selection, SessionList, amount},
};

const REDRAW: Duration = Duration::from_secs(1);

/// Shows open sessions, once or every second.
pub(super) fn run(
    arguments: &Proxyctl,
    how: &Sessions,
    output: &mut Output,
) -> Result<u8, CtlError> {
    let selection = how.filters.selection();
    if how.watch {
        return watch(arguments, how, &selection, output);
    }
    let list = fetch(arguments, &selection, how.limit)?;
    let documents: Vec<Document<'_>> = list.sessions.iter().map(Document::of).collect();
    let width = output.width;
    output.answer(&documents, |paint| {
        table::text(&list, &selection, paint, width)
    })?;
    Ok(complain(&list, output))
}

/// Shows them every second; leaves the terminal's modes alone, so any end is a clean one.
fn watch(
    arguments: &Proxyctl,
    how: &Sessions,
    selection: &Selection,
    output: &mut Output,
) -> Result<u8, CtlError> {
    loop {
        let list = fetch(arguments, selection, how.limit)?;
        if output.json {
            let documents: Vec<Document<'_>> = list.sessions.iter().map(Document::of).collect();
            output.json_line(&documents)?;
        } else {
            let start = if output.terminal { CLEAR_SCREEN } else { "" };
            let end = if output.terminal { "" } else { "\n" };
            let text = table::text(&list, selection, output.paint, output.width);
            output.text(&format!("{start}{text}{end}"))?;
        }
        complain(&list, output);
        pause(REDRAW);
    }
}

/// Asks the daemon for sessions.
fn fetch(
    arguments: &Proxyctl,
    selection: &Selection,
    most: u64,
) -> Result<SessionList, ClientError> {
    let request = Request::Sessions {
        selection: selection.clone(),
        most,
    };
    match ask(arguments, &request)? {
        Response::Sessions(list) => Ok(list),
        _ => Err(ClientError::Unexpected),
    }
}

/// Says what is missing from a list; returns the exit status.
fn complain(list: &SessionList, output: &mut Output) -> u8 {
    if list.left_out > 0 {
        let shown = list.sessions.len();
        let more = amount(list.left_out, "more session");
        output.warn(&format!(
            "the {shown} oldest are shown; {more} left out: narrow them with options"
        ));
    }
    for pid in &list.silent {
        output.complain(&format!(
            "worker {pid} has not answered; its sessions are not shown"
        ));
    }
    if list.silent.is_empty() {
        exit::DONE
    } else {
        exit::FAILED
    }
}
