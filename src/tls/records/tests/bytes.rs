//! A state as bytes.

use proptest::prelude::*;

use super::{
    encode::MAX_LEN,
    open::kind::DATA,
    peer::{each, hear, pair, seal, session},
    state::StateError,
    *,
};

/// Returns a session that goes on from the bytes of another.
fn moved(records: &Records) -> Records {
    let mut bytes = Vec::new();
    records.state().put(&mut bytes);
    assert!(bytes.len() <= MAX_LEN);
    bytes.extend(b"what stands behind");
    let (state, taken) = State::take(&bytes).unwrap();
    assert_eq!(&state, records.state());
    assert_eq!(&bytes[taken..], b"what stands behind");
    Records::from(state)
}

#[test]
fn a_session_goes_on_from_its_bytes_at_any_moment() {
    each(|suite, role| {
        let (mut ours, mut peer, behind) = session(suite, role, 2);
        // Byte by byte, also in the middle of tickets and of a change of key.
        let mut bytes = [behind, peer.seal(b"one")].concat();
        if suite.version() == Version::Tls13 {
            bytes.extend(peer.update_key());
        }
        bytes.extend(peer.seal(b"two"));
        let (mut plain, mut out, mut waiting) = (Vec::new(), Space::default(), Vec::new());
        for byte in bytes {
            waiting.push(byte);
            let used = ours.receive(&waiting, &mut plain, &mut out).unwrap();
            waiting.drain(..used);
            ours = moved(&ours);
        }
        assert_eq!(plain, b"onetwo");
        assert_eq!(peer.open(&seal(&mut ours, b"three")).unwrap(), b"three");
        ours = moved(&ours);
        assert_eq!(peer.open(&seal(&mut ours, b"four")).unwrap(), b"four");
        hear(&mut ours, &peer.close()).unwrap();
        ours = moved(&ours);
        assert!(ours.peer_closed());
        ours.close(&mut out);
        assert!(moved(&ours).send(b"more", &mut out).is_err());
    });
}

#[test]
fn a_session_goes_on_in_the_middle_of_a_message() {
    let cases = [
        (0x1302, Role::Client, &[4, 0, 0, 20][..], &[7; 20][..]),
        (0x1301, Role::Server, &[24, 0, 0, 1], &[0]),
        (0xc02f, Role::Server, &[1, 0, 0, 3], &[7; 3]),
    ];
    for (code, role, head, body) in cases {
        let message = [head, body].concat();
        for split in 1..message.len() {
            let (mut ours, mut rogue) = pair(Suite::find(code).unwrap(), role);
            hear(&mut ours, &rogue.handshake(&message[..split])).unwrap();
            ours = moved(&ours);
            let interleaved = hear(&mut moved(&ours), &{
                let mut rogue = Records::from(rogue.0.state().clone());
                seal(&mut rogue, b"data")
            });
            assert_eq!(interleaved.unwrap_err(), Fault::Interleaved);
            hear(&mut ours, &rogue.handshake(&message[split..])).unwrap();
            if code == 0x1301 {
                rogue.renew();
            }
            let data = rogue.record(DATA, b"data");
            assert_eq!(hear(&mut ours, &data).unwrap().plain, b"data");
        }
    }
}

#[test]
fn bytes_that_are_cut_short_or_impossible_are_no_state() {
    each(|suite, role| {
        let (ours, _) = pair(suite, role);
        let mut bytes = Vec::new();
        ours.state().put(&mut bytes);
        for length in 0..bytes.len() {
            let cut = State::take(&bytes[..length]);
            assert_eq!(cut.unwrap_err(), StateError::Short);
        }
        let altered = |place: usize, value: u8| {
            let mut bytes = bytes.clone();
            bytes[place] = value;
            State::take(&bytes).map(|_| ())
        };
        assert!(matches!(altered(0, 0xff), Err(StateError::Suite(_))));
        assert_eq!(altered(2, 16), Err(StateError::Value("flag")));
        for counter in 3..7 {
            assert_eq!(altered(counter, 33), Err(StateError::Value("counter")));
        }
        for reading in 4..=255 {
            let found = altered(7, reading);
            assert_eq!(found, Err(StateError::Value("handshake message")));
        }
        let owed = altered(2, 8 | u8::from(role == Role::Server));
        assert_eq!(owed.is_ok(), suite.version() == Version::Tls13);
    });
}

#[test]
fn a_secret_that_is_not_the_keys_makes_no_state() {
    let suite = Suite::find(0x1301).unwrap();
    let (ours, _) = pair(suite, Role::Server);
    let half = &ours.state.sending;
    let secrets = |key: &'static [u8], secret: &'static [u8]| state::Secrets {
        key,
        iv: &[0; 12],
        sequence: 0,
        traffic_secret: secret,
    };
    let make = |it| State::new(suite, Role::Server, it, it).unwrap_err();
    assert_eq!(make(secrets(&[0; 16], &[0; 32])), StateError::OtherSecret);
    assert_eq!(make(secrets(&[0; 32], &[0; 32])), StateError::Length("key"));
    assert_eq!(
        make(secrets(&[0; 16], &[0; 48])),
        StateError::Length("secret")
    );
    let good = state::Secrets {
        key: &half.key[..16],
        iv: &half.iv,
        sequence: 7,
        traffic_secret: &half.secret[..32],
    };
    assert!(State::new(suite, Role::Server, good, good).is_ok());
}

#[test]
fn nothing_secret_is_printed_and_a_session_is_small() {
    each(|suite, role| {
        let (ours, _) = pair(suite, role);
        let printed = format!("{ours:?}");
        assert!(printed.len() < 800, "{printed}");
        for secret in [&ours.state.sending.key[..4], &ours.state.receiving.iv[..4]] {
            let shown = format!("{secret:?}");
            assert!(!printed.contains(shown.trim_matches(['[', ']'])));
        }
    });
    assert!(size_of::<State>() <= 320, "{}", size_of::<State>());
    assert!(size_of::<Records>() <= 80, "{}", size_of::<Records>());
}

proptest! {
    #[test]
    fn any_split_of_a_stream_gives_the_same(
        index in 0..suite::SUITES.len(),
        sizes in prop::collection::vec((0..20_000_usize, any::<u8>()), 1..8),
        cuts in prop::collection::vec(0..20_000_usize, 0..12),
    ) {
        let (mut ours, mut rogue) = pair(&suite::SUITES[index], Role::Client);
        let mut bytes = Vec::new();
        let pieces: Vec<_> = sizes.into_iter().map(|(size, byte)| vec![byte; size]).collect();
        for piece in &pieces {
            bytes.extend(seal(&mut rogue.0, piece));
        }
        let expected = pieces.concat();
        let (mut plain, mut out, mut waiting) = (Vec::new(), Space::default(), Vec::new());
        let mut rest = &bytes[..];
        for cut in cuts.iter().copied().chain([usize::MAX]) {
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            rest = behind;
            waiting.extend_from_slice(piece);
            let used = ours.receive(&waiting, &mut plain, &mut out).unwrap();
            waiting.drain(..used);
            ours = moved(&ours);
        }
        prop_assert!(plain == expected && waiting.is_empty());
    }

    #[test]
    fn any_bytes_are_survived(
        index in 0..suite::SUITES.len(),
        bytes: Vec<u8>,
        contents in prop::collection::vec((20..25_u8, any::<Vec<u8>>()), 0..8),
    ) {
        for role in [Role::Client, Role::Server] {
            let (mut ours, mut rogue) = pair(&suite::SUITES[index], role);
            for (kind, content) in &contents {
                if hear(&mut ours, &rogue.record(*kind, content)).is_err() {
                    break;
                }
            }
            let _ = ours.receive(&bytes, &mut Vec::new(), &mut Space::default());
        }
        if let Ok((state, taken)) = State::take(&bytes) {
            let mut again = Vec::new();
            state.put(&mut again);
            prop_assert_eq!(&again[..], &bytes[..taken]);
        }
    }
}
