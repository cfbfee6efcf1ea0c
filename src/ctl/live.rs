//! Completion of what only a running daemon knows: ids of sessions, and what they have in common.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::{ArgValueCandidates, CompleteEnv, CompletionCandidate};

use super::render::one_line;
use crate::{
    cli::{complete::LIVE, exit, proxyctl::Proxyctl},
    control::{Request, Response, client::Client},
    facts::{Selection, SessionEntry, amount},
};

/// How long the daemon may take; a shell waits meanwhile.
const PATIENCE: Duration = Duration::from_millis(500);

/// The most sessions that a completion looks at.
const MOST: u64 = 1000;

/// Completes a line if a shell asks for that; returns the exit status then.
#[must_use]
pub fn complete() -> Option<ExitCode> {
    let completion = CompleteEnv::with_factory(command).var(LIVE);
    let folder = std::env::current_dir().ok();
    match completion.try_complete(std::env::args_os(), folder.as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(exit::DONE.into()),
        // A shell has no place for complaints.
        Err(_) => Some(exit::FAILED.into()),
    }
}

/// Returns the definition of the command line with what the daemon knows.
fn command() -> Command {
    let filters = |command: Command| {
        command
            .mut_arg("listener", |it| live(it, listeners))
            .mut_arg("client", |it| live(it, clients))
            .mut_arg("client_cert", |it| live(it, certificates))
    };
    Proxyctl::command()
        .mut_subcommand("sessions", filters)
        .mut_subcommand("end", |command| {
            filters(command).mut_arg("ids", |it| live(it, ids))
        })
}

fn live(arg: Arg, candidates: fn(&[SessionEntry]) -> Vec<CompletionCandidate>) -> Arg {
    arg.add(ArgValueCandidates::new(move || candidates(&sessions())))
}

/// Returns the sessions that are open; none if no daemon says so at once.
fn sessions() -> Vec<SessionEntry> {
    let request = Request::Sessions {
        selection: Selection::default(),
        most: MOST,
    };
    let socket = Proxyctl::socket_or(typed(std::env::args_os()));
    let answer = Client::connect(&socket, PATIENCE).and_then(|mut it| it.ask(&request));
    match answer {
        Ok(Response::Sessions(list)) => list.sessions,
        _ => Vec::new(),
    }
}

/// Returns the control socket that stands on the line that is being completed.
fn typed(line: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    let mut words = line.skip_while(|word| word != "--").skip(1);
    let mut socket = None;
    while let Some(word) = words.next() {
        let word = word.to_string_lossy();
        if word == "--socket" {
            socket = words.next().map(PathBuf::from);
        } else if let Some(path) = word.strip_prefix("--socket=") {
            socket = Some(PathBuf::from(path));
        }
    }
    socket
}

/// Returns a candidate with a line that explains it.
fn candidate(value: &str, help: &str) -> CompletionCandidate {
    CompletionCandidate::new(one_line(value)).help(Some(one_line(help).into()))
}

fn ids(sessions: &[SessionEntry]) -> Vec<CompletionCandidate> {
    let help = |it: &SessionEntry| {
        let client = it.client.map(|it| it.to_string());
        let user = it.user.as_ref().map(|user| format!("{user} from "));
        format!(
            "{}{} at {}",
            user.unwrap_or_default(),
            client.as_deref().unwrap_or("a Unix socket"),
            it.listener
        )
    };
    let all = sessions.iter();
    all.map(|it| candidate(&it.id.to_string(), &help(it)))
        .collect()
}

fn listeners(sessions: &[SessionEntry]) -> Vec<CompletionCandidate> {
    counted(sessions.iter().map(|it| (it.listener.clone(), None)))
}

fn clients(sessions: &[SessionEntry]) -> Vec<CompletionCandidate> {
    let addresses = sessions.iter().filter_map(|it| it.client);
    counted(addresses.map(|it| (it.ip().to_canonical().to_string(), None)))
}

fn certificates(sessions: &[SessionEntry]) -> Vec<CompletionCandidate> {
    let shown = sessions.iter().filter_map(|it| it.client_cert.as_ref());
    counted(shown.map(|it| (it.sha256.clone(), Some(it.subject.clone()))))
}

/// Returns each value once, with what it is and how many sessions have it.
fn counted(values: impl Iterator<Item = (String, Option<String>)>) -> Vec<CompletionCandidate> {
    let mut counts: BTreeMap<(String, Option<String>), u64> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let all = counts.into_iter().map(|((value, what), number)| {
        let sessions = amount(number, "session");
        let help = what.map_or_else(|| sessions.clone(), |it| format!("{it}, {sessions}"));
        candidate(&value, &help)
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_completed_is_defined() {
        command().debug_assert();
    }

    #[test]
    fn the_socket_is_the_one_on_the_line() {
        let typed = |line: &str| typed(line.split(' ').map(OsString::from));
        let socket = Some(PathBuf::from("/s"));
        assert_eq!(typed("proxyctl -- proxyctl --socket /s end "), socket);
        assert_eq!(typed("proxyctl -- proxyctl --socket=/s end "), socket);
        assert_eq!(typed("proxyctl -- proxyctl end --socket"), None);
        assert_eq!(typed("proxyctl --socket /s"), None);
    }
}
