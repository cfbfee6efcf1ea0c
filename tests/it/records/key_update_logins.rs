//! Changes of keys while a client logs in, when the daemon reads messages of the database's protocol.

use std::io::{Read as _, Write as _};

use super::bench::{Bench, Leg, ONLY_13, Pair};
use crate::support::{
    raw_tls::{APPLICATION_DATA, RawTls, UPDATE, UPDATE_BOTH},
    wire::{OK, SSL_REQUEST, greeting, login, mysql_ssl_request, packet, read_packet, startup},
};

/// Changes keys, in pairs of which one asks for the same of the daemon.
fn change(raw: &mut RawTls) {
    raw.update(UPDATE).unwrap();
    raw.update(UPDATE_BOTH).unwrap();
}

/// Sees that keys go on changing after the login, and ends the session.
fn goes_on(bench: &Bench, mut pair: Pair) {
    for _ in 0..3 {
        let before = pair.raw.updates;
        change(&mut pair.raw);
        pair.up(&packet(0, b"\x03SELECT 1"));
        pair.down(&packet(1, OK));
        assert_eq!(pair.raw.updates, before + 1);
    }
    pair.raw.close().unwrap();
    pair.raw.shut_down().unwrap();
    bench.ends_well(pair);
}

/// Begins the session of a `MySQL` client whose backend is played by the test; both have said nothing
/// but greetings.
fn mysql(bench: &Bench) -> Pair {
    let mut near = bench.dial(Leg::Client);
    let mut far = bench.server(Leg::Client).accept().unwrap();
    far.write_all(&greeting()).unwrap();
    read_packet(&mut near).unwrap();
    near.write_all(&mysql_ssl_request()).unwrap();
    let raw = RawTls::connect(near, ONLY_13[0]).unwrap();
    let leg = Leg::Client;
    Pair { raw, far, leg }
}

#[test]
fn a_mysql_client_may_change_keys_before_its_login() {
    let bench = Bench::speaking("mysql");
    let mut pair = mysql(&bench);
    change(&mut pair.raw);
    pair.raw.say(&login(true, "somebody")).unwrap();
    read_packet(&mut pair.far).unwrap();
    pair.far.write_all(&packet(2, OK)).unwrap();
    assert_eq!(pair.raw.hear_data(4 + OK.len()).unwrap(), packet(3, OK));
    goes_on(&bench, pair);
}

#[test]
fn a_mysql_client_may_change_keys_within_its_login() {
    let bench = Bench::speaking("mysql");
    let mut pair = mysql(&bench);
    let login = login(true, "somebody");
    let mut bytes = Vec::new();
    for piece in login.chunks(10) {
        bytes.extend(pair.raw.tx.seal(APPLICATION_DATA, piece));
        bytes.extend(pair.raw.tx.seal_update(UPDATE_BOTH));
    }
    pair.raw.write(&bytes).unwrap();
    read_packet(&mut pair.far).unwrap();
    pair.far.write_all(&packet(2, OK)).unwrap();
    assert_eq!(pair.raw.hear_data(4 + OK.len()).unwrap(), packet(3, OK));
    goes_on(&bench, pair);
}

#[test]
fn a_mysql_client_may_change_keys_between_its_login_and_the_answer() {
    let bench = Bench::speaking("mysql");
    let mut pair = mysql(&bench);
    pair.raw.say(&login(true, "somebody")).unwrap();
    read_packet(&mut pair.far).unwrap();
    change(&mut pair.raw);
    pair.far.write_all(&packet(2, OK)).unwrap();
    assert_eq!(pair.raw.hear_data(4 + OK.len()).unwrap(), packet(3, OK));
    goes_on(&bench, pair);
}

#[test]
fn a_mysql_client_may_change_keys_before_it_answers_a_question_of_the_login() {
    let bench = Bench::speaking("mysql");
    let mut pair = mysql(&bench);
    pair.raw.say(&login(true, "somebody")).unwrap();
    read_packet(&mut pair.far).unwrap();
    let question = b"\xfemysql_clear_password\0";
    pair.far.write_all(&packet(2, question)).unwrap();
    pair.raw.hear_data(4 + question.len()).unwrap();
    change(&mut pair.raw);
    pair.raw.say(&packet(4, b"hunter2\0")).unwrap();
    let (_, answer) = read_packet(&mut pair.far).unwrap();
    assert_eq!(answer, b"hunter2\0");
    pair.far.write_all(&packet(4, OK)).unwrap();
    assert_eq!(pair.raw.hear_data(4 + OK.len()).unwrap(), packet(5, OK));
    goes_on(&bench, pair);
}

/// Begins a `MySQL` session.
fn logged_in(bench: &Bench) -> Pair {
    let mut pair = mysql(bench);
    pair.raw.say(&login(true, "somebody")).unwrap();
    read_packet(&mut pair.far).unwrap();
    pair.far.write_all(&packet(2, OK)).unwrap();
    assert_eq!(pair.raw.hear_data(4 + OK.len()).unwrap(), packet(3, OK));
    pair
}

#[test]
fn a_mysql_client_may_change_keys_within_and_behind_its_change_of_user() {
    const CHANGE: &[u8] = b"\x11somebody\0\0test\0\x21\0mysql_native_password\0";
    let bench = Bench::speaking("mysql");
    let mut pair = logged_in(&bench);
    for length in [1, 2, 3, 4, 5, 20, 100] {
        for piece in packet(0, CHANGE).chunks(length) {
            pair.raw.say(piece).unwrap();
            change(&mut pair.raw);
        }
        let (seq, command) = read_packet(&mut pair.far).unwrap();
        assert_eq!((seq, &command[..]), (0, CHANGE));
        change(&mut pair.raw);
        pair.far.write_all(&packet(1, OK)).unwrap();
        assert_eq!(pair.raw.hear_data(4 + OK.len()).unwrap(), packet(1, OK));
        change(&mut pair.raw);
        pair.up(&packet(0, b"\x03SELECT 1"));
        pair.down(&packet(1, OK));
    }
    goes_on(&bench, pair);
}

#[test]
fn a_mysql_server_may_change_keys_before_it_answers_the_login() {
    let bench = Bench::speaking("mysql");
    let mut near = bench.dial(Leg::Backend);
    let server = bench.server(Leg::Backend);
    let mut socket = server.accept().unwrap();
    socket.write_all(&greeting_with_tls()).unwrap();
    read_packet(&mut near).unwrap();
    near.write_all(&login(false, "somebody")).unwrap();
    // The daemon asks for TLS itself.
    read_packet(&mut socket).unwrap();
    let mut raw = server.begin_tls(socket, ONLY_13[0]).unwrap();
    change(&mut raw);
    let login = raw.hear_some().unwrap();
    change(&mut raw);
    raw.say(&packet(login[3] + 1, OK)).unwrap();
    assert_eq!(read_packet(&mut near).unwrap().1, OK);
    let leg = Leg::Backend;
    let mut pair = Pair {
        raw,
        far: near,
        leg,
    };
    for _ in 0..3 {
        pair.down(&packet(0, b"\x03SELECT 1"));
        change(&mut pair.raw);
        pair.up(&packet(1, OK));
    }
    let before = pair.raw.updates;
    pair.down(&packet(0, b"\x03SELECT 1"));
    assert_eq!(pair.raw.updates, before + 1);
    pair.raw.close().unwrap();
    pair.raw.shut_down().unwrap();
    bench.ends_well(pair);
}

/// Returns the greeting of a server that has TLS.
fn greeting_with_tls() -> Vec<u8> {
    let mut greeting = greeting();
    // The lower half of the capabilities stands behind the first part of the challenge, and a NUL.
    let at = greeting
        .windows(9)
        .position(|it| it == b"01234567\0")
        .unwrap()
        + 9;
    greeting[at + 1] |= 0x08;
    greeting
}

/// Begins the session of a `PostgreSQL` client, whose start has reached the backend.
fn postgres(bench: &Bench, before: impl FnOnce(&mut RawTls)) -> Pair {
    let mut near = bench.dial(Leg::Client);
    near.write_all(SSL_REQUEST).unwrap();
    near.read_exact(&mut [0]).unwrap();
    let mut raw = RawTls::connect(near, ONLY_13[0]).unwrap();
    before(&mut raw);
    raw.say(&startup()).unwrap();
    let far = bench.server(Leg::Client).accept().unwrap();
    let leg = Leg::Client;
    let mut pair = Pair { raw, far, leg };
    pair.far_hears(&startup());
    pair
}

/// Plays a login with a password, and does something before the client says it.
fn password(pair: &mut Pair, before: impl FnOnce(&mut RawTls)) {
    pair.down(b"R\0\0\0\x08\0\0\0\x03");
    before(&mut pair.raw);
    pair.up(b"p\0\0\0\x0chunter2\0");
    pair.down(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
}

#[test]
fn a_postgresql_client_may_change_keys_before_it_starts() {
    let bench = Bench::speaking("postgres");
    let mut pair = postgres(&bench, change);
    password(&mut pair, |_| ());
    goes_on(&bench, pair);
}

#[test]
fn a_postgresql_client_may_change_keys_between_its_start_and_the_question_for_a_password() {
    let bench = Bench::speaking("postgres");
    let mut pair = postgres(&bench, |_| ());
    change(&mut pair.raw);
    password(&mut pair, |_| ());
    goes_on(&bench, pair);
}

#[test]
fn a_postgresql_client_may_change_keys_before_it_says_its_password() {
    let bench = Bench::speaking("postgres");
    let mut pair = postgres(&bench, |_| ());
    password(&mut pair, change);
    goes_on(&bench, pair);
}

#[test]
fn a_postgresql_server_may_change_keys_before_it_asks_for_a_password() {
    let bench = Bench::speaking("postgres");
    let mut near = bench.dial(Leg::Backend);
    near.write_all(&startup()).unwrap();
    let server = bench.server(Leg::Backend);
    let mut socket = server.accept().unwrap();
    socket.read_exact(&mut [0; 8]).unwrap();
    socket.write_all(b"S").unwrap();
    let mut raw = server.begin_tls(socket, ONLY_13[0]).unwrap();
    change(&mut raw);
    let start = raw.hear_data(startup().len()).unwrap();
    assert_eq!(start, startup());
    let leg = Leg::Backend;
    let mut pair = Pair {
        raw,
        far: near,
        leg,
    };
    change(&mut pair.raw);
    pair.up(b"R\0\0\0\x08\0\0\0\x03");
    change(&mut pair.raw);
    pair.down(b"p\0\0\0\x0chunter2\0");
    change(&mut pair.raw);
    pair.up(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
    bench.finish(pair);
}
