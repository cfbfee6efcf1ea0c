//! Keys that have protected as much as they may.

use super::{
    limits::{Key, Spent},
    peer::{Rogue, each, hear, pair, seal, session},
    *,
};

/// Limits that a test reaches: 4,096 blocks are four full records.
static LIMITS: Limits = Limits {
    renewed: 4096,
    lasting: 4096,
    records: 1000,
};

fn worn(records: &Records) -> Records {
    Records::with_limits(records.state().clone(), &LIMITS)
}

fn gcm(suite: &Suite, version: Version) -> bool {
    suite.version() == version && suite.aead.is_gcm()
}

#[test]
fn a_key_of_tls_1_3_is_renewed_before_it_is_used_up() {
    each(|suite, role| {
        let (ours, mut peer, _) = session(suite, role, 0);
        let mut ours = worn(&ours);
        let mut renewals = 0;
        for _ in 0..40 {
            let before = ours.state.sending.sequence;
            let data = vec![7; MAX_PLAIN];
            assert_eq!(peer.open(&seal(&mut ours, &data)).unwrap(), data);
            renewals += u32::from(ours.state.sending.sequence < before);
            assert!(ours.state.sending.blocks <= LIMITS.renewed || !suite.aead.is_gcm());
            if suite.version() == Version::Tls12 {
                return;
            }
            assert_eq!(ours.nears_limit(), None);
        }
        assert_eq!(renewals > 10, suite.aead.is_gcm());
    });
}

#[test]
fn a_sequence_number_of_tls_1_3_begins_again_with_a_new_key() {
    for suite in &suite::SUITES[..3] {
        let (ours, mut peer, _) = session(suite, Role::Server, 0);
        let mut ours = worn(&ours);
        for _ in 0..3000 {
            assert_eq!(peer.open(&seal(&mut ours, b"data")).unwrap(), b"data");
            assert!(ours.state.sending.sequence <= LIMITS.records + 1);
        }
    }
}

#[test]
fn a_key_of_tls_1_2_ends_its_session_and_says_so_before() {
    each(|suite, role| {
        if !gcm(suite, Version::Tls12) {
            return;
        }
        let (ours, mut rogue) = pair(suite, role);
        let mut ours = worn(&ours);
        let mut warned = None;
        let mut out = Space::default();
        let end = loop {
            out.clear();
            if let Err(fault) = ours.send(&vec![7; MAX_PLAIN / 4], &mut out) {
                break fault;
            }
            hear(&mut rogue.0, out.filled()).unwrap();
            warned = ours.nears_limit().or(warned);
            assert_eq!(warned.is_some(), ours.state.sending.blocks >= 3072);
        };
        let Fault::KeysExhausted(wear) = end else {
            panic!("{end}")
        };
        assert_eq!((wear.key, wear.limit), (Key::Sending, 4096));
        let Spent::Blocks(blocks) = wear.spent else {
            panic!("{wear}")
        };
        assert!((3800..=4096).contains(&blocks));
        assert_eq!(rogue.hears(out.filled()), Some(Alert::INTERNAL_ERROR));
    });
}

#[test]
fn a_key_of_the_peer_in_tls_1_2_ends_the_session_too() {
    each(|suite, role| {
        if !gcm(suite, Version::Tls12) {
            return;
        }
        let (ours, mut rogue) = pair(suite, role);
        let mut ours = worn(&ours);
        for _ in 0..3 {
            let data = rogue.record(open::kind::DATA, &[7; MAX_PLAIN]);
            hear(&mut ours, &data).unwrap();
        }
        let near = ours.nears_limit().unwrap();
        assert_eq!(near.key, Key::Receiving);
        let data = rogue.record(open::kind::DATA, &[7; MAX_PLAIN]);
        let (fault, alert) = rogue.ends(&mut ours, &data);
        assert!(matches!(fault, Fault::KeysExhausted(it) if it.key == Key::Receiving));
        assert_eq!(alert, Some(Alert::INTERNAL_ERROR));
        assert_eq!(
            fault.to_string(),
            "a key is used up: for receiving, after 0 of 0 GiB"
        );
    });
}

#[test]
fn chacha_ends_by_its_sequence_number_alone() {
    let suite = Suite::find(0xcca9).unwrap();
    let (ours, mut rogue) = pair(suite, Role::Server);
    let mut ours = worn(&ours);
    let mut out = Space::default();
    let sent = (0..2000).take_while(|_| {
        out.clear();
        ours.send(&[7; 100], &mut out).is_ok() && hear(&mut rogue.0, out.filled()).is_ok()
    });
    // One was the handshake's.
    assert_eq!(sent.count(), 999);
    assert_eq!(rogue.hears(out.filled()), Some(Alert::INTERNAL_ERROR));
    assert!(ours.state.sending.blocks > LIMITS.lasting);
}

#[test]
fn a_days_work_reaches_no_limit_and_the_last_sequence_number_is_never_used() {
    each(|suite, role| {
        let (mut ours, _) = pair(suite, role);
        // 24 hours at 10 Gbit/s.
        ours.state.sending.blocks = 24 * 3600 * 10_000_000_000 / 8 / 16;
        ours.send(b"data", &mut Space::default()).unwrap();
        ours.state.sending.sequence = u64::MAX;
        ours.state.receiving.sequence = u64::MAX;
        let mut out = Space::default();
        ours.close(&mut out);
        assert!(out.filled().is_empty());
        let mut rogue = Rogue::of(&ours);
        rogue.0.state.sending.sequence -= 1;
        let data = rogue.record(open::kind::DATA, b"data");
        let end = ours.receive(&data, &mut Vec::new(), &mut out);
        assert!(matches!(end, Err(Fault::KeysExhausted(_))), "{end:?}");
    });
}
