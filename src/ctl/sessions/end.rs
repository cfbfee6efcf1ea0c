//! `end`.

use serde::Serialize;

use super::{fetch, table};
use crate::{
    cli::{
        exit,
        proxyctl::{End, Proxyctl},
    },
    control::{Request, Response, client::ClientError},
    ctl::{CtlError, Output, ask},
    facts::{EndedSessions, MOST_LISTED, Selection, SessionId, amount},
};

/// What `end` did, as `--json` prints it. Its names are a promise to scripts.
#[derive(Debug, Serialize)]
struct Document {
    /// How many sessions were ended, or would be.
    count: u64,
    /// Their ids; not all if they are very many.
    ids: Vec<SessionId>,
    /// Whether none was ended, because that was not asked for.
    dry_run: bool,
    /// The ids that were asked for and that no open session has.
    unknown: Vec<SessionId>,
    /// The process ids of workers that have not answered.
    silent_workers: Vec<u32>,
}

/// Ends sessions, or shows which it would end.
pub(in crate::ctl) fn end(
    arguments: &Proxyctl,
    how: &End,
    output: &mut Output,
) -> Result<u8, CtlError> {
    let selection = how.selection();
    let ended = if how.dry_run {
        would_end(arguments, &selection, output)?
    } else {
        let request = Request::EndSessions {
            selection: selection.clone(),
        };
        match ask(arguments, &request)? {
            Response::EndedSessions(ended) => ended,
            _ => return Err(ClientError::Unexpected.into()),
        }
    };
    let document = document(ended, &selection, how.dry_run);
    output.answer(&document, |_| sentence(&document))?;
    Ok(complain(&document, output))
}

/// Shows the sessions that would be ended.
fn would_end(
    arguments: &Proxyctl,
    selection: &Selection,
    output: &mut Output,
) -> Result<EndedSessions, CtlError> {
    let list = fetch(arguments, selection, MOST_LISTED)?;
    if !output.json && !list.sessions.is_empty() {
        output.text(&table::rows(&list.sessions, output.paint, output.width))?;
    }
    if list.left_out > 0 {
        let shown = list.sessions.len();
        output.warn(&format!("only the {shown} oldest are shown"));
    }
    Ok(EndedSessions {
        count: (list.sessions.len() as u64).saturating_add(list.left_out),
        ids: list.sessions.iter().map(|it| it.id).collect(),
        silent: list.silent,
    })
}

fn document(ended: EndedSessions, selection: &Selection, dry_run: bool) -> Document {
    let asked = selection.ids.iter();
    let unknown = asked.filter(|id| !ended.ids.contains(id)).copied();
    Document {
        unknown: unknown.collect(),
        count: ended.count,
        ids: ended.ids,
        dry_run,
        silent_workers: ended.silent,
    }
}

fn sentence(document: &Document) -> String {
    let sessions = match document.count {
        0 => "no session".to_owned(),
        number => amount(number, "session"),
    };
    if document.dry_run {
        format!("Would end {sessions}.\n")
    } else {
        format!("Ended {sessions}.\n")
    }
}

/// Says what could not be done; returns the exit status.
fn complain(document: &Document, output: &mut Output) -> u8 {
    for id in &document.unknown {
        output.complain(&format!("no session is open that has the id {id}"));
    }
    for pid in &document.silent_workers {
        let then = if document.dry_run {
            "its sessions are not known"
        } else {
            "it ends its sessions when it goes on"
        };
        output.complain(&format!("worker {pid} has not answered; {then}"));
    }
    if document.unknown.is_empty() && document.silent_workers.is_empty() {
        exit::DONE
    } else {
        exit::FAILED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> SessionId {
        SessionId { origin: 1, number }
    }

    #[test]
    fn an_id_that_no_session_has_is_named() {
        let selection = Selection {
            ids: [id(1), id(2)].into(),
            ..Selection::default()
        };
        let ended = EndedSessions {
            count: 1,
            ids: vec![id(2)],
            silent: vec![],
        };
        let document = document(ended, &selection, false);
        assert_eq!(document.unknown, [id(1)]);
        assert_eq!(sentence(&document), "Ended 1 session.\n");
    }

    #[test]
    fn a_dry_run_says_what_it_would_do() {
        let none = document(EndedSessions::default(), &Selection::default(), true);
        assert_eq!(sentence(&none), "Would end no session.\n");
    }
}
