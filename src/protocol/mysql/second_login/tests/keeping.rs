//! What is kept of a second login.

use super::*;

/// Encodes a login; what is read back must be the same.
fn kept(login: &SecondLogin) -> Result<Vec<u8>, TooLong> {
    let mut kept = Vec::new();
    login.encode(&mut kept)?;
    let read = SecondLogin::decode(&kept);
    assert_eq!(read, Ok((login.clone(), kept.len())));
    Ok(kept)
}

#[test]
fn a_watch_takes_few_bytes() {
    let login = relayed(TLS_TO_NETWORK).watch;
    let length = kept(&login).expect("short").len();
    assert_eq!(length, 1 + 8 + Session::MAX_ENCODED + CommandWatch::ENCODED);
}

#[test]
fn the_longest_patience_is_kept() {
    let login = SecondLogin::new(session(TLS_TO_NETWORK), Duration::MAX);
    kept(&login).expect("short");
}

#[test]
fn a_packet_that_is_too_long_is_not_kept_while_it_comes() {
    let mut session = relayed(legs(Leg::Tls, Leg::Tls));
    let attributes = vec![0; 60_000];
    let command = joined(&[&change_to_me(NATIVE, &[7; 20]), &attributes]);
    let command = wire(0, &command);
    session.receive(Side::Client, &command[..2048]);
    kept(&session.watch).expect("short enough");
    session.receive(Side::Client, &command[2048..2049]);
    let error = TooLong {
        length: 2049,
        limit: 2048,
    };
    assert_eq!(kept(&session.watch), Err(error));
    let mut out = b"before".to_vec();
    assert_eq!(session.watch.encode(&mut out), Err(error));
    assert_eq!(out, b"before");
    session.receive(Side::Client, &command[2049..]);
    kept(&session.watch).expect("it is the database's turn");
    say(&mut session, &[(Side::Server, 1, OK)]);
}

#[test]
fn a_password_that_is_too_long_is_not_kept() {
    for (length, is_kept) in [(1024, true), (1025, false)] {
        let mut session = asked_for_password();
        let mut password = vec![b'p'; length];
        password[length - 1] = 0;
        session.receive(Side::Client, &wire(2, &password));
        assert_eq!(kept(&session.watch).is_ok(), is_kept);
        give_key(&mut session, b"KEY");
        assert_eq!(kept(&session.watch).is_ok(), is_kept, "to be sealed");
    }
}

#[test]
fn a_login_that_waits_for_its_ciphertext_is_kept() {
    let session = asked_to_seal(&[b'K'; 2048]);
    let kept = kept(&session.watch).expect("short enough");
    assert!(kept.len() <= SecondLogin::MAX_ENCODED);
    let (mut again, _) = SecondLogin::decode(&kept).expect("just kept");
    let Wants::Sealing(sealing) = again.wants() else {
        panic!("it waits for something else");
    };
    assert_eq!(sealing.key, [b'K'; 2048]);
    let output = again.sealed(Ok(vec![5; 256])).expect("asked for");
    assert_eq!(*output.to_server, wire(4, &[5; 256]));
}

#[test]
fn a_damaged_login_is_refused_or_another() {
    let mut reading = relayed(TLS_TO_NETWORK);
    reading.receive(Side::Client, &change(NATIVE, &[7; 20])[..9]);
    let sealing = asked_to_seal(b"KEY");
    let logins = [
        relayed(TLS_TO_NETWORK),
        reading,
        asked_for_password(),
        asked_for_key(),
        sealing,
    ];
    for login in logins.map(|it| it.watch) {
        let kept = kept(&login).expect("short");
        for end in 0..kept.len() {
            assert_eq!(SecondLogin::decode(&kept[..end]), Err(Malformed));
        }
        for at in 0..kept.len() {
            for bit in 0..8 {
                let mut damaged = kept.clone();
                damaged[at] ^= 1 << bit;
                let Ok((other, length)) = SecondLogin::decode(&damaged) else {
                    continue;
                };
                let mut again = Vec::new();
                other.encode(&mut again).expect("it was as short");
                assert_eq!(again, damaged[..length], "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_session_is_kept_with_all_that_a_login_needs() {
    for client in [Leg::Loopback, Leg::Network, Leg::Tls, Leg::Unix] {
        for server in [Leg::Loopback, Leg::Network, Leg::Tls, Leg::Unix] {
            for clear_allowed in [false, true] {
                let legs = Legs {
                    clear_allowed,
                    ..legs(client, server)
                };
                kept(&relayed(legs).watch).expect("short");
            }
        }
    }
}
