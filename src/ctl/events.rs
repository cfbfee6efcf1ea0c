//! `events`.

use super::{
    CtlError, Output, connect,
    render::{clean, moment},
};
use crate::{
    cli::{exit, proxyctl::Proxyctl},
    control::{Event, EventKind, Request, Response, client::ClientError},
};

/// Shows the events so far, and those to come if `follow`.
pub(super) fn run(arguments: &Proxyctl, follow: bool, output: &mut Output) -> Result<u8, CtlError> {
    let mut client = connect(arguments)?;
    if follow {
        client.forget_deadline();
    }
    let mut last = None;
    for response in client.ask_many(&Request::Events { follow })? {
        match response? {
            Response::Event(event) => {
                show(&event, output)?;
                last = Some(event.kind);
            }
            Response::End => return Ok(exit::DONE),
            _ => return Err(ClientError::Unexpected.into()),
        }
    }
    // A daemon that said that it is ending may hang up.
    match last {
        Some(EventKind::Ending) => Ok(exit::DONE),
        _ => Err(CtlError::EventsLost),
    }
}

fn show(event: &Event, output: &mut Output) -> std::io::Result<()> {
    if output.json {
        output.json_line(event)
    } else {
        output.text(&text(event))
    }
}

fn text(event: &Event) -> String {
    let message = clean(&event.message).replace('\n', " ");
    format!(
        "{}  {:<16}  {message}\n",
        moment(event.at),
        event.kind.word()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_with_the_word_of_its_json() {
        let event = Event {
            seq: 7,
            at: "2026-01-01T10:00:00.123Z".parse().unwrap(),
            kind: EventKind::WorkerFailed,
            message: "worker 12 failed:\nsignal 9".into(),
        };
        let line = "2026-01-01T10:00:00Z  worker-failed     worker 12 failed: signal 9\n";
        assert_eq!(text(&event), line);
        let json = serde_json::to_value(event.kind).unwrap();
        assert_eq!(json, event.kind.word());
    }
}
