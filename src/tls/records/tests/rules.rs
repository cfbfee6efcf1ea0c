//! What a peer must not do, and by which alert it is told.

use super::{
    open::kind::{ALERT, DATA, HANDSHAKE},
    peer::{Rogue, each, hear, pair, seal},
    *,
};

/// Sees sessions of each suite and role end by what `send` sends.
fn ends(
    version: Option<Version>,
    fault: Fault,
    alert: Option<Alert>,
    send: impl Fn(&mut Rogue) -> Vec<u8>,
) {
    each(|suite, role| {
        if version.is_some_and(|it| it != suite.version()) {
            return;
        }
        let (mut ours, mut rogue) = pair(suite, role);
        let bytes = send(&mut rogue);
        let found = rogue.ends(&mut ours, &bytes);
        assert_eq!(found, (fault, alert), "{} {role:?}", suite.name);
    });
}

const TLS12: Option<Version> = Some(Version::Tls12);
const TLS13: Option<Version> = Some(Version::Tls13);

#[test]
fn a_record_that_was_altered_anywhere_ends_the_session() {
    each(|suite, role| {
        let (ours, mut rogue) = pair(suite, role);
        let record = rogue.record(DATA, b"data");
        for place in 5..record.len() {
            let mut ours = Records::from(ours.state().clone());
            let mut altered = record.clone();
            altered[place] ^= 0x40;
            let found = Rogue::of(&ours).ends(&mut ours, &altered);
            let expected = (Fault::BadRecord, Some(Alert::BAD_RECORD_MAC));
            assert_eq!(found, expected, "{place}");
        }
    });
}

#[test]
fn what_is_not_protected_is_covered_by_the_tag() {
    each(|suite, role| {
        let (mut ours, mut rogue) = pair(suite, role);
        let mut record = rogue.record(DATA, b"data");
        record[2] = 1;
        let found = rogue.ends(&mut ours, &record);
        assert_eq!(found, (Fault::BadRecord, Some(Alert::BAD_RECORD_MAC)));
    });
}

#[test]
fn a_record_that_was_lost_or_doubled_ends_the_session() {
    let expected = (Fault::BadRecord, Some(Alert::BAD_RECORD_MAC));
    ends(None, expected.0, expected.1, |rogue| {
        rogue.record(DATA, b"lost");
        rogue.record(DATA, b"data")
    });
    ends(None, expected.0, expected.1, |rogue| {
        rogue.record(DATA, b"data").repeat(2)
    });
}

#[test]
fn a_record_without_room_for_its_tag_ends_the_session() {
    for length in [0, 1, 15] {
        let expected = Some(Alert::BAD_RECORD_MAC);
        ends(None, Fault::BadRecord, expected, |_| {
            let body = vec![0; usize::from(length)];
            [&[DATA, 3, 3, 0, length][..], &body].concat()
        });
    }
}

#[test]
fn a_record_that_is_too_long_ends_the_session_by_its_header() {
    let expected = Some(Alert::RECORD_OVERFLOW);
    for (version, longest) in [(TLS13, MAX_PLAIN + 256), (TLS12, MAX_PLAIN + 2048)] {
        let header = |length: usize| {
            let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
            vec![DATA, 3, 3, high, low]
        };
        ends(version, Fault::Overflow, expected, |_| header(longest + 1));
        each(|suite, role| {
            let (mut ours, _) = pair(suite, role);
            if Some(suite.version()) == version {
                let (mut plain, mut out) = (Vec::new(), Space::default());
                let waits = ours.receive(&header(longest), &mut plain, &mut out);
                assert_eq!(waits, Ok(0));
            }
        });
    }
}

#[test]
fn content_that_is_too_long_ends_the_session() {
    let expected = Some(Alert::RECORD_OVERFLOW);
    ends(None, Fault::Overflow, expected, |rogue| {
        rogue.record(DATA, &vec![1; MAX_PLAIN + 1])
    });
    ends(TLS13, Fault::Overflow, expected, |rogue| {
        let mut inner = vec![1; MAX_PLAIN];
        inner.extend([DATA, 0]);
        rogue.raw(DATA, 3, &inner)
    });
    each(|suite, role| {
        let (mut ours, mut rogue) = pair(suite, role);
        let longest = rogue.record(DATA, &vec![1; MAX_PLAIN]);
        assert_eq!(hear(&mut ours, &longest).unwrap().plain, [1; MAX_PLAIN]);
    });
}

#[test]
fn padding_is_taken_off_and_nothing_but_padding_ends_the_session() {
    for padding in [0, 1, 255, MAX_PLAIN - 4] {
        for suite in &suite::SUITES[..3] {
            let (mut ours, mut rogue) = pair(suite, Role::Server);
            let padded = [&b"a\0b\0"[..], &[DATA], &vec![0; padding]].concat();
            let heard = hear(&mut ours, &rogue.raw(DATA, 3, &padded));
            assert_eq!(heard.unwrap().plain, b"a\0b\0", "{padding}");
        }
        let expected = Some(Alert::UNEXPECTED_MESSAGE);
        ends(TLS13, Fault::NoContentType, expected, |rogue| {
            rogue.raw(DATA, 3, &vec![0; padding])
        });
    }
}

#[test]
fn empty_data_is_taken_but_not_for_ever() {
    each(|suite, role| {
        let (mut ours, mut rogue) = pair(suite, role);
        for _ in 0..2 {
            for _ in 0..32 {
                let empty = rogue.record(DATA, b"");
                assert!(hear(&mut ours, &empty).unwrap().plain.is_empty());
            }
            let data = rogue.record(DATA, b"data");
            assert_eq!(hear(&mut ours, &data).unwrap().plain, b"data");
        }
    });
    let expected = Some(Alert::UNEXPECTED_MESSAGE);
    ends(None, Fault::TooManyEmptyRecords, expected, |rogue| {
        (0..33).flat_map(|_| rogue.record(DATA, b"")).collect()
    });
}

#[test]
fn empty_alerts_and_handshake_records_end_the_session() {
    for kind in [ALERT, HANDSHAKE] {
        let expected = Some(Alert::UNEXPECTED_MESSAGE);
        ends(None, Fault::EmptyRecord(kind), expected, |rogue| {
            rogue.record(kind, b"")
        });
    }
}

#[test]
fn records_of_other_types_end_the_session() {
    let expected = Some(Alert::UNEXPECTED_MESSAGE);
    for kind in [0, 20, 24, 99] {
        // Bare, as a change of ciphers would come, and protected.
        ends(None, Fault::RecordType(kind), expected, |_| {
            vec![kind, 3, 3, 0, 1, 1]
        });
        if kind > 0 {
            ends(None, Fault::RecordType(kind), expected, |rogue| {
                rogue.record(kind, &[1])
            });
        }
    }
    for kind in [ALERT, HANDSHAKE] {
        ends(TLS13, Fault::RecordType(kind), expected, |rogue| {
            rogue.raw(kind, 3, &[1, 0, kind])
        });
        // In TLS 1.2 they have their place, but not unprotected.
        let expected = Some(Alert::BAD_RECORD_MAC);
        ends(TLS12, Fault::BadRecord, expected, |_| {
            vec![kind, 3, 3, 0, 2, 1, 0]
        });
    }
}

#[test]
fn records_of_another_protocol_end_the_session() {
    let expected = Some(Alert::DECODE_ERROR);
    ends(None, Fault::RecordVersion, expected, |_| {
        vec![DATA, 2, 3, 0, 1]
    });
    // The minor version does not matter, as long as the peer means it.
    each(|suite, role| {
        let (mut ours, mut rogue) = pair(suite, role);
        let inner = match suite.version() {
            Version::Tls12 => &b"data"[..],
            Version::Tls13 => b"data\x17",
        };
        let heard = hear(&mut ours, &rogue.raw(DATA, 1, inner)).unwrap();
        assert_eq!(heard.plain, b"data");
    });
}

#[test]
fn a_fatal_alert_ends_the_session_without_an_answer() {
    for alert in [10, 20, 42, 80, 90, 255].map(Alert) {
        ends(None, Fault::AlertReceived(alert), None, |rogue| {
            rogue.alert(2, alert)
        });
    }
}

#[test]
fn a_goodbye_may_be_fatal() {
    each(|suite, role| {
        for level in [1, 2] {
            let (mut ours, mut rogue) = pair(suite, role);
            hear(&mut ours, &rogue.alert(level, Alert::CLOSE_NOTIFY)).unwrap();
            assert!(ours.peer_closed());
        }
    });
}

#[test]
fn tls_1_3_has_no_warnings() {
    for alert in [10, 41, 100, 255].map(Alert) {
        let expected = Some(Alert::DECODE_ERROR);
        ends(TLS13, Fault::WarningReceived(alert), expected, |rogue| {
            rogue.alert(1, alert)
        });
    }
}

#[test]
fn a_few_warnings_change_nothing_and_more_end_the_session() {
    each(|suite, role| {
        let (mut ours, mut rogue) = pair(suite, role);
        for _ in 0..4 {
            let heard = hear(&mut ours, &rogue.alert(1, Alert::USER_CANCELED)).unwrap();
            assert!(heard.out.filled().is_empty());
            hear(&mut ours, &rogue.record(DATA, b"data")).unwrap();
        }
        let fifth = rogue.alert(1, Alert::USER_CANCELED);
        let found = rogue.ends(&mut ours, &fifth);
        let expected = (Fault::TooManyWarnings, Some(Alert::UNEXPECTED_MESSAGE));
        assert_eq!(found, expected);
    });
}

#[test]
fn an_alert_that_is_none_ends_the_session() {
    let expected = Some(Alert::DECODE_ERROR);
    for content in [&[2][..], &[1, 0, 0], &[1, 90, 1, 0]] {
        ends(None, Fault::Undecodable, expected, |rogue| {
            rogue.record(ALERT, content)
        });
    }
    for level in [0, 3, 255] {
        let expected = Some(Alert::ILLEGAL_PARAMETER);
        ends(None, Fault::AlertLevel, expected, |rogue| {
            rogue.alert(level, Alert(10))
        });
    }
}

#[test]
fn nothing_is_sent_behind_our_own_end() {
    each(|suite, role| {
        let (mut ours, mut rogue) = pair(suite, role);
        let mut out = Space::default();
        ours.close(&mut out);
        assert_eq!(rogue.hears(out.filled()), None);
        assert!(rogue.0.peer_closed());
        // The other direction goes on.
        let data = rogue.record(DATA, b"data");
        assert_eq!(hear(&mut ours, &data).unwrap().plain, b"data");
        let sent = ours.send(b"data", &mut out);
        assert_eq!(sent, Err(Fault::SentBehindClose));
        let before = out.filled().len();
        let rubbish = rogue.raw(DATA, 3, &[0]);
        let mut altered = rubbish.clone();
        altered[20] ^= 1;
        let end = ours.receive(&altered, &mut Vec::new(), &mut out);
        assert_eq!((end, out.filled().len()), (Err(Fault::BadRecord), before));
    });
}

#[test]
fn what_came_before_a_fault_in_the_same_read_is_kept() {
    each(|suite, role| {
        let (mut ours, mut rogue) = pair(suite, role);
        let (mut plain, mut out) = (Vec::new(), Space::default());
        let bytes = [rogue.record(DATA, b"data"), rogue.alert(2, Alert(80))].concat();
        let end = ours.receive(&bytes, &mut plain, &mut out);
        assert_eq!(end, Err(Fault::AlertReceived(Alert(80))));
        assert_eq!(plain, b"data");
    });
}

#[test]
fn sealing_leaves_no_other_way_to_read_a_record() {
    // Two records of the same data differ, and neither shows it.
    each(|suite, role| {
        let (mut ours, _) = pair(suite, role);
        let [one, two] = [(); 2].map(|()| seal(&mut ours, b"the same words"));
        assert_ne!(one, two);
        assert!(!one.windows(4).any(|it| it == b"same"));
    });
}
