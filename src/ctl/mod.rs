//! Runs one subcommand of the control tool.
//!
//! The answer goes to standard output and the complaint to standard error, always through
//! `Output`. A reader that closes the pipe early ends the program quietly.

mod check;
mod demo;
mod events;
mod exit_hook;
mod lifecycle;
pub mod live;
mod probe;
mod reload;
mod render;
mod sessions;
mod stage;
mod status;
mod upgrade;
mod words;

use std::{
    io::{self, IsTerminal as _, Write},
    process::ExitCode,
    time::Duration,
};

use clap::CommandFactory as _;
use serde::Serialize;

use self::render::Paint;
use crate::{
    cli::{
        complete, exit,
        proxyctl::{Command, Proxyctl},
    },
    control::{
        Request, Response,
        client::{Client, ClientError},
    },
    probe::target::TargetError,
    sys::terminal,
};

/// Runs the subcommand and returns the exit status of the contract.
#[must_use]
pub fn main(arguments: &Proxyctl) -> ExitCode {
    let mut output = Output::standard(arguments.json);
    let code = match run(arguments, &mut output) {
        Ok(code) => code,
        Err(CtlError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => exit::DONE,
        Err(error) => {
            output.complain(&error);
            error.exit_code()
        }
    };
    code.into()
}

/// Why a subcommand did not do what it was asked.
#[derive(Debug, thiserror::Error)]
enum CtlError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
    #[error(transparent)]
    Program(#[from] exit_hook::ProgramError),
    #[error("proxyd is ending but has not ended within {}; sessions may still be open", render::duration(*.0))]
    NotEnded(Duration),
    #[error("the supervisor has not ended within {}", render::duration(*.0))]
    NotLeft(Duration),
    #[error("--warn is less than --critical, so that nothing would be warned of; exchange them")]
    WarnsTooLate,
    #[error("proxyd ended, or gave this connection up because it was read too slowly")]
    EventsLost,
    #[error("cannot tell the current folder: {0}; name the program by its absolute path")]
    CurrentDirectory(io::Error),
    #[error(transparent)]
    Demo(#[from] stage::DemoError),
    #[error(transparent)]
    ProbeTarget(TargetError),
}

impl CtlError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Client(error) => client_exit_code(error),
            Self::WarnsTooLate | Self::ProbeTarget(_) => exit::USAGE,
            _ => exit::FAILED,
        }
    }
}

fn client_exit_code(error: &ClientError) -> u8 {
    match error {
        ClientError::NoSocket { .. }
        | ClientError::SocketRemoved { .. }
        | ClientError::NoDaemon { .. }
        | ClientError::Forbidden { .. }
        | ClientError::Unreachable { .. }
        | ClientError::Silent { .. }
        | ClientError::NotProxyd { .. } => exit::NO_DAEMON,
        ClientError::WrongProtocol { .. } | ClientError::NoFixedPart { .. } => exit::OTHER_VERSION,
        ClientError::CookieMissing { .. }
        | ClientError::CookieForbidden { .. }
        | ClientError::CookieUnreadable { .. }
        | ClientError::WrongCookie { .. }
        | ClientError::Refused { .. }
        | ClientError::NoAnswer { .. }
        | ClientError::Lost
        | ClientError::Broken(_)
        | ClientError::Unexpected => exit::FAILED,
    }
}

fn run(arguments: &Proxyctl, output: &mut Output) -> Result<u8, CtlError> {
    match &arguments.command {
        Command::ReloadTls(how) => reload::reload(
            arguments,
            &Request::ReloadTls(how.partial(), how.reads()),
            output,
        ),
        Command::Reload(how) => reload::reload(arguments, &Request::Reload(how.partial()), output),
        Command::TlsRollback(_) => reload::roll_back(arguments, output),
        Command::Verify(_) => reload::verify(arguments, output),
        Command::Status(status) if status.watch => status::watch(arguments, output),
        Command::Status(_) => status::once(arguments, output),
        Command::SetOnExitFailure(hook) => exit_hook::run(arguments, hook, output),
        Command::Check(check) => check::run(arguments, check, output),
        Command::Events(events) => events::run(arguments, events.follow, output),
        Command::Drain(_) => lifecycle::end(arguments, &Request::Drain, output),
        Command::Stop(how) => lifecycle::stop(arguments, how, output),
        Command::Upgrade(how) => upgrade::run(arguments, how, output),
        Command::Sessions(how) => sessions::run(arguments, how, output),
        Command::End(how) => sessions::end(arguments, how, output),
        Command::Probe(how) => probe::run(arguments, how, output),
        Command::Demo(_) => demo::run(arguments, output),
        Command::Completions { shell } => {
            let command = Proxyctl::command();
            complete::write_live_script(command.get_name(), *shell, &mut output.out)?;
            Ok(exit::DONE)
        }
    }
}

fn connect(arguments: &Proxyctl) -> Result<Client, ClientError> {
    Client::connect(&arguments.socket(), arguments.timeout())
}

fn ask(arguments: &Proxyctl, request: &Request) -> Result<Response, ClientError> {
    connect(arguments)?.ask(request)
}

/// Where a subcommand writes, and how.
struct Output {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    json: bool,
    terminal: bool,
    /// How many columns the terminal has, if there is one that says so.
    width: Option<usize>,
    paint: Paint,
}

impl Output {
    fn standard(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            json,
            terminal,
            width: terminal::width().filter(|_| terminal),
            paint: Paint::new(terminal && !plain),
        }
    }

    /// Writes the answer as a JSON document, or as the text that `text` returns.
    fn answer<T: Serialize>(
        &mut self,
        document: &T,
        text: impl FnOnce(Paint) -> String,
    ) -> io::Result<()> {
        let text = if self.json {
            render::escaped_json(&serde_json::to_string_pretty(document)?) + "\n"
        } else {
            text(self.paint)
        };
        self.text(&text)
    }

    /// Does the same for a command whose exit status its caller must get, even if no process reads the answer.
    fn verdict<T: Serialize>(
        &mut self,
        document: &T,
        text: impl FnOnce(Paint) -> String,
    ) -> io::Result<()> {
        match self.answer(document, text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes a JSON document on a line of its own.
    fn json_line<T: Serialize>(&mut self, document: &T) -> io::Result<()> {
        let line = render::escaped_json(&serde_json::to_string(document)?);
        self.text(&(line + "\n"))
    }

    /// Writes at once, so that an interrupt never leaves half a line.
    fn text(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Writes to standard error; there is nobody to tell if that fails.
    fn complain(&mut self, complaint: &dyn std::fmt::Display) {
        let complaint = render::clean(&complaint.to_string());
        let _ = writeln!(self.err, "error: {complaint}");
    }

    /// Passes a line of somebody else's log on to standard error.
    fn log(&mut self, line: &str) {
        let _ = writeln!(self.err, "  {}", render::clean(line));
    }

    fn warn(&mut self, warning: &dyn std::fmt::Display) {
        let warning = render::clean(&warning.to_string());
        let _ = writeln!(self.err, "warning: {warning}");
    }
}

/// Waits; this program has no runtime that it could keep from its work.
#[expect(clippy::disallowed_methods, reason = "proxyctl is blocking throughout")]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

#[cfg(test)]
mod tests {
    use std::{
        path::PathBuf,
        sync::{Arc, Mutex},
    };

    use clap::Parser as _;

    use super::*;
    use crate::{
        control::{
            Event, EventKind, ReloadReport,
            server::{Call, tests::with_server},
        },
        facts::{Partial, Problem, Reads, SessionsAtEnd},
    };

    /// Bytes that can be read after they went into a box.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Runs a command line against a daemon that answers with `handle`, and returns the exit
    /// status and what was written to standard output and standard error.
    fn against(handle: impl Fn(Call) + 'static, line: &'static str) -> (u8, String, String) {
        with_server(handle, move |socket: PathBuf| {
            let start = ["proxyctl", "--socket", socket.to_str().unwrap()];
            let words = start.into_iter().chain(line.split_whitespace());
            let arguments = Proxyctl::parse_from(words);
            let (out, err) = (Shared::default(), Shared::default());
            let mut output = Output {
                out: Box::new(out.clone()),
                err: Box::new(err.clone()),
                json: arguments.json,
                terminal: false,
                width: None,
                paint: Paint::new(false),
            };
            let code = run(&arguments, &mut output).unwrap_or_else(|error| {
                output.complain(&error);
                error.exit_code()
            });
            (code, out.text(), err.text())
        })
    }

    #[test]
    fn a_reload_that_found_problems_fails_and_still_answers() {
        let handle = |call: Call| {
            let expected = Request::ReloadTls(Partial::Allow, Reads::Changed);
            assert_eq!(call.request, expected);
            let problem = Problem {
                subject: "identity \"default\"".into(),
                file: Some("/c".into()),
                reason: "is empty; generation 3 is still served".into(),
            };
            call.reply.answer(Response::Reloaded(ReloadReport {
                generation: 3,
                changed: false,
                workers: 1,
                identities: Vec::new(),
                unchanged: 0,
                problems: vec![problem],
                trust_went_back: Vec::new(),
                revoked: crate::facts::RevokedSessions::default(),
            }));
        };
        let (code, out, err) = against(handle, "reload-tls");
        assert_eq!(code, 1);
        assert_eq!(
            out,
            "Nothing was taken: generation 3 is still served by 1 worker.\n"
        );
        let complaint = "error: identity \"default\": /c: is empty; generation 3 is still served\n";
        assert_eq!(err, complaint);
    }

    #[test]
    fn the_status_document_arrives_unchanged() {
        let handle = |call: Call| {
            let status = Box::new(status::tests::status(|_| {}));
            call.reply.answer(Response::Status(status));
        };
        let (code, out, _) = against(handle, "--json status");
        assert_eq!(code, 0);
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(document, crate::control::fixture::document());
    }

    #[test]
    fn events_are_a_document_a_line() {
        let handle = |call: Call| {
            for seq in 1..=300 {
                let event = Event {
                    seq,
                    at: status::tests::at("2026-01-01T00:00:00Z"),
                    kind: EventKind::Started,
                    message: "serving".into(),
                };
                call.reply.push(Response::Event(event)).unwrap();
            }
            call.reply.answer(Response::End);
        };
        let (code, out, err) = against(handle, "events --json");
        assert_eq!((code, err.as_str()), (0, ""));
        assert_eq!(out.lines().count(), 300);
        let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        assert_eq!(last["seq"], 300);
    }

    #[test]
    fn an_end_is_waited_for_and_no_longer_than_agreed() {
        let answer = |keep: bool| {
            move |call: Call| {
                let ending = Response::Ending {
                    connections: 2,
                    within: Duration::from_millis(300),
                };
                call.reply.push(ending).unwrap();
                if keep {
                    tokio::task::spawn_local(async move { call.reply.gone().await });
                }
            }
        };
        let (code, out, _) = against(answer(false), "drain");
        let unsaid = "proxyd has ended without saying what became of its sessions.";
        assert_eq!((code, out.lines().last()), (0, Some(unsaid)));
        let (code, _, err) = against(answer(true), "drain --timeout 100ms");
        assert_eq!(code, 1);
        assert!(err.contains("has not ended within 0.4s"), "{err}");
    }

    #[test]
    fn a_daemon_of_any_version_is_asked_to_upgrade() {
        let none = |call: Call| panic!("{call:?}");
        let (code, out, _) = against(none, "upgrade --check --binary /opt/proxyd");
        let told = "proxyd 9.9.9 (/opt/proxyd) can go on for proxyd 0.1.0, which still runs.\n";
        assert_eq!((code, out.as_str()), (0, told));
        let (code, out, err) = against(none, "upgrade");
        assert_eq!((code, out.as_str(), err.as_str()), (1, "", "error: None\n"));
        let (_, out, _) = against(none, "--json upgrade --check");
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(document["upgraded"], false);
        assert_eq!(document["to"], "9.9.9");
    }

    #[test]
    fn an_end_tells_what_became_of_the_sessions() {
        let handle = |call: Call| {
            let ending = Response::Ending {
                connections: 7,
                within: Duration::ZERO,
            };
            call.reply.push(ending).unwrap();
            let counts = SessionsAtEnd { ended: 5, cut: 2 };
            call.reply.answer(Response::Ended(counts));
        };
        let (code, out, _) = against(handle, "stop");
        let told = "proxyd has ended: 5 sessions ended by themselves and 2 were cut.";
        assert_eq!((code, out.lines().last()), (0, Some(told)));
        let (_, out, _) = against(handle, "--json stop");
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        let expected = serde_json::json!({
            "ended": true, "connections": 7, "within_s": 0.0, "sessions_ended": 5, "sessions_cut": 2
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn a_supervisor_that_leaves_tells_what_goes_on() {
        let handle = |call: Call| {
            assert_eq!(call.request, Request::Leave);
            call.reply.answer(Response::Leaving {
                workers: 2,
                connections: 1,
                within: Duration::ZERO,
                serves_for: Duration::from_secs(30),
            });
        };
        let (code, out, err) = against(handle, "stop --for-restart");
        assert_eq!((code, err.as_str()), (0, ""));
        let told = "The supervisor has ended. 2 workers go on with 1 session and accept new ones for 30s; start proxyd \
                    again within that time.\n";
        assert_eq!(out, told);
    }

    #[test]
    fn a_refusal_fails_with_its_reason() {
        let handle = |call: Call| {
            let reason = "it is draining".to_owned();
            call.reply.answer(Response::Refused { reason });
        };
        let (code, out, err) = against(handle, "--json reload");
        assert_eq!(
            (code, out.as_str(), err.as_str()),
            (1, "", "error: it is draining\n")
        );
    }
}
