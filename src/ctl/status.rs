//! `status`.

use std::{fmt::Write as _, time::Duration};

use super::{
    CtlError, Output, ask, exit_hook, pause,
    render::{Cell, Paint, Table, Tone, clean, moment, seconds, short},
    upgrade,
    words::end,
};
use crate::{
    cli::{exit, proxyctl::Proxyctl},
    config::Resumption,
    control::{
        DiskState, DiskStatus, ExitStatus, IdentityStatus, KeepingState, ListenerStatus, Request,
        Response, SandboxStatus, SessionsStatus, Status, SupervisorState, SupervisorStatus,
        TlsStatus, UpgradeResult, WatchState, WatchStatus, WorkerState, WorkerStatus,
        client::ClientError,
    },
    facts::{ExpiryKind, Reason, amount},
    findings::trust_went_back,
};

const REDRAW: Duration = Duration::from_secs(1);
/// How many of the next ends are shown but leaves, which the identities' table shows; `--json` has all
/// of them.
const SHOWN_ENDS: usize = 3;
pub(super) const CLEAR_SCREEN: &str = "\x1b[H\x1b[2J";

/// Asks the daemon for its status.
pub(super) fn fetch(arguments: &Proxyctl) -> Result<Box<Status>, ClientError> {
    match ask(arguments, &Request::Status)? {
        Response::Status(status) => Ok(status),
        _ => Err(ClientError::Unexpected),
    }
}

/// Shows the status.
pub(super) fn once(arguments: &Proxyctl, output: &mut Output) -> Result<u8, CtlError> {
    let status = match fetch(arguments) {
        Err(error @ ClientError::WrongProtocol { .. }) => {
            // One that is too old, or that is gone by now, tells nothing more; the first answer counts.
            let _ = upgrade::minimal_status(arguments, output);
            return Err(error.into());
        }
        fetched => fetched?,
    };
    output.answer(&status, |paint| text(&status, paint))?;
    Ok(exit::DONE)
}

/// Shows the status every second; leaves the terminal's modes alone, so any end is a clean one.
pub(super) fn watch(arguments: &Proxyctl, output: &mut Output) -> Result<u8, CtlError> {
    loop {
        let status = fetch(arguments)?;
        if output.json {
            output.json_line(&status)?;
        } else {
            let start = if output.terminal { CLEAR_SCREEN } else { "" };
            let end = if output.terminal { "" } else { "\n" };
            output.text(&format!("{start}{}{end}", text(&status, output.paint)))?;
        }
        pause(REDRAW);
    }
}

fn text(status: &Status, paint: Paint) -> String {
    let mut text = supervisor(&status.supervisor, paint);
    text.push_str(&tls(&status.tls, paint));
    text.push_str(&section("Workers", &workers(&status.workers), paint));
    text.push_str(&section("Listeners", &listeners(&status.listeners), paint));
    for listener in &status.listeners {
        text.push_str(&details(listener));
    }
    let heading = paint.paint("Sessions", Tone::Heading);
    let _ = write!(text, "\n{heading}  {}", sessions(&status.sessions, paint));
    let heading = paint.paint("Restarts", Tone::Heading);
    let _ = writeln!(text, "{heading}  {}", restarts(status));
    text.push_str(&upgrades(status, paint));
    let heading = paint.paint("On exit failure", Tone::Heading);
    let _ = write!(
        text,
        "{heading}  {}",
        exit_hook::text(&status.on_exit_failure)
    );
    let heading = paint.paint("Sandbox", Tone::Heading);
    let _ = write!(text, "{}", sandbox(&status.sandbox, &heading));
    if status.log.lost_lines > 0 {
        let heading = paint.paint("Log", Tone::Heading);
        let lost = amount(status.log.lost_lines, "line");
        let _ = writeln!(text, "{heading}  {lost} lost; the log says why");
    }
    text
}

/// Tells of the last upgrade, and of another program that lies on disk; nothing if there is neither.
fn upgrades(status: &Status, paint: Paint) -> String {
    let mut lines = Vec::new();
    if status.program.replaced {
        let (word, path) = (
            paint.paint("another program", Tone::Odd),
            &status.program.path,
        );
        lines.push(format!(
            "{word} lies at {}; `proxyctl upgrade` runs it",
            clean(path)
        ));
    }
    if let Some(last) = &status.upgrades.last {
        let to = if last.to.is_empty() {
            "another program"
        } else {
            &last.to
        };
        let (word, tone) = match last.result {
            UpgradeResult::Done => ("done", Tone::Good),
            UpgradeResult::Refused => ("refused", Tone::Bad),
            UpgradeResult::RolledBack => ("rolled back", Tone::Bad),
        };
        let reason = match &last.reason {
            Some(reason) => format!(": {}", clean(reason)),
            None => String::new(),
        };
        lines.push(format!(
            "the last from {} to {} was {} ({}){reason}",
            clean(&last.from),
            clean(to),
            paint.paint(word, tone),
            moment(last.at),
        ));
    }
    let heading = paint.paint("Upgrades", Tone::Heading);
    let mut text = String::new();
    for line in lines {
        let _ = writeln!(text, "{heading}  {line}");
    }
    text
}

fn section(heading: &str, table: &Table, paint: Paint) -> String {
    format!(
        "\n{}\n{}",
        paint.paint(heading, Tone::Heading),
        table.text(paint)
    )
}

fn supervisor(supervisor: &SupervisorStatus, paint: Paint) -> String {
    let (word, tone) = match supervisor.state {
        SupervisorState::Starting => ("starting", Tone::Odd),
        SupervisorState::Serving => ("serving", Tone::Good),
        SupervisorState::Degraded => ("degraded, some clients wait", Tone::Bad),
        SupervisorState::Draining => ("draining", Tone::Odd),
    };
    let config = supervisor.config.as_deref().unwrap_or("command line");
    format!(
        "proxyd {} is {}\n  pid {}, up {} since {}, configuration: {}\n",
        clean(&supervisor.version),
        paint.paint(word, tone),
        supervisor.pid,
        seconds(supervisor.uptime_s),
        moment(supervisor.started_at),
        clean(config),
    )
}

fn tls(tls: &TlsStatus, paint: Paint) -> String {
    let mut text = section("TLS", &identities(&tls.identities), paint);
    let _ = writeln!(
        text,
        "  generation {}, loaded {} by {}",
        tls.generation,
        moment(tls.loaded_at),
        tls.trigger,
    );
    let (word, tone) = match tls.disk.state {
        DiskState::Same => ("what is served", Tone::Good),
        DiskState::Changed => ("changed since; a reload would serve it", Tone::Odd),
        DiskState::Invalid => ("invalid", Tone::Bad),
    };
    let reason = match &tls.disk.reason {
        Some(reason) => format!(": {}", clean(reason)),
        None => String::new(),
    };
    let since = match tls.disk.state {
        DiskState::Same => String::new(),
        _ => format!(" ({})", since(&tls.disk)),
    };
    let _ = writeln!(
        text,
        "  on disk: {}{reason}{since}",
        paint.paint(word, tone)
    );
    if let Some(rollback) = &tls.rollback {
        let word = paint.paint("rolled back", Tone::Odd);
        let (to, from) = (rollback.to_generation, rollback.from_generation);
        let _ = writeln!(
            text,
            "  {word} since {}: to what generation {to} served, in the place of generation {from}; \
             `proxyctl reload-tls` serves what is on disk",
            moment(rollback.since)
        );
        if let Some(trust) = trust_went_back(&rollback.trust_went_back) {
            let _ = writeln!(text, "  {trust}");
        }
    }
    let _ = writeln!(text, "  watched: {}", watched(&tls.watch));
    let (word, tone) = if tls.restart_safe {
        ("yes", Tone::Good)
    } else if tls.disk.leaves_open() {
        ("not known", Tone::Odd)
    } else {
        ("no, a cold start would fail or serve less", Tone::Bad)
    };
    let unseen = match &tls.disk.unseen {
        Some(unseen) => format!(": {}", clean(unseen)),
        None => String::new(),
    };
    let _ = writeln!(text, "  restart safe: {}{unseen}", paint.paint(word, tone));
    for untried in &tls.not_tried {
        let _ = writeln!(text, "  not tried: {}", clean(untried));
    }
    let others = tls
        .expiries
        .iter()
        .filter(|it| it.kind != ExpiryKind::Identity);
    for it in others.take(SHOWN_ENDS) {
        text.push_str(&end(it, paint));
    }
    for identity in &tls.identities {
        if let Some(since) = identity.kept_since {
            let (name, kept) = (clean(&identity.name), paint.paint("kept", Tone::Bad));
            let since = moment(since);
            let _ = writeln!(
                text,
                "  {kept} in its last good state since {since}: {name}"
            );
        }
    }
    if let Some(error) = &tls.last_error {
        let failed = paint.paint("the last load failed", Tone::Bad);
        let (at, by) = (moment(error.at), error.trigger);
        let _ = writeln!(text, "  {failed} ({at}, {by}): {}", clean(&error.message));
    }
    text
}

fn since(disk: &DiskStatus) -> String {
    let since = format!("since {}", moment(disk.since));
    if disk.settling {
        since + ", and may be being written"
    } else {
        since
    }
}

fn watched(watch: &WatchStatus) -> String {
    let every = format!("every {}", seconds(watch.interval_s));
    match (watch.state, &watch.reason) {
        (WatchState::Off, _) => "no, it reloads only when told".to_owned(),
        (WatchState::Events, _) => format!("as they change, and {every}"),
        (WatchState::Interval, None) => every,
        (WatchState::Interval, Some(reason)) => format!("{every}, because {}", clean(reason)),
    }
}

fn identities(identities: &[IdentityStatus]) -> Table {
    let headings = [
        "IDENTITY", "SUBJECT", "EXPIRES", "LEFT", "KEY", "SHA-256", "CERT",
    ];
    let mut table = Table::new(&headings);
    for identity in identities {
        let (left, tone) = match identity.days_left {
            days if days < 0 => ("expired".to_owned(), Tone::Bad),
            days => (format!("{days}d"), Tone::Plain),
        };
        table.row([
            Cell::plain(&identity.name),
            Cell::plain(&identity.subject),
            Cell::plain(identity.path_not_after),
            Cell::new(left, tone),
            Cell::plain(&identity.key_type),
            Cell::plain(short(&identity.sha256)),
            Cell::plain(&identity.cert),
        ]);
    }
    table
}

fn workers(workers: &[WorkerStatus]) -> Table {
    let mut table = Table::new(&["SLOT", "PID", "STATE", "GENERATION", "SESSIONS", "SINCE"]);
    for worker in workers {
        let (word, tone) = match worker.state {
            WorkerState::Starting => ("starting", Tone::Odd),
            WorkerState::Serving => ("serving", Tone::Good),
            WorkerState::Draining => ("draining", Tone::Odd),
            WorkerState::Waiting => ("waiting", Tone::Bad),
            WorkerState::Orphaned => ("orphaned", Tone::Odd),
            WorkerState::HandingOver => ("handing-over", Tone::Odd),
        };
        table.row([
            Cell::plain(worker.slot),
            Cell::plain(worker.pid.map_or("-".to_owned(), |pid| pid.to_string())),
            Cell::new(word, tone),
            Cell::plain(worker.generation),
            Cell::plain(worker.connections),
            Cell::plain(moment(worker.started_at)),
        ]);
    }
    table
}

/// Returns lines about what child processes were refused, and what the host cannot keep them from; none
/// if there is nothing to tell.
fn sandbox(sandbox: &SandboxStatus, heading: &impl std::fmt::Display) -> String {
    let mut text = String::new();
    for sentence in &sandbox.missing {
        let _ = writeln!(text, "{heading}  {}", clean(sentence));
    }
    if sandbox.denied_calls > 0 {
        let calls = amount(sandbox.denied_calls, "system call");
        let _ = writeln!(
            text,
            "{heading}  workers were refused {calls}; the log names the first"
        );
    }
    text
}

fn listeners(listeners: &[ListenerStatus]) -> Table {
    let headings = [
        "LISTENER",
        "BIND",
        "PROTOCOL",
        "BACKEND",
        "OPEN",
        "TOTAL",
        "FAILED",
        "NO BACKEND",
        "REFUSED",
    ];
    let mut table = Table::new(&headings);
    for listener in listeners {
        let counts = listener.connections;
        table.row([
            Cell::plain(&listener.name),
            Cell::plain(&listener.bind),
            Cell::plain(listener.protocol),
            Cell::plain(backends(listener)),
            Cell::plain(counts.open),
            Cell::plain(counts.total),
            Cell::plain(counts.failed_handshakes),
            Cell::plain(counts.failed_backends),
            Cell::plain(counts.refused),
        ]);
    }
    table
}

/// Returns the backend that is tried first, and how many more there are.
fn backends(listener: &ListenerStatus) -> String {
    match listener.backends.len() {
        0 | 1 => listener.backend.clone(),
        several => format!("{} +{}", listener.backend, several - 1),
    }
}

/// Says what is worth a line about a listener: backends that are down, why handshakes failed, and
/// that sessions are resumed.
fn details(listener: &ListenerStatus) -> String {
    let mut text = String::new();
    let name = clean(&listener.name);
    for backend in listener.backends.iter().filter(|it| !it.healthy) {
        let _ = writeln!(
            text,
            "  backend {} of {name} is down since {}: {}",
            clean(&backend.address),
            backend.since.map_or("its first use".to_owned(), moment),
            clean(backend.last_error.as_deref().unwrap_or_default())
        );
    }
    if let Some(reasons) = listener
        .connections
        .failed_by_reason
        .listed(|it| it.to_string())
    {
        let _ = writeln!(text, "  failed handshakes of {name}: {reasons}");
    }
    let ends = listener.connections.ended.iter();
    let odd: Vec<_> = ends
        .filter(|(reason, number)| *number > 0 && reason.is_established() && !reason.is_ordinary())
        .map(|(reason, number)| format!("{number} {}", reason.name()))
        .collect();
    if !odd.is_empty() {
        let _ = writeln!(text, "  sessions of {name} ended by: {}", odd.join(", "));
    }
    if listener.resumption == Resumption::Tickets {
        let _ = writeln!(text, "  {name} resumes TLS sessions by tickets");
    }
    text
}

/// Says how many sessions are open and outlive their worker, and warns of what was lost and what cannot be kept.
fn sessions(sessions: &SessionsStatus, paint: Paint) -> String {
    let taken_over = sessions.taken_over_total;
    let mut text = format!(
        "{} open, {} outlive their worker, {taken_over} taken over\n",
        sessions.open, sessions.kept
    );
    let keeping = &sessions.keeping;
    match keeping.state {
        KeepingState::On => {}
        KeepingState::Off => text.push_str("  new ones end with their worker: keep_after is off\n"),
        KeepingState::Unsupported => {
            let cannot = paint.paint("new ones end with their worker", Tone::Bad);
            let reason = clean(keeping.reason.as_deref().unwrap_or_default());
            let _ = writeln!(text, "  {cannot}: {reason}");
        }
    }
    for (words, reasons) in [
        (
            "lost with their worker",
            sessions.lost_by_reason.listed(|it| it.to_string()),
        ),
        (
            "could not be kept",
            sessions.unkept_by_reason.listed(|it| it.to_string()),
        ),
    ] {
        if let Some(reasons) = reasons {
            let _ = writeln!(text, "  {}: {reasons}", paint.paint(words, Tone::Bad));
        }
    }
    text
}

fn restarts(status: &Status) -> String {
    let restarts = &status.restarts;
    let mut text = restarts.total.to_string();
    if restarts.consecutive > 1 {
        let _ = write!(
            text,
            ", {} in a row",
            amount(restarts.consecutive.into(), "failure")
        );
    }
    if let Some(last) = &restarts.last {
        let _ = write!(text, "; last {}", failure(last));
    }
    text
}

fn failure(last: &ExitStatus) -> String {
    let how = last.how();
    let (at, pid, lived) = (moment(last.at), last.pid, seconds(last.uptime_s));
    format!("{at}: worker {pid} {how} after {lived}")
}

#[cfg(test)]
pub(super) mod tests;
