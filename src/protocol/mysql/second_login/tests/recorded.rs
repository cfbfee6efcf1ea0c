//! The recorded inputs of the fuzz target `mysql_second_login`, which also show how a second login is kept.
//!
//! Run with `PROXYD_REGENERATE=1` to write them anew.

use std::borrow::Borrow;
use std::path::Path;

use super::*;

const KEY: &[u8] = b"\x01-----BEGIN PUBLIC KEY-----";

/// Returns a kept login and what comes then, as the target reads it.
fn input<S: Borrow<Said>>(login: &SecondLogin, said: impl IntoIterator<Item = S>) -> Vec<u8> {
    let mut input = Vec::new();
    login.encode(&mut input).expect("short");
    for said in said {
        let (from, bytes) = said.borrow();
        for piece in bytes.chunks(0x7f) {
            let length = u8::try_from(piece.len()).expect("at most 127 bytes");
            let side = if *from == Side::Server { 0x80 } else { 0 };
            input.push(side | length);
            input.extend_from_slice(piece);
        }
    }
    input
}

fn client(seq: u8, payload: &[u8]) -> Said {
    (Side::Client, wire(seq, payload))
}

fn server(seq: u8, payload: &[u8]) -> Said {
    (Side::Server, wire(seq, payload))
}

/// What one side sends.
type Said = (Side, Vec<u8>);
/// A name, and what the target reads.
type Input = (&'static str, Vec<u8>);

/// Logins from their beginning.
fn from_the_beginning() -> Vec<Input> {
    let idle = relayed(TLS_TO_NETWORK).watch;
    let plain = relayed(legs(Leg::Network, Leg::Network)).watch;
    let (query, answer) = ((Side::Client, QUERY.to_vec()), server(1, OK));
    let native = client(0, &change_to_me(NATIVE, &[7; 20]));
    let sha2 = client(0, &change_to_me(SHA2, &[9; 32]));
    let sha256 = client(0, &change_to_me("sha256_password", b"secret\0"));
    let clear = client(0, &change_to_me("dialog", b"secret\0"));
    let denied = server(1, DENIED);
    let full = server(1, FULL_AUTH);
    let (password, key) = (client(2, b"secret\0"), server(3, KEY));
    let (sealed, ok) = (client(4, &[3; 256]), server(5, OK));
    let (key_asked_for, unasked) = (client(2, &[2]), [server(1, KEY), server(3, OK)]);
    let mediated = [&sha2, &full, &password, &key, &ok];
    let by_client = [&sha2, &full, &key_asked_for, &key, &sealed, &ok];
    vec![
        ("in-the-clear", input(&idle, [&clear])),
        ("out-of-turn", input(&idle, [&query, &native])),
        (
            "accepted",
            input(&idle, [&query, &answer, &native, &answer, &query]),
        ),
        (
            "rejected",
            input(&idle, [&native, &denied, &native, &answer]),
        ),
        (
            "sha256-unasked",
            input(&idle, [&sha256, &unasked[0], &unasked[1]]),
        ),
        ("sha2-full-mediated", input(&idle, mediated)),
        ("sha2-full-plain", input(&plain, by_client)),
    ]
}

/// Logins that were kept in their middle.
fn from_the_middle() -> Vec<Input> {
    let (query, ok) = ((Side::Client, QUERY.to_vec()), server(5, OK));
    let native = wire(0, &change_to_me(NATIVE, &[7; 20]));
    let sha2 = wire(0, &change_to_me(SHA2, &[9; 32]));
    let mut reading = relayed(TLS_TO_NETWORK);
    reading.receive(Side::Client, &sha2[..3]);
    reading.receive(Side::Client, &sha2[3..20]);
    let split = |bytes: &[u8]| {
        let (first, rest) = bytes.split_at(9);
        let [first, rest] = [first, rest].map(|part| (Side::Client, part.to_vec()));
        [first, server(2, OK), rest]
    };
    let (asked, key) = (asked_for_password(), asked_for_key());
    let rest = [(Side::Client, sha2[20..].to_vec()), server(1, OK)];
    let password = [client(2, b"secret\0"), server(3, KEY), ok.clone()];
    vec![
        ("reading", input(&reading.watch, rest)),
        ("asked-for-password", input(&asked.watch, &password)),
        ("asked-for-key", input(&key.watch, &password[1..])),
        ("sealing", input(&asked_to_seal(b"KEY").watch, [ok, query])),
        ("command-begun", input(&asked_in_vain().watch, split(QUERY))),
        ("login-begun", input(&asked_in_vain().watch, split(&native))),
    ]
}

#[test]
fn recorded_inputs_are_those_of_today() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/mysql_second_login");
    let regenerate = std::env::var_os("PROXYD_REGENERATE").is_some();
    for (name, input) in [from_the_beginning(), from_the_middle()].concat() {
        let path = corpus.join(name);
        if regenerate {
            std::fs::create_dir_all(&corpus).expect("a folder");
            std::fs::write(&path, &input).expect("a file that can be written");
        }
        let recorded = std::fs::read(&path).expect("a recorded input");
        assert!(
            recorded == input,
            "{name}: a second login is kept in another form; raise the version of the session's record, and \
             run the test again with PROXYD_REGENERATE=1"
        );
    }
}
