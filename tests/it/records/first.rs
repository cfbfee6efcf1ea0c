//! Records right behind the handshake, in the segment of its last message or torn together with it.

use std::io::Write as _;

use rustls::AlertDescription;

use super::bench::{Bench, Leg, ONLY_12, ONLY_13, Pair};
use crate::support::raw_tls::{
    ALERT, APPLICATION_DATA, Direction, FATAL, HANDSHAKE, RawTls, UPDATE_BOTH,
};

/// The bytes of the last flight of a client of TLS 1.3 (`change_cipher_spec` and `Finished`) or of a server
/// of TLS 1.2 (the same), and some of what stands behind them.
const FLIGHT: usize = 130;

/// As short as rustls makes records, so that a `Finished` takes several: the flight is longer then.
const SHORT: Option<usize> = Some(32);

/// Records with which a session begins.
fn first(tx: &mut Direction) -> Vec<u8> {
    [
        tx.seal(APPLICATION_DATA, b"one"),
        tx.seal(APPLICATION_DATA, b"two"),
    ]
    .concat()
}

/// Opens a session of a client whose first records are sent with its `Finished`.
fn client(
    bench: &Bench,
    longest: Option<usize>,
    at: usize,
    behind: impl FnOnce(&mut Direction) -> Vec<u8>,
) -> Pair {
    let socket = bench.dial(Leg::Client);
    let raw = RawTls::connect_torn(socket, ONLY_13[0], longest, at, behind).unwrap();
    let far = bench.server(Leg::Client).accept().unwrap();
    let leg = Leg::Client;
    Pair { raw, far, leg }
}

#[test]
fn a_client_may_tear_its_finished_and_its_first_records_anywhere() {
    let bench = Bench::new();
    for at in 1..FLIGHT {
        let mut pair = client(&bench, None, at, first);
        pair.far_hears(b"onetwo");
        pair.down(b"three");
    }
}

#[test]
fn a_client_may_tear_a_finished_that_takes_several_records() {
    let bench = Bench::new();
    for at in 1..FLIGHT + 30 {
        let mut pair = client(&bench, SHORT, at, first);
        pair.far_hears(b"onetwo");
        pair.down(b"three");
    }
}

#[test]
fn a_backend_may_tear_its_finished_and_its_first_records_anywhere() {
    let bench = Bench::new();
    for suite in [ONLY_12[0], ONLY_13[0]] {
        for at in 1..FLIGHT {
            let mut far = bench.dial(Leg::Backend);
            far.write_all(b"hello").unwrap();
            let server = bench.server(Leg::Backend);
            let socket = server.accept().unwrap();
            let raw = server.begin_tls_torn(socket, suite, at, first).unwrap();
            let leg = Leg::Backend;
            let mut pair = Pair { raw, far, leg };
            pair.far_hears(b"onetwo");
            assert_eq!(pair.raw.hear_data(5).unwrap(), b"hello");
        }
    }
}

/// A server of TLS 1.3 may speak before the client's `Finished`.
#[test]
fn a_backend_may_speak_behind_its_own_finished() {
    let bench = Bench::new();
    for (tail, longest) in (1..FLIGHT).flat_map(|it| [(it, None), (it, SHORT)]) {
        let mut far = bench.dial(Leg::Backend);
        far.write_all(b"hello").unwrap();
        let server = bench.server(Leg::Backend);
        let socket = server.accept().unwrap();
        let raw = server.begin_tls_early(socket, ONLY_13[0], b"early", longest, tail);
        let raw = raw.unwrap();
        let leg = Leg::Backend;
        let mut pair = Pair { raw, far, leg };
        pair.far_hears(b"early");
        assert_eq!(pair.raw.hear_data(5).unwrap(), b"hello");
        pair.up(b"later");
    }
}

#[test]
fn a_client_may_say_its_end_with_its_finished() {
    let bench = Bench::new();
    let goodbye = |tx: &mut Direction| [first(tx), tx.seal(ALERT, &[1, 0])].concat();
    let mut pair = client(&bench, None, usize::MAX, goodbye);
    pair.far_hears(b"onetwo");
    pair.far_ends();
    pair.down(b"an answer");
    bench.ends_well(pair);
}

#[test]
fn a_client_that_breaks_the_rules_with_its_finished_is_refused() {
    let bench = Bench::new();
    for (kind, content, alert) in [
        (
            APPLICATION_DATA,
            vec![0; 16_385],
            AlertDescription::RecordOverflow,
        ),
        (
            HANDSHAKE,
            vec![24, 0, 0, 1, 2],
            AlertDescription::IllegalParameter,
        ),
        (99, vec![1], AlertDescription::UnexpectedMessage),
    ] {
        let socket = bench.dial(Leg::Client);
        let behind = |tx: &mut Direction| tx.seal(kind, &content);
        let mut raw = RawTls::connect_behind(socket, ONLY_13[0], behind).unwrap();
        let end = raw.end().unwrap();
        assert_eq!(end.alerts, [(FATAL, alert)]);
        // It had not been let in yet.
        bench.refuses();
    }
}

/// The last record with the first keys is the last of the handshake's segment.
#[test]
fn a_client_may_change_keys_with_its_torn_finished() {
    let bench = Bench::new();
    for at in (1..FLIGHT).step_by(7) {
        let mut pair = client(&bench, None, at, |tx| {
            [tx.seal_update(UPDATE_BOTH), first(tx)].concat()
        });
        pair.far_hears(b"onetwo");
        pair.down(b"three");
        assert_eq!(pair.raw.updates, 1);
    }
}
