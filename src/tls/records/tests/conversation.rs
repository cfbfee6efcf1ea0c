//! What two ends say to each other when both keep the rules.

use super::{
    peer::{each, hear, seal, session},
    *,
};

/// Returns so many bytes that differ from their neighbours.
fn sample(length: usize) -> Vec<u8> {
    (0..=250).cycle().step_by(31).take(length).collect()
}

#[test]
fn data_of_every_size_passes_with_every_suite_in_both_directions() {
    each(|suite, role| {
        let (mut ours, mut peer, behind) = session(suite, role, 0);
        assert!(behind.is_empty());
        assert_eq!((ours.suite(), ours.role()), (suite, role));
        for size in [1, 16_383, 16_384, 16_385, 65_536, 0, 2] {
            let data = sample(size);
            let sealed = peer.seal(&data);
            assert_eq!(hear(&mut ours, &sealed).unwrap().plain, data, "{size}");
            let sealed = seal(&mut ours, &data);
            let overhead = size.div_ceil(MAX_PLAIN) * MAX_OVERHEAD;
            assert!(sealed.len() <= size + overhead);
            assert_eq!(peer.open(&sealed).unwrap(), data, "{size}");
        }
    });
}

#[test]
fn each_end_may_close_first() {
    each(|suite, role| {
        let (mut ours, mut peer, _) = session(suite, role, 0);
        let mut goodbye = peer.seal(b"last");
        goodbye.extend(peer.close());
        let heard = hear(&mut ours, &goodbye).unwrap();
        assert_eq!(heard.plain, b"last");
        assert!(heard.out.filled().is_empty() && ours.peer_closed());
        assert_eq!(peer.open(&seal(&mut ours, b"more")).unwrap(), b"more");

        let mut out = Space::default();
        ours.close(&mut out);
        peer.open(out.filled()).unwrap();
        assert!(peer.is_told_of_the_end());
        let before = out.filled().len();
        ours.close(&mut out);
        assert_eq!(out.filled().len(), before, "it is said once");
    });
}

#[test]
fn what_follows_the_peers_end_is_ignored() {
    each(|suite, role| {
        let (mut ours, mut peer, _) = session(suite, role, 0);
        let mut goodbye = peer.close();
        goodbye.extend(b"\x17\x03\x03\x00\x05rubbish that is no record");
        let heard = hear(&mut ours, &goodbye).unwrap();
        assert!(ours.peer_closed() && heard.out.filled().is_empty());
        assert!(hear(&mut ours, b"more").unwrap().plain.is_empty());
    });
}

#[test]
fn records_may_come_in_any_pieces() {
    each(|suite, role| {
        let (mut ours, mut peer, _) = session(suite, role, 0);
        let sealed = [peer.seal(b"one"), peer.seal(b"another")].concat();
        let (mut plain, mut out, mut waiting) = (Vec::new(), Space::default(), Vec::new());
        for byte in sealed {
            waiting.push(byte);
            let used = ours.receive(&waiting, &mut plain, &mut out).unwrap();
            assert!(used == 0 || used == waiting.len());
            waiting.drain(..used);
        }
        assert_eq!(plain, b"oneanother");
    });
}

#[test]
fn tickets_of_a_server_are_skipped() {
    for suite in &suite::SUITES {
        let (mut ours, mut peer, behind) = session(suite, Role::Client, 2);
        assert_eq!(behind.is_empty(), suite.version() == Version::Tls12);
        let heard = hear(&mut ours, &[behind, peer.seal(b"data")].concat()).unwrap();
        assert_eq!(heard.plain, b"data");
    }
}

#[test]
fn tickets_for_a_client_come_before_the_session_and_count() {
    for suite in &suite::SUITES {
        let (mut ours, mut peer, _) = session(suite, Role::Server, 2);
        assert_eq!(peer.open(&seal(&mut ours, b"data")).unwrap(), b"data");
    }
}

#[test]
fn the_ciphers_are_made_anew_after_a_rest() {
    each(|suite, role| {
        let (mut ours, mut peer, _) = session(suite, role, 0);
        for data in [&b"one"[..], b"two"] {
            assert_eq!(hear(&mut ours, &peer.seal(data)).unwrap().plain, data);
            assert_eq!(peer.open(&seal(&mut ours, data)).unwrap(), data);
            ours.rest();
            assert!(ours.sealing.is_none() && ours.opening.is_none());
        }
    });
}

#[test]
fn either_end_may_change_its_key_at_any_time() {
    each(|suite, role| {
        if suite.version() == Version::Tls12 {
            return;
        }
        let (mut ours, mut peer, _) = session(suite, role, 0);
        for round in 0..40 {
            let update = peer.update_key();
            let data = sample(round * 7 + 1);
            let heard = hear(&mut ours, &[update, peer.seal(&data)].concat()).unwrap();
            assert_eq!(heard.plain, data);
            assert!(heard.out.filled().is_empty(), "the answer waits for data");
            assert!(ours.state.answer_owed);
            // The answer comes first, once however often it was asked for.
            hear(&mut ours, &peer.update_key()).unwrap();
            let answer = seal(&mut ours, &data);
            assert_eq!(answer.len(), data.len() + 22 + 5 + 22);
            assert_eq!(peer.open(&answer).unwrap(), data);
            assert!(!ours.state.answer_owed);
        }
    });
}

#[test]
fn what_was_sent_under_the_old_key_may_cross_a_change_of_key() {
    let suite = Suite::find(0x1302).unwrap();
    let (mut ours, mut peer, _) = session(suite, Role::Server, 0);
    let crossing = seal(&mut ours, b"before");
    hear(&mut ours, &peer.update_key()).unwrap();
    let behind = seal(&mut ours, b"after");
    assert_eq!(
        peer.open(&[crossing, behind].concat()).unwrap(),
        b"beforeafter"
    );
}
