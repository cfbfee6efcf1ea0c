//! Alerts that a peer sends.

use rustls::AlertDescription;

use super::bench::{BOTH, Bench, LEGS, ONLY_12, ONLY_13};
use crate::support::raw_tls::{ALERT, FATAL, WARNING};

/// Alerts that end nothing and may come before the session is ended because of them.
const ALLOWED: usize = 4;

#[test]
fn a_fatal_alert_ends_the_session_behind_what_came_before_it_and_is_not_answered() {
    let bench = Bench::new();
    for leg in LEGS {
        for suite in BOTH {
            for description in [
                AlertDescription::InternalError,
                AlertDescription::BadRecordMac,
                AlertDescription::UnexpectedMessage,
                AlertDescription::Unknown(200),
            ] {
                let mut pair = bench.open(leg, *suite);
                pair.up(b"in the middle of");
                pair.raw.alert(FATAL, description).unwrap();
                bench.is_ended(pair, &[]);
            }
        }
    }
}

#[test]
fn nothing_that_follows_a_fatal_alert_is_passed_on() {
    let bench = Bench::new();
    for leg in LEGS {
        for suite in BOTH {
            let mut pair = bench.open(leg, *suite);
            let alert = [FATAL, AlertDescription::InternalError.into()];
            let alert = pair.raw.tx.seal(ALERT, &alert);
            let more = pair.raw.tx.seal(23, b"more");
            pair.raw.write(&[alert, more].concat()).unwrap();
            bench.is_ended(pair, &[]);
        }
    }
}

#[test]
fn a_few_warnings_are_passed_over_in_tls_1_2() {
    let bench = Bench::new();
    bench.lives(ONLY_12, |pair| {
        for description in [
            AlertDescription::UserCanceled,
            AlertDescription::NoRenegotiation,
            AlertDescription::UnrecognisedName,
            AlertDescription::Unknown(200),
        ] {
            pair.up(b"before");
            pair.raw.alert(WARNING, description).unwrap();
        }
    });
}

#[test]
fn a_flood_of_warnings_ends_the_session() {
    let bench = Bench::new();
    for leg in LEGS {
        for suite in BOTH {
            let mut pair = bench.open(leg, *suite);
            for _ in 0..=ALLOWED {
                let canceled = AlertDescription::UserCanceled;
                pair.raw.alert(WARNING, canceled).unwrap();
            }
            bench.is_ended_somehow(pair);
        }
    }
}

/// RFC 8446 §6.1 gives it no level that ends anything, and programs send it before `close_notify`.
#[test]
fn user_canceled_is_passed_over_in_tls_1_3() {
    let bench = Bench::new();
    bench.lives(ONLY_13, |pair| {
        for _ in 0..ALLOWED {
            let canceled = AlertDescription::UserCanceled;
            pair.raw.alert(WARNING, canceled).unwrap();
        }
    });
}

#[test]
fn every_other_alert_is_an_error_in_tls_1_3_whatever_its_level() {
    let bench = Bench::new();
    for leg in LEGS {
        for description in [
            AlertDescription::InternalError,
            AlertDescription::NoRenegotiation,
            AlertDescription::UnrecognisedName,
            AlertDescription::Unknown(200),
        ] {
            let mut pair = bench.open(leg, ONLY_13[0]);
            pair.raw.alert(WARNING, description).unwrap();
            bench.is_ended_somehow(pair);
        }
    }
}

#[test]
fn an_alert_of_an_unknown_level_ends_the_session() {
    let bench = Bench::new();
    bench.dies(BOTH, AlertDescription::IllegalParameter, |pair| {
        pair.raw.alert(3, AlertDescription::InternalError).unwrap();
    });
}

#[test]
fn close_notify_is_one_whatever_its_level() {
    let bench = Bench::new();
    for leg in LEGS {
        for suite in BOTH {
            let mut pair = bench.open(leg, *suite);
            pair.raw
                .alert(FATAL, AlertDescription::CloseNotify)
                .unwrap();
            bench.ends_well(pair);
        }
    }
}

#[test]
fn a_record_of_alerts_that_holds_anything_but_one_ends_the_session() {
    let bench = Bench::new();
    for content in [&[1][..], &[1, 90, 0], &[1, 90, 1, 90]] {
        bench.dies(BOTH, AlertDescription::DecodeError, |pair| {
            pair.raw.send(ALERT, content).unwrap();
        });
    }
}

/// Anybody on the way can make one.
#[test]
fn an_alert_that_is_not_encrypted_does_not_pass_for_one() {
    let bench = Bench::new();
    for leg in LEGS {
        for suite in BOTH {
            let mut pair = bench.open(leg, *suite);
            pair.up(b"hello");
            pair.raw.write(&[ALERT, 3, 3, 0, 2, WARNING, 0]).unwrap();
            bench.is_ended_somehow(pair);
        }
    }
}
