use super::*;
pub(crate) use crate::control::fixture::{at, status};
use crate::{
    control::{KeepingStatus, RollbackStatus, UpgradeStatus, fixture::document},
    facts::{LossCounts, LossReason, UnkeptCounts, UnkeptReason},
};

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
fn another_program_on_disk_and_the_last_upgrade_are_told() {
    let told = |change: fn(&mut Status)| upgrades(&status(change), Paint::new(false));
    assert_eq!(told(|_| {}), "");
    assert_eq!(
        told(|it| it.program.replaced = true),
        "Upgrades  another program lies at /usr/sbin/proxyd; `proxyctl upgrade` runs it\n"
    );
    let last = |result, reason: Option<&str>| UpgradeStatus {
        at: at("2026-01-01T10:00:00Z"),
        from: "0.1.0".into(),
        to: "0.2.0".into(),
        result,
        reason: reason.map(Into::into),
    };
    let text = |last| {
        let mut status = status(|_| {});
        status.upgrades.last = Some(last);
        upgrades(&status, Paint::new(false))
    };
    assert_eq!(
        text(last(UpgradeResult::Done, None)),
        "Upgrades  the last from 0.1.0 to 0.2.0 was done (2026-01-01T10:00:00Z)\n"
    );
    assert!(text(last(UpgradeResult::RolledBack, Some("no worker"))).ends_with("): no worker\n"));
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
