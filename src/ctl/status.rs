//! `status`.

use std::{fmt::Write as _, time::Duration};

use super::{
    CtlError, Output, ask, exit_hook, pause,
    render::{Cell, Paint, Table, Tone, clean, moment, seconds, short},
    words::{end, trust_went_back},
};
use crate::{
    cli::{exit, proxyctl::Proxyctl},
    config::Resumption,
    control::{
        DiskState, DiskStatus, ExitKind, ExitStatus, IdentityStatus, KeepingState, ListenerStatus,
        Request, Response, SandboxStatus, SessionsStatus, Status, SupervisorState,
        SupervisorStatus, TlsStatus, WatchState, WatchStatus, WorkerState, WorkerStatus,
        client::ClientError,
    },
    facts::{ExpiryKind, Reason, Tally, amount},
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
    let status = fetch(arguments)?;
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
    if let Some(reasons) = by_reason(&listener.connections.failed_by_reason) {
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
            by_reason(&sessions.lost_by_reason),
        ),
        ("could not be kept", by_reason(&sessions.unkept_by_reason)),
    ] {
        if let Some(reasons) = reasons {
            let _ = writeln!(text, "  {}: {reasons}", paint.paint(words, Tone::Bad));
        }
    }
    text
}

/// Lists the reasons that were counted; `None` if none was.
fn by_reason<R: Reason<N>, const N: usize>(counts: &Tally<R, N>) -> Option<String> {
    let words: Vec<_> = counts
        .counted()
        .map(|(reason, number)| format!("{number} {}", reason.name()))
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
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
    let how = match (last.kind, last.signal, last.code) {
        (ExitKind::Watchdog, ..) => "hung and was killed".to_owned(),
        (ExitKind::Start, ..) => "did not come up".to_owned(),
        (_, Some(signal), _) => format!("was ended by signal {signal}"),
        (_, None, Some(code)) => format!("exited with {code}"),
        (_, None, None) => "ended".to_owned(),
    };
    let (at, pid, lived) = (moment(last.at), last.pid, seconds(last.uptime_s));
    format!("{at}: worker {pid} {how} after {lived}")
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        control::{KeepingStatus, RollbackStatus},
        facts::{LossCounts, LossReason, UnkeptCounts, UnkeptReason},
    };

    pub(crate) fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A daemon that fares well, as its document.
    pub(crate) fn document() -> Value {
        json!({
            "schema": 1,
            "supervisor": {"pid": 1, "version": "0.1.0", "started_at": "2026-01-01T10:00:00Z",
                           "uptime_s": 192.5, "state": "serving", "config": null},
            "workers": [{"pid": 2, "slot": 0, "state": "serving",
                         "started_at": "2026-01-01T10:00:01Z", "generation": 3, "connections": 7, "denied_calls": 0}],
            "restarts": {"total": 1, "consecutive": 0,
                         "last": {"at": "2026-01-01T10:01:00Z", "pid": 9, "kind": "signal",
                                  "signal": 9, "code": null, "uptime_s": 3.2}},
            "tls": {"generation": 3, "loaded_at": "2026-01-01T10:02:00Z", "trigger": "reload-tls",
                    "disk": {"state": "same", "reason": null, "unseen": null,
                             "since": "2026-01-01T10:00:00Z", "settling": false},
                    "restart_safe": true, "not_tried": [], "last_error": null,
                    "watch": {"state": "events", "reason": null, "interval_s": 5.0,
                              "grace_s": 10.0},
                    "identities": [{"name": "default", "cert": "/c", "key": "/k",
                        "subject": "CN=db", "issuer": "CN=ca", "serial": "0a",
                        "sha256": "ab".repeat(32), "not_before": "2026-01-01T00:00:00Z",
                        "not_after": "2026-04-01T00:00:00Z",
                        "path_not_after": "2026-04-01T00:00:00Z", "days_left": 89,
                        "dns_names": ["db"], "key_type": "ecdsa-p256", "kept_since": null}],
                    "rollback": null, "expiries": []},
            "on_exit_failure": {"command": null, "timeout_s": null, "source": "unset",
                                "last_run": null},
            "listeners": [{"name": "orders", "bind": "0.0.0.0:3307", "protocol": "mysql",
                           "backend": "127.0.0.1:3306",
                           "backends": [{"address": "127.0.0.1:3306", "healthy": true,
                                         "since": "2026-01-01T10:00:02Z",
                                         "checked_at": "2026-01-01T10:00:09Z",
                                         "last_error": "refused",
                                         "last_error_at": "2026-01-01T10:00:01Z",
                                         "connected": 97, "failed": 1,
                                         "certificate": null,
                                         "certificate_seen_at": null}],
                           "resumption": "off",
                           "connections": {"open": 7, "total": 100, "failed_handshakes": 2,
                                           "failed_by_reason": failed(),
                                           "refused": 0, "failed_backends": 1,
                                           "ended": ended()}}],
            "sessions": {"open": 7, "kept": 6, "taken_over_total": 5, "lost_total": 0,
                         "lost_by_reason": {"not_kept": 0, "descriptors": 0, "mismatch": 0, "damaged": 0,
                                            "unix_write": 0, "suspect": 0, "no_room": 0, "ending": 0},
                         "unkept_by_reason": {"descriptors": 0, "counts": 0, "socket": 0, "too_long": 0,
                                              "no_room": 0},
                         "keeping": {"state": "on", "reason": null}},
            "log": {"lost_lines": 0},
            "sandbox": {"files": "full", "scopes": true, "system_calls": true, "missing": [],
                        "denied_calls": 0}
        })
    }

    fn failed() -> Value {
        json!({"no_certificate": 0, "unknown_issuer": 0, "expired": 1, "not_yet_valid": 0,
               "revoked": 1, "revocation_unknown": 0, "not_allowed": 0, "bad_certificate": 0,
               "unsupported_version": 0, "nothing_shared": 0, "wrong_protocol": 0, "unknown_name": 0,
               "client_alert": 0, "not_tls": 0, "no_tls": 0, "timeout": 0, "client_left": 0,
               "protocol": 0})
    }

    fn ended() -> Value {
        let mut ended = json!({"closed": 1, "client_closed": 80, "backend_closed": 5,
               "idle_timeout": 2, "half_closed": 0, "client_lost": 0, "client_dead": 0, "client_tls": 1,
               "backend_lost": 0, "backend_dead": 0, "backend_tls": 0, "key_used_up": 0, "drained": 0,
               "lost": 0,
               "ended_by_operator": 0,
               "change_user_failed": 0,
               "cancel": 0, "login_denied": 1, "login_left": 0, "silent": 0, "full": 0, "client_full": 0,
               "backend_failed": 1});
        let refused = failed().as_object().unwrap().clone();
        ended.as_object_mut().unwrap().extend(refused);
        ended
    }

    /// The same with `change` applied.
    pub(crate) fn status(change: impl FnOnce(&mut Status)) -> Status {
        let mut status = serde_json::from_value(document()).unwrap();
        change(&mut status);
        status
    }

    #[test]
    fn the_document_has_exactly_the_promised_names() {
        let written = serde_json::to_value(status(|_| {})).unwrap();
        assert_eq!(written, document());
    }

    #[test]
    fn the_text_tells_everything() {
        let expected = "\
proxyd 0.1.0 is serving
  pid 1, up 3m 12s since 2026-01-01T10:00:00Z, configuration: command line

TLS
  IDENTITY  SUBJECT  EXPIRES               LEFT  KEY         SHA-256           CERT
  default   CN=db    2026-04-01T00:00:00Z  89d   ecdsa-p256  abababababababab  /c
  generation 3, loaded 2026-01-01T10:02:00Z by reload-tls
  on disk: what is served
  watched: as they change, and every 5s
  restart safe: yes

Workers
  SLOT  PID  STATE    GENERATION  SESSIONS  SINCE
  0     2    serving  3           7         2026-01-01T10:00:01Z

Listeners
  LISTENER  BIND          PROTOCOL  BACKEND         OPEN  TOTAL  FAILED  NO BACKEND  REFUSED
  orders    0.0.0.0:3307  mysql     127.0.0.1:3306  7     100    2       1           0
  failed handshakes of orders: 1 expired, 1 revoked
  sessions of orders ended by: 2 idle_timeout, 1 client_tls

Sessions  7 open, 6 outlive their worker, 5 taken over
Restarts  1; last 2026-01-01T10:01:00Z: worker 9 was ended by signal 9 after 3.2s
On exit failure  No command is set
";
        assert_eq!(text(&status(|_| {}), Paint::new(false)), expected);
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        let status = status(|status| {
            status.tls.restart_safe = false;
            status.tls.disk.state = DiskState::Invalid;
            status.tls.disk.reason = Some("/c: is \x1b[31mempty".into());
            status.listeners[0].resumption = Resumption::Tickets;
            status.tls.disk.settling = true;
            status.tls.not_tried = vec!["a port".into()];
            status.tls.watch.state = WatchState::Interval;
            status.tls.watch.reason = Some("nothing is left".into());
            status.tls.identities[0].kept_since = Some(at("2026-01-01T11:00:00Z"));
            status.listeners[0].backends[0].healthy = false;
            status.tls.rollback = Some(RollbackStatus {
                since: at("2026-01-01T10:30:00Z"),
                from_generation: 2,
                to_generation: 1,
                trust_went_back: vec!["main".to_owned()],
            });
            status.log.lost_lines = 3;
            status.workers[0].pid = None;
            status.workers[0].state = WorkerState::Waiting;
        });
        let text = text(&status, Paint::new(false));
        for words in [
            "on disk: invalid: /c: is \\u{1b}[31mempty (since 2026-01-01T10:00:00Z, and may be",
            "watched: every 5s, because nothing is left",
            "kept in its last good state since 2026-01-01T11:00:00Z: default",
            "rolled back since 2026-01-01T10:30:00Z: to what generation 1 served, in the place of gen",
            "lists for clients of listener \"main\" went back too",
            "restart safe: no",
            "not tried: a port",
            "-    waiting",
            "backend 127.0.0.1:3306 of orders is down since 2026-01-01T10:00:02Z: refused",
            "orders resumes TLS sessions by tickets",
            "Log  3 lines lost",
        ] {
            assert!(text.contains(words), "{text}");
        }
    }
    #[test]
    fn lost_sessions_and_those_that_cannot_be_kept_are_said_with_reasons() {
        let shown = |change: fn(&mut SessionsStatus)| {
            let status = status(|it| change(&mut it.sessions));
            sessions(&status.sessions, Paint::new(false))
        };
        let lost = shown(|it| {
            it.lost_by_reason = LossCounts::new(|reason| match reason {
                LossReason::NotKept => 2,
                LossReason::UnixWrite => 1,
                _ => 0,
            });
            it.unkept_by_reason = UnkeptCounts::only(UnkeptReason::Descriptors, 1);
        });
        assert_eq!(
            lost,
            "7 open, 6 outlive their worker, 5 taken over\n  \
             lost with their worker: 2 not_kept, 1 unix_write\n  \
             could not be kept: 1 descriptors\n"
        );
        let off = shown(|it| it.keeping = KeepingStatus::new(None, Some("it is old")));
        assert!(off.ends_with("\n  new ones end with their worker: keep_after is off\n"));
        let unsupported = shown(|it| {
            it.keeping = KeepingStatus::new(Some(Duration::ZERO), Some("it is \x1bold"));
        });
        assert!(unsupported.ends_with("end with their worker: it is \\u{1b}old\n"));
    }
}
