//! The findings of `check`, and how it prints them.

use super::{
    super::status::tests::{at, status},
    *,
};
use crate::{
    control::{DiskState, LoadError, RollbackStatus, SupervisorState, WatchState, WorkerState},
    facts::Trigger,
    findings::DEFAULTS,
};

const NOW: &str = "2026-01-02T00:00:00Z";

fn judge(change: impl FnOnce(&mut Status)) -> (Level, String) {
    let verdict = verdict(&status(change), DEFAULTS, at(NOW));
    (verdict.state, line(&verdict))
}

#[test]
fn a_healthy_daemon_is_ok() {
    let line = "PROXYD OK - generation 3 on 1 worker, first expiry: default in 89d \
                | 'default'=89d;29.7:;9:\n";
    assert_eq!(judge(|_| {}), (Level::Ok, line.to_owned()));
}

#[test]
fn certificates_are_judged_by_their_lifetime() {
    let at_day = |day: &str| {
        let status = status(|_| {});
        verdict(&status, DEFAULTS, at(day)).state
    };
    assert_eq!(at_day("2026-02-25T00:00:00Z"), Level::Ok);
    assert_eq!(at_day("2026-03-10T00:00:00Z"), Level::Warning);
    assert_eq!(at_day("2026-03-25T00:00:00Z"), Level::Critical);
    assert_eq!(at_day("2026-04-02T00:00:00Z"), Level::Critical);
    assert_eq!(at_day("2025-12-31T00:00:00Z"), Level::Critical);
}

#[test]
fn thresholds_in_time_are_exact() {
    let thresholds = Thresholds {
        warn: "89d".parse().unwrap(),
        critical: "7d".parse().unwrap(),
    };
    assert_eq!(
        verdict(&status(|_| {}), thresholds, at(NOW)).state,
        Level::Warning
    );
    let thresholds = Thresholds {
        warn: "2135h".parse().unwrap(),
        ..thresholds
    };
    assert_eq!(
        verdict(&status(|_| {}), thresholds, at(NOW)).state,
        Level::Ok
    );
}

#[test]
fn each_fault_has_its_level() {
    let drift = judge(|status| status.tls.disk.state = DiskState::Changed);
    assert_eq!(drift.0, Level::Warning);
    let unsafe_restart = judge(|status| status.tls.restart_safe = false);
    assert_eq!(unsafe_restart.0, Level::Critical);
    let told = judge(|status| {
        status.tls.restart_safe = false;
        status.tls.disk.reason = Some("control socket: another".into());
    });
    let start =
        "PROXYD CRITICAL - a cold start with what is on disk would fail: control socket: another;";
    assert!(told.1.starts_with(start), "{}", told.1);
    let doubtful = judge(|status| {
        status.tls.restart_safe = false;
        status.tls.disk.unseen = Some("not looked at".into());
    });
    assert_eq!(doubtful.0, Level::Warning);
    assert!(doubtful.1.contains("is not known"), "{}", doubtful.1);
    let silent = judge(|status| status.workers[0].state = WorkerState::Waiting);
    assert_eq!(silent.0, Level::Critical);
    let draining = judge(|status| status.supervisor.state = SupervisorState::Draining);
    assert_eq!(draining.0, Level::Warning);
    let failing = judge(|status| status.restarts.consecutive = 3);
    assert_eq!(failing.0, Level::Warning);
}

#[test]
fn the_worst_comes_first_on_one_line() {
    let (level, line) = judge(|status| {
        status.tls.disk.state = DiskState::Changed;
        status.tls.last_error = Some(LoadError {
            at: at(NOW),
            trigger: Trigger::ReloadTls,
            message: "key | cert\ndiffer".into(),
        });
    });
    assert_eq!(level, Level::Critical);
    let start = "PROXYD CRITICAL - the last load failed: key / cert differ; what is on disk";
    assert!(line.starts_with(start), "{line}");
}

#[test]
fn trust_that_went_back_is_warned_of_beside_the_rollback() {
    let judged = |listeners: &[&str]| {
        judge(|status| {
            status.tls.rollback = Some(RollbackStatus {
                since: at(NOW),
                from_generation: 2,
                to_generation: 1,
                trust_went_back: listeners.iter().map(|it| (*it).to_owned()).collect(),
            });
        })
    };
    let words = "lists for clients of listener \"main\" went back too; clients that were refused";
    let (level, line) = judged(&["main"]);
    assert_eq!(level, Level::Warning);
    assert!(line.contains(words), "{line}");
    let (level, line) = judged(&[]);
    assert_eq!(level, Level::Warning);
    assert!(!line.contains("went back"), "{line}");
}

#[test]
fn no_daemon_is_unknown() {
    assert_eq!(exit_code(unknown(&"no daemon answers").state), 3);
}

#[test]
fn what_may_be_being_written_is_no_reason_to_act() {
    let torn = |status: &mut Status| {
        status.tls.disk.state = DiskState::Invalid;
        status.tls.disk.settling = true;
        status.tls.restart_safe = false;
        status.tls.identities[0].kept_since = Some(at("2026-01-01T23:59:51Z"));
    };
    let (level, line) = judge(torn);
    assert_eq!(level, Level::Ok, "{line}");
    assert!(line.contains("files may be being written"), "{line}");
    let (level, _) = judge(|status| {
        torn(status);
        status.tls.disk.state = DiskState::Changed;
    });
    assert_eq!(level, Level::Ok);
    let (level, line) = judge(|status| {
        torn(status);
        status.tls.disk.settling = false;
    });
    assert_eq!(level, Level::Critical);
    assert!(line.contains("is invalid"), "{line}");
}

#[test]
fn an_identity_that_stays_at_its_last_good_state_is_named() {
    let since = |time: &'static str, state| {
        judge(move |status| {
            status.tls.watch.state = state;
            status.tls.identities[0].kept_since = Some(at(time));
        })
    };
    let (level, line) = since("2026-01-01T12:00:00Z", WatchState::Events);
    assert_eq!(level, Level::Critical);
    let words = "default is served in its last good state, because its files have been broken since 2026-01";
    assert!(line.contains(words), "{line}");
    let just_now = "2026-01-01T23:59:55Z";
    assert_eq!(since(just_now, WatchState::Interval).0, Level::Ok);
    assert_eq!(since(just_now, WatchState::Off).0, Level::Critical);
}

#[test]
fn a_line_stays_a_line_when_thousands_expire() {
    let status = status(|status| {
        let mut one = status.tls.identities[0].clone();
        one.not_before = at("2025-11-01T00:00:00Z").into();
        status.tls.identities = (0..10_000)
            .map(|number| {
                let mut identity = one.clone();
                identity.name = format!("of-{number}");
                identity.not_after = at("2026-01-03T00:00:00Z").into();
                identity.path_not_after = identity.not_after;
                identity
            })
            .collect();
        let ended = &mut status.tls.identities[7000];
        ended.not_after = at("2026-01-01T00:00:00Z").into();
        ended.path_not_after = ended.not_after;
        status.tls.last_error = Some(LoadError {
            at: at(NOW),
            trigger: Trigger::Watch,
            message: "ö".repeat(100_000),
        });
    });
    let verdict = verdict(&status, DEFAULTS, at(NOW));
    assert_eq!(verdict.findings.len(), 10_001);
    let line = line(&verdict);
    assert!(line.len() < 4096, "{line}");
    let worst = line.find("of-7000 has expired").unwrap();
    assert!(worst < line.find("of-0 expires in 1d").unwrap());
    assert!(line.contains("; and 9993 more; generation 3"), "{line}");
}
