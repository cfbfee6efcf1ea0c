//! Ends of one direction, and of both.

use std::net::Shutdown;

use super::bench::{BOTH, Bench, LEGS, Leg, ONLY_13};
use crate::support::raw_tls::{APPLICATION_DATA, How, RawTls, UPDATE_BOTH};

/// Opens sessions on both legs in both versions, and does something with each.
fn each(act: impl Fn(&Bench, super::bench::Pair)) {
    let bench = Bench::new();
    for leg in LEGS {
        for suite in BOTH {
            act(&bench, bench.open(leg, *suite));
        }
    }
}

/// Seals what ends a direction.
fn goodbye(raw: &mut RawTls) -> Vec<u8> {
    raw.tx.seal(21, &[1, 0])
}

#[test]
fn data_behind_close_notify_is_ignored() {
    each(|bench, mut pair| {
        let goodbye = goodbye(&mut pair.raw);
        let more = pair.raw.tx.seal(APPLICATION_DATA, b"not this");
        pair.raw.write(&[goodbye, more].concat()).unwrap();
        bench.ends_well(pair);
    });
}

#[test]
fn data_that_comes_after_close_notify_was_read_is_ignored() {
    each(|bench, mut pair| {
        pair.raw.close().unwrap();
        pair.far_ends();
        pair.raw.say(b"not this").unwrap();
        pair.down(b"while there are answers to come");
        bench.ends_well(pair);
    });
}

#[test]
fn rubbish_behind_close_notify_is_ignored() {
    each(|bench, mut pair| {
        let goodbye = goodbye(&mut pair.raw);
        let rubbish = [APPLICATION_DATA, 3, 3, 0, 64].to_vec();
        let rubbish = [rubbish, vec![7; 64], vec![255; 500]].concat();
        pair.raw.write(&[goodbye, rubbish].concat()).unwrap();
        bench.ends_well(pair);
    });
}

#[test]
fn a_peer_that_has_said_all_still_gets_the_answer() {
    each(|bench, mut pair| {
        pair.up(b"question");
        pair.raw.close().unwrap();
        pair.far_ends();
        pair.down(&vec![b'a'; 100_000]);
        pair.down(b"that was all");
        bench.ends_well(pair);
    });
}

#[test]
fn a_peer_that_is_told_of_an_end_may_still_speak() {
    each(|bench, mut pair| {
        pair.far.shutdown(Shutdown::Write).unwrap();
        let end = pair.raw.end().unwrap();
        assert_eq!((&end.data[..], end.alerts.len()), (&b""[..], 1), "{end:?}");
        pair.up(&vec![b'q'; 100_000]);
        pair.up(b"and that is all");
        pair.raw.close().unwrap();
        pair.raw.shut_down().unwrap();
        pair.far_ends();
        // The leg without TLS was the first.
        let first = match pair.leg {
            Leg::Client => Leg::Backend,
            Leg::Backend => Leg::Client,
        };
        bench.counts(pair.leg, &first.reason("closed"));
    });
}

/// Nothing can be said behind `close_notify`, so that nothing can be answered.
#[test]
fn a_request_for_new_keys_is_heeded_after_the_end_was_said() {
    let bench = Bench::new();
    for leg in LEGS {
        let mut pair = bench.open(leg, ONLY_13[0]);
        pair.far.shutdown(Shutdown::Write).unwrap();
        let end = pair.raw.end().unwrap();
        assert_eq!((&end.data[..], end.alerts.len()), (&b""[..], 1), "{end:?}");
        pair.raw.update(UPDATE_BOTH).unwrap();
        pair.up(b"with new keys");
        pair.raw.close().unwrap();
        pair.raw.shut_down().unwrap();
        pair.far_ends();
    }
}

#[test]
fn nothing_follows_the_end_that_the_daemon_says() {
    each(|_, mut pair| {
        pair.far.shutdown(Shutdown::Write).unwrap();
        let end = pair.raw.end().unwrap();
        assert_eq!((end.alerts.len(), end.how), (1, How::Closed));
        drop(pair.far);
        pair.raw.close().unwrap();
        pair.raw.shut_down().unwrap();
        let end = pair.raw.end().unwrap();
        assert_eq!((end.alerts.len(), end.how), (0, How::Closed));
    });
}

#[test]
fn an_answer_to_a_request_for_new_keys_may_be_left_out_at_the_end() {
    let bench = Bench::new();
    for leg in LEGS {
        let mut pair = bench.open(leg, ONLY_13[0]);
        pair.raw.update(UPDATE_BOTH).unwrap();
        pair.up(b"with new keys");
        pair.far.shutdown(Shutdown::Write).unwrap();
        let end = pair.raw.end().unwrap();
        assert_eq!((end.alerts.len(), end.how), (1, How::Closed), "{end:?}");
        pair.up(b"and more");
    }
}
