use super::*;
use crate::protocol::mysql::greeting::tests as greetings;
use crate::protocol::mysql::login::tests as logins;
use crate::protocol::mysql::packet;

pub(crate) mod conversations;

const SHA2: &str = "caching_sha2_password";
const KEY_REQUEST: &[u8] = &[0x02];
const MULTI_FACTOR: u32 = 0x1000_0000;
const TLS_TO_NETWORK: Legs = legs(Leg::Tls, Leg::Network);

pub(crate) const fn legs(client: Leg, server: Leg) -> Legs {
    Legs {
        client,
        server,
        clear_allowed: false,
    }
}

fn packet(seq: u8, payload: &[u8]) -> Packet<'_> {
    Packet { seq, payload }
}

pub(crate) fn wire(seq: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    packet::write(seq, payload, &mut out);
    out
}

fn begin_with(legs: Legs, plugin: &str, response: &[u8]) -> (Exchange, Step) {
    let greeting = greetings::greeting(0xdfff_f7ff, SHA2);
    let login = logins::sample(logins::CLIENT | MULTI_FACTOR, response, plugin);
    let seq = if legs.client == Leg::Tls { 2 } else { 1 };
    Exchange::begin(&greeting, packet(seq, &login), legs).expect("a login")
}

fn begin(legs: Legs, plugin: &str) -> Exchange {
    let (exchange, step) = begin_with(legs, plugin, &[9; 20]);
    assert!(matches!(step.then, Then::Continue));
    assert!(step.to_client.is_empty() && !step.to_server.is_empty());
    exchange
}

/// Returns what a first login leaves that brought the scramble of `a`s.
pub(crate) fn session(legs: Legs) -> Session {
    let mut exchange = begin(legs, "mysql_native_password");
    let switch = b"\xfemysql_native_password\0aaaaaaaaaaaaaaaaaaaa\0";
    let (client, server) = next_numbers(&exchange);
    server_to_client(&mut exchange, server, switch, client);
    exchange.session()
}

/// Returns the payload of a change of user to `me`.
pub(crate) fn change_to_me(plugin: &str, response: &[u8]) -> Vec<u8> {
    let length = u8::try_from(response.len()).expect("short");
    let command = [
        b"\x11me\0",
        &[length][..],
        response,
        b"\0\x21\0",
        plugin.as_bytes(),
        b"\0",
    ];
    command.concat()
}

/// Tells whether the database is asked for its key.
pub(crate) fn awaits_key(exchange: &Exchange) -> bool {
    matches!(exchange.state, State::Key(_) | State::KeyForClient)
}

/// Returns the numbers of the next packets of the client and the server.
pub(crate) fn next_numbers(exchange: &Exchange) -> (u8, u8) {
    (exchange.client.peek(), exchange.server.peek())
}

/// Takes a packet from the server that must reach the client under the given number.
fn server_to_client(exchange: &mut Exchange, seq: u8, payload: &[u8], as_seq: u8) -> Then {
    let step = exchange.from_server(packet(seq, payload)).expect("in turn");
    assert_eq!(step.to_client, wire(as_seq, payload));
    assert!(step.to_server.is_empty());
    step.then
}

/// Takes a packet from the client that must reach the server under the given number.
fn client_to_server(exchange: &mut Exchange, seq: u8, payload: &[u8], as_seq: u8) {
    let step = exchange.from_client(packet(seq, payload)).expect("in turn");
    assert_eq!(*step.to_server, wire(as_seq, payload));
    assert!(step.to_client.is_empty());
}

fn refused(step: &Step, seq: u8, refusal: Refusal) {
    let mut error = Vec::new();
    refusal.packet().write(seq, &mut error);
    assert!(
        matches!(step.then, Then::Refused(found) if found == refusal),
        "{step:?}"
    );
    assert_eq!(step.to_client, error);
    assert!(step.to_server.is_empty());
}

#[test]
fn the_login_fits_the_database_leg() {
    for (legs, seq, ssl) in [
        (legs(Leg::Tls, Leg::Network), 1, 0),
        (legs(Leg::Tls, Leg::Unix), 1, 0),
        (legs(Leg::Tls, Leg::Tls), 2, 0x08),
        (legs(Leg::Network, Leg::Tls), 2, 0x08),
    ] {
        let (_, step) = begin_with(legs, SHA2, &[9; 32]);
        assert_eq!(
            (step.to_server[3], step.to_server[5] & 0x08),
            (seq, ssl),
            "{legs:?}"
        );
    }
}

#[test]
fn numbers_are_shifted_by_the_ssl_request() {
    let mut exchange = begin(TLS_TO_NETWORK, "mysql_native_password");
    let accepted = server_to_client(&mut exchange, 2, b"\0\0\0\x02\0\0\0", 3);
    assert!(matches!(accepted, Then::Accepted));

    let mut exchange = begin(legs(Leg::Network, Leg::Tls), "mysql_native_password");
    let rejected = server_to_client(&mut exchange, 3, b"\xff\x15\x04#28000no", 2);
    assert!(matches!(rejected, Then::Rejected));
    assert_eq!(
        exchange
            .from_server(packet(4, b"\0"))
            .expect_err("it is over"),
        AuthError::NotExpecting
    );
}

#[test]
fn a_fast_login_passes() {
    let mut exchange = begin(TLS_TO_NETWORK, SHA2);
    server_to_client(&mut exchange, 2, FAST_OK, 3);
    let error = exchange
        .from_client(packet(4, b"pw\0"))
        .expect_err("not its turn");
    assert_eq!(error, AuthError::ClientOutOfTurn);

    let mut exchange = begin(TLS_TO_NETWORK, SHA2);
    server_to_client(&mut exchange, 2, FAST_OK, 3);
    let then = server_to_client(&mut exchange, 3, b"\0\0\0\x02\0\0\0", 4);
    assert!(matches!(then, Then::Accepted));
}

/// Plays a full login up to the point where the database's key has come.
fn until_key(exchange: &mut Exchange) -> Sealing {
    server_to_client(exchange, 2, FULL_AUTH, 3);
    let step = exchange
        .from_client(packet(4, b"secret\0"))
        .expect("the password");
    assert_eq!(*step.to_server, wire(3, KEY_REQUEST));
    let step = exchange
        .from_server(packet(4, b"\x01-----BEGIN"))
        .expect("the key");
    assert!(step.to_client.is_empty() && step.to_server.is_empty());
    match step.then {
        Then::Encrypt(sealing) => sealing,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_password_goes_under_the_key_of_a_database_without_tls() {
    for server in [Leg::Network, Leg::Loopback] {
        let mut exchange = begin(legs(Leg::Tls, server), SHA2);
        let sealing = until_key(&mut exchange);
        assert_eq!(sealing.key, b"-----BEGIN");
        let plain: Vec<u8> = sealing
            .message
            .iter()
            .zip(b"ABCDEFG")
            .map(|(a, b)| a ^ b)
            .collect();
        assert_eq!(plain, b"secret\0");
        let step = exchange.encrypted(&[5; 256]).expect("asked for");
        assert_eq!(*step.to_server, wire(5, &[5; 256]));
        let then = server_to_client(&mut exchange, 6, b"\0\0\0\x02\0\0\0", 5);
        assert!(matches!(then, Then::Accepted));
    }
}

#[test]
fn the_scramble_of_a_switch_is_the_one_that_counts() {
    let mut exchange = begin(TLS_TO_NETWORK, "mysql_native_password");
    let switch = b"\xfecaching_sha2_password\0aaaaaaaaaaaaaaaaaaaa\0";
    server_to_client(&mut exchange, 2, switch, 3);
    client_to_server(&mut exchange, 4, &[8; 32], 3);
    server_to_client(&mut exchange, 4, FULL_AUTH, 5);
    let step = exchange.from_client(packet(6, b"\0")).expect("a password");
    assert_eq!(*step.to_server, wire(5, KEY_REQUEST));
    let step = exchange.from_server(packet(6, b"\x01K")).expect("a key");
    assert!(matches!(step.then, Then::Encrypt(sealing) if *sealing.message == *b"a"));
}

#[test]
fn an_error_instead_of_the_key_reaches_the_client() {
    let mut exchange = begin(TLS_TO_NETWORK, SHA2);
    server_to_client(&mut exchange, 2, FULL_AUTH, 3);
    let step = exchange
        .from_client(packet(4, b"secret\0"))
        .expect("the password");
    assert_eq!(*step.to_server, wire(3, KEY_REQUEST));
    let then = server_to_client(&mut exchange, 4, b"\xff\x15\x04#28000no key", 5);
    assert!(matches!(then, Then::Rejected));
}

#[test]
fn a_failed_encryption_is_told_to_the_client() {
    let mut exchange = begin(TLS_TO_NETWORK, SHA2);
    let _ = until_key(&mut exchange);
    let error = ErrorPacket::unsupported_login("too long");
    let mut packet = Vec::new();
    error.write(5, &mut packet);
    assert_eq!(exchange.last_words(&error), packet);
    let (_, words) = exchange.give_up().expect("the database waits");
    assert_eq!(words, wire(5, b"\0"));
}

#[test]
fn passwords_pass_where_both_legs_are_secure() {
    for (server, login_seq) in [(Leg::Tls, 2), (Leg::Unix, 1)] {
        let mut exchange = begin(legs(Leg::Tls, server), SHA2);
        server_to_client(&mut exchange, login_seq + 1, FULL_AUTH, 3);
        client_to_server(&mut exchange, 4, b"secret\0", login_seq + 2);
        server_to_client(&mut exchange, login_seq + 3, b"\0\0\0\x02\0\0\0", 5);
    }
}

#[test]
fn a_client_may_use_the_key_itself() {
    let plain = legs(Leg::Network, Leg::Network);
    for (legs, base) in [(TLS_TO_NETWORK, 1), (plain, 0)] {
        let mut exchange = begin(legs, SHA2);
        server_to_client(&mut exchange, 2, FULL_AUTH, 2 + base);
        client_to_server(&mut exchange, 3 + base, KEY_REQUEST, 3);
        server_to_client(&mut exchange, 4, b"\x01-----BEGIN", 4 + base);
        client_to_server(&mut exchange, 5 + base, &[3; 256], 5);
        server_to_client(&mut exchange, 6, b"\0\0\0\x02\0\0\0", 6 + base);
    }
}

#[test]
fn a_password_instead_of_a_ciphertext_is_stopped() {
    let mut exchange = begin(legs(Leg::Network, Leg::Network), SHA2);
    server_to_client(&mut exchange, 2, FULL_AUTH, 2);
    let step = exchange
        .from_client(packet(3, b"secret\0"))
        .expect("in turn");
    refused(&step, 4, Refusal::PasswordInClear);
}

#[test]
fn a_client_without_tls_cannot_log_in_fully_behind_tls() {
    let mut exchange = begin(legs(Leg::Network, Leg::Tls), SHA2);
    let step = exchange.from_server(packet(3, FULL_AUTH)).expect("in turn");
    refused(&step, 2, Refusal::ClientNeedsTls);
}

#[test]
fn clear_passwords_stay_off_the_network() {
    for plugin in ["mysql_clear_password", "dialog", "never_heard_of"] {
        let (_, step) = begin_with(TLS_TO_NETWORK, plugin, b"secret\0");
        refused(&step, 3, Refusal::PasswordInClear);

        let mut exchange = begin(TLS_TO_NETWORK, SHA2);
        let switch = [b"\xfe", plugin.as_bytes(), b"\0"].concat();
        let step = exchange.from_server(packet(2, &switch)).expect("in turn");
        refused(&step, 3, Refusal::PasswordInClear);
    }
}

/// Plays a login up to a switch to `sha256_password`, which the client was told of.
fn switched_to_sha256(legs: Legs) -> Exchange {
    let mut exchange = begin(legs, SHA2);
    let switch = b"\xfesha256_password\0aaaaaaaaaaaaaaaaaaaa\0";
    server_to_client(&mut exchange, 2, switch, 3);
    exchange
}

#[test]
fn a_password_of_sha256_goes_under_the_key_of_a_database_without_tls() {
    for server in [Leg::Network, Leg::Loopback, Leg::Unix] {
        let mut exchange = switched_to_sha256(legs(Leg::Tls, server));
        let step = exchange.from_client(packet(4, b"\0\0")).expect("in turn");
        assert_eq!(*step.to_server, wire(3, b"\x01"));
        let step = exchange.from_server(packet(4, b"\x01K")).expect("the key");
        assert!(matches!(step.then, Then::Encrypt(sealing) if *sealing.message == *b"aa"));
        let step = exchange.encrypted(&[5; 256]).expect("asked for");
        assert_eq!(*step.to_server, wire(5, &[5; 256]));
        let then = server_to_client(&mut exchange, 6, b"\0\0\0\x02\0\0\0", 5);
        assert!(matches!(then, Then::Accepted));
    }
}

#[test]
fn an_account_of_sha256_without_password_needs_no_key() {
    let mut exchange = switched_to_sha256(TLS_TO_NETWORK);
    client_to_server(&mut exchange, 4, NO_PASSWORD, 3);
}

#[test]
fn a_password_of_sha256_that_comes_with_the_login_goes_under_the_key_too() {
    for server in [Leg::Network, Leg::Loopback, Leg::Unix] {
        let legs = legs(Leg::Tls, server);
        let (mut exchange, step) = begin_with(legs, "sha256_password", b"\0p\0");
        let sent = Login::parse(&step.to_server[4..]).expect("a login");
        assert_eq!(sent.response(), [1]);
        assert_eq!(sent.plugin(), Some(&b"sha256_password"[..]));
        let step = exchange.from_server(packet(2, b"\x01K")).expect("the key");
        assert!(matches!(step.then, Then::Encrypt(sealing) if *sealing.message == *b"A2C"));
        let step = exchange.encrypted(&[5; 256]).expect("asked for");
        assert_eq!(*step.to_server, wire(3, &[5; 256]));
        let then = server_to_client(&mut exchange, 4, b"\0\0\0\x02\0\0\0", 3);
        assert!(matches!(then, Then::Accepted));
    }
}

#[test]
fn an_account_that_has_another_plugin_gets_no_password_of_sha256() {
    let (mut exchange, _) = begin_with(TLS_TO_NETWORK, "sha256_password", b"secret\0");
    let switch = b"\xfemysql_native_password\0aaaaaaaaaaaaaaaaaaaa\0";
    server_to_client(&mut exchange, 2, switch, 3);
    client_to_server(&mut exchange, 4, &[7; 20], 3);
}

#[test]
fn a_client_of_sha256_may_ask_for_the_key_itself() {
    for client in [Leg::Network, Leg::Tls] {
        let legs = legs(client, Leg::Network);
        let (mut exchange, _) = begin_with(legs, "sha256_password", b"\x01");
        let base = if client == Leg::Tls { 3 } else { 2 };
        server_to_client(&mut exchange, 2, b"\x01K", base);
        client_to_server(&mut exchange, base + 1, &[3; 256], 3);
        server_to_client(&mut exchange, 4, b"\0\0\0\x02\0\0\0", base + 2);
    }
}

#[test]
fn a_login_without_password_passes_whatever_its_plugin() {
    for response in [&b""[..], b"\0"] {
        let (_, step) = begin_with(TLS_TO_NETWORK, "mysql_clear_password", response);
        assert!(matches!(step.then, Then::Continue));
    }
}

#[test]
fn a_blank_login_opens_no_way_for_a_password() {
    for question in [&b"\x04Password: "[..], b"\x01", b"\x02Code: "] {
        let (mut exchange, _) = begin_with(TLS_TO_NETWORK, "dialog", b"");
        let step = exchange.from_server(packet(2, question)).expect("in turn");
        refused(&step, 3, Refusal::PasswordInClear);
    }
}

#[test]
fn clear_passwords_pass_on_private_legs() {
    let mut exchange = begin(legs(Leg::Tls, Leg::Loopback), SHA2);
    server_to_client(&mut exchange, 2, b"\xfemysql_clear_password\0", 3);
    client_to_server(&mut exchange, 4, b"secret\0", 3);
}

#[test]
fn clear_passwords_pass_where_the_configuration_allows_them() {
    let allowed = Legs {
        clear_allowed: true,
        ..TLS_TO_NETWORK
    };
    let (mut exchange, _) = begin_with(allowed, "mysql_clear_password", b"secret\0");
    server_to_client(&mut exchange, 2, b"\xfedialog\0\x04Password: ", 3);
    client_to_server(&mut exchange, 4, b"secret\0", 3);
}

#[test]
fn the_old_switch_keeps_the_scramble() {
    let mut exchange = begin(TLS_TO_NETWORK, "mysql_native_password");
    server_to_client(&mut exchange, 2, b"\xfe", 3);
    assert_eq!(exchange.mechanism, Mechanism::Challenge);
    assert_eq!(
        exchange.session.scramble.as_ref(),
        Some(b"ABCDEFGHIJKLMNOPQRST")
    );
    client_to_server(&mut exchange, 4, b"12345678\0", 3);
}

#[test]
fn a_second_factor_is_a_switch() {
    let mut exchange = begin(TLS_TO_NETWORK, SHA2);
    let factor = b"\x02mysql_clear_password\0";
    let step = exchange.from_server(packet(2, factor)).expect("in turn");
    refused(&step, 3, Refusal::PasswordInClear);
}

#[test]
fn questions_cannot_be_stacked() {
    let mut exchange = begin(TLS_TO_NETWORK, SHA2);
    server_to_client(&mut exchange, 2, FULL_AUTH, 3);
    let switch = exchange.from_server(packet(
        3,
        b"\xfemysql_native_password\0aaaaaaaaaaaaaaaaaaaa\0",
    ));
    assert_eq!(
        switch.expect_err("the password is on its way"),
        AuthError::ServerOutOfTurn
    );
}

#[test]
fn a_call_for_the_password_does_not_wait_behind_another_question() {
    let mut exchange = begin(TLS_TO_NETWORK, "mysql_native_password");
    let switch = b"\xfecaching_sha2_password\0aaaaaaaaaaaaaaaaaaaa\0";
    server_to_client(&mut exchange, 2, switch, 3);
    let call = exchange.from_server(packet(3, FULL_AUTH));
    assert_eq!(
        call.expect_err("the proof comes first"),
        AuthError::ServerOutOfTurn
    );
}

#[test]
fn lost_packets_are_noticed() {
    let mut exchange = begin(TLS_TO_NETWORK, SHA2);
    let error = exchange
        .from_server(packet(3, b"\0"))
        .expect_err("2 comes next");
    assert_eq!(
        error,
        AuthError::Sequence {
            expected: 2,
            found: 3
        }
    );
}

#[test]
fn debug_shows_no_password() {
    let mut exchange = begin(TLS_TO_NETWORK, SHA2);
    server_to_client(&mut exchange, 2, FULL_AUTH, 3);
    let step = exchange
        .from_client(packet(4, b"secret\0"))
        .expect("the password");
    let text = format!("{exchange:?} {step:?}");
    assert!(
        text.contains("Password(..)") && !text.contains("115, 101"),
        "{text}"
    );
}

/// Begins a change of user in a session whose login brought the scramble of `a`s.
fn change_user(legs: Legs, plugin: &str, response: &[u8]) -> (Exchange, Step) {
    let command = change_to_me(plugin, response);
    let begun = Exchange::change_user(session(legs), packet(0, &command));
    let (exchange, step) = begun.expect("a change of user");
    if matches!(step.then, Then::Continue) {
        assert_eq!(*step.to_server, wire(0, &command));
    }
    (exchange, step)
}

#[test]
fn a_change_of_user_is_carried_like_a_login() {
    let (mut exchange, _) = change_user(TLS_TO_NETWORK, SHA2, &[9; 32]);
    server_to_client(&mut exchange, 1, FULL_AUTH, 1);
    let step = exchange
        .from_client(packet(2, b"a\0"))
        .expect("the password");
    assert_eq!(*step.to_server, wire(2, KEY_REQUEST));
    let step = exchange.from_server(packet(3, b"\x01K")).expect("the key");
    assert!(matches!(step.then, Then::Encrypt(sealing) if *sealing.message == *b"\0a"));
    let step = exchange.encrypted(&[5; 256]).expect("asked for");
    assert_eq!(*step.to_server, wire(4, &[5; 256]));
    let then = server_to_client(&mut exchange, 5, b"\0\0\0\x02\0\0\0", 3);
    assert!(matches!(then, Then::Accepted));
}

#[test]
fn a_change_of_user_in_the_clear_stays_off_the_network() {
    let (_, step) = change_user(TLS_TO_NETWORK, "mysql_clear_password", b"secret\0");
    refused(&step, 1, Refusal::PasswordInClear);
}
