//! One entry for each fuzz target, shared with the test that replays the recorded inputs.
//!
//! Each takes any bytes and panics when a promise of this room is broken.

#![expect(
    clippy::missing_panics_doc,
    reason = "to panic is what they are for, said above"
)]

use super::mysql::auth::{Exchange, Leg, Legs, Step, Then};
use super::mysql::command::CommandWatch;
use super::mysql::greeting::{Greeting, ServerFirst};
use super::mysql::login::ClientFirst;
use super::mysql::packet::{self, LOGIN_LIMIT, Packet};
use super::postgres::backend::SslReply;
use super::postgres::{Negotiation, Next};
use super::proxy_header::{self, Found, Header, v1, v2};

/// Number of the command `COM_CHANGE_USER`.
const CHANGE_USER: u8 = 0x11;

/// Reads `data` as packets, each of them as everything that can come first.
pub fn mysql_packets(data: &[u8]) {
    let _ = CommandWatch::default().feed(data);
    for packet in packets(data) {
        if let Ok(ServerFirst::Greeting(greeting)) = ServerFirst::parse(packet.payload) {
            let mut out = Vec::new();
            greeting.write(&mut out);
            assert_eq!(
                &out[packet::HEADER_LEN..],
                packet.payload,
                "a greeting stays as it is"
            );
            let offered = greeting.with_ssl(true);
            assert_eq!(offered.clone().with_ssl(false).with_ssl(true), offered);
        }
        if let Ok(ClientFirst::Login(login)) = ClientFirst::parse(packet.payload) {
            let mut out = Vec::new();
            login.write(packet.seq, false, &mut out);
            assert_eq!(
                &out[packet::HEADER_LEN..],
                packet.payload,
                "a login stays as it is"
            );
        }
    }
}

/// Plays a login. The first byte chooses the legs; then come packets: the greeting, the login, and
/// what follows. A payload that starts with `c0` comes from the client, without that byte; one that
/// starts with `11` is a change of user; any other comes from the database.
pub fn mysql_auth(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let legs = Legs {
        client: leg(choice & 3),
        server: leg(choice >> 2 & 3),
        clear_allowed: choice & 0x10 != 0,
    };
    let mut packets = packets(data);
    let (Some(greeting), Some(login)) = (packets.next().and_then(greeting), packets.next()) else {
        return;
    };
    let Ok((mut exchange, _)) = Exchange::begin(&greeting, login, legs) else {
        return;
    };
    for packet in packets {
        if packet.payload.first() == Some(&CHANGE_USER) {
            let Ok((changing, _)) = Exchange::change_user(exchange.session(), packet) else {
                return;
            };
            exchange = changing;
            continue;
        }
        let Ok(step) = play(&mut exchange, packet) else {
            return;
        };
        if let Then::Encrypt(_) = step.then {
            let _ = exchange.encrypted(b"sealed").expect("it was asked for");
        }
    }
}

fn play(
    exchange: &mut Exchange,
    packet: Packet<'_>,
) -> Result<Step, super::mysql::auth::AuthError> {
    match packet.payload.split_first() {
        Some((0xc0, payload)) => exchange.from_client(Packet { payload, ..packet }),
        _ => exchange.from_server(packet),
    }
}

fn greeting(packet: Packet<'_>) -> Option<Greeting> {
    match ServerFirst::parse(packet.payload) {
        Ok(ServerFirst::Greeting(greeting)) => Some(greeting),
        _ => None,
    }
}

fn leg(number: u8) -> Leg {
    match number {
        0 => Leg::Tls,
        1 => Leg::Network,
        2 => Leg::Loopback,
        _ => Leg::Unix,
    }
}

fn packets(mut data: &[u8]) -> impl Iterator<Item = Packet<'_>> {
    std::iter::from_fn(move || {
        let (packet, consumed) = packet::split(data, LOGIN_LIMIT).ok()??;
        data = &data[consumed..];
        Some(packet)
    })
}

/// Reads `data` as the messages of a client that empties its requests one by one, and as the reply
/// of a database.
pub fn postgres_opening(mut data: &[u8]) {
    let _ = SslReply::parse(data);
    let mut negotiation = Negotiation::default();
    while let Ok(Next::AcceptTls | Next::Decline) = negotiation.next(&data[..data.len().min(8)]) {
        data = &data[8..];
    }
    if let Ok(Next::Cancel(message)) = negotiation.next(data) {
        assert!(data.starts_with(&message) && message.len() <= 268);
    }
}

/// Reads `data` as a PROXY header; what it says is written and read back.
pub fn proxy_header(data: &[u8]) {
    let Ok(Found::Header(header, consumed)) = proxy_header::parse(data) else {
        return;
    };
    assert!(consumed <= data.len());
    if let Header::Proxied { endpoints, tls } = header {
        let (mut text, mut binary, mut full) = (Vec::new(), Vec::new(), Vec::new());
        v1::write(Some(endpoints), &mut text);
        v2::write(Some(endpoints), None, &mut binary);
        v2::write(Some(endpoints), tls.as_ref(), &mut full);
        let read = |bytes: &[u8]| match proxy_header::parse(bytes) {
            Ok(Found::Header(header, _)) => header,
            other => panic!("a written header is read as {other:?}"),
        };
        assert_eq!(read(&text), read(&binary));
        let Header::Proxied { tls: again, .. } = read(&full) else {
            panic!("a client became none");
        };
        // Names that are too long to write are left out; what is left stays.
        let mut once = Vec::new();
        v2::write(Some(endpoints), again.as_ref(), &mut once);
        assert_eq!(once, full, "what is written is read back");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    struct Target(&'static str, fn(&[u8]));

    const TARGETS: [Target; 4] = [
        Target("mysql_auth", mysql_auth),
        Target("mysql_packets", mysql_packets),
        Target("postgres_opening", postgres_opening),
        Target("proxy_header", proxy_header),
    ];

    #[test]
    fn recorded_inputs_are_survived() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for Target(name, target) in TARGETS {
            let files = corpus
                .join(name)
                .read_dir()
                .expect("each target has a corpus");
            let inputs: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
            assert!(!inputs.is_empty(), "{name} has recorded inputs");
            for input in inputs {
                target(&std::fs::read(input).expect("a readable file"));
            }
        }
    }

    proptest! {
        #[test]
        fn any_input_is_survived(data: Vec<u8>) {
            for Target(_, target) in TARGETS {
                target(&data);
            }
        }
    }
}
