//! One entry for each fuzz target, shared with the test that replays the recorded inputs.
//!
//! Each takes any bytes and panics when a promise of this room is broken.

#![expect(
    clippy::missing_panics_doc,
    reason = "to panic is what they are for, said above"
)]

pub(crate) mod driven;

use self::driven::Driven;
use super::mysql::auth::{Exchange, Leg, Legs, Step, Then};
use super::mysql::command::CommandWatch;
use super::mysql::greeting::{Greeting, ServerFirst};
use super::mysql::login::ClientFirst;
use super::mysql::packet::{self, LOGIN_LIMIT, Packet};
use super::mysql::parting::{self, Parting};
use super::mysql::second_login::SecondLogin;
use super::postgres::backend::SslReply;
use super::postgres::login::{self, Binding, Message, Rules};
use super::postgres::{Negotiation, Next};
use super::proxy_header::{self, Found, Header, v1, v2};
use super::watch::{Side, Watch};

/// Number of the command `COM_CHANGE_USER`.
const CHANGE_USER: u8 = 0x11;

/// Reads `data` as packets, each of them as everything that can come first.
pub fn mysql_packets(data: &[u8]) {
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

/// Watches what a client sends after its login. The first byte says how long the pieces are in which
/// it comes; they make no difference.
pub fn mysql_commands(data: &[u8]) {
    let Some((piece, data)) = data.split_first() else {
        return;
    };
    let whole = watch(data, data.len());
    assert_eq!(whole, watch(data, usize::from(*piece)));
    if let Some(at) = whole {
        assert_eq!(data[at + 3..at + 5], [0, CHANGE_USER]);
    }
}

/// Returns where a change of user begins.
fn watch(data: &[u8], piece: usize) -> Option<usize> {
    let (mut watch, mut fed) = (CommandWatch::default(), 0);
    data.chunks(piece.max(1)).find_map(|bytes| {
        let sighting = watch.feed(bytes);
        fed += bytes.len();
        sighting.map(|it| fed - bytes.len() + it.at - it.passed().len())
    })
}

/// Plays a login. The first byte chooses the legs; then come packets: the greeting, the login, and
/// what follows. A payload that starts with `c0` comes from the client, without that byte; one that
/// starts with `11` is a change of user; any other comes from the database. What is left when the
/// packets end is given up.
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
                break;
            };
            exchange = changing;
            continue;
        }
        let Ok(step) = play(&mut exchange, packet) else {
            break;
        };
        if let Then::Encrypt(_) = step.then {
            let _ = exchange.encrypted(b"sealed").expect("it was asked for");
        }
    }
    if let Some((parting, _)) = exchange.give_up() {
        part(parting, data);
    }
}

/// Gives up a login; the database says `data` again and again.
fn part(mut parting: Parting, data: &[u8]) {
    let said = Packet {
        seq: 0,
        payload: data,
    };
    let mut heard = 0;
    while let parting::Next::Answer(words) = parting.hear(said) {
        let whole = packet::split(&words, LOGIN_LIMIT).is_ok_and(|it| it.is_some());
        assert!(words.is_empty() || whole);
        heard += 1;
        assert!(heard < 10, "a parting comes to an end");
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

/// Reads the beginning of `data` as a second login that was kept, and goes on with it. The rest is what the
/// two sides send, in pieces: a byte with the length of the piece and, in its highest bit, whether it is the
/// database's. It makes no difference whether the login is kept and read back after each step.
pub fn mysql_second_login(data: &[u8]) {
    let Ok((login, length)) = SecondLogin::decode(data) else {
        return;
    };
    let (kept, mut data) = data.split_at(length);
    let mut again = Vec::new();
    login.encode(&mut again).expect("it was kept before");
    assert_eq!(again, kept, "there is one encoding of a state");
    let mut one = Driven::new(login.clone());
    let mut other = Driven::new(login);
    other.is_kept = true;
    while let Some((first, rest)) = data.split_first() {
        let (piece, behind) = rest.split_at(rest.len().min(usize::from(first & 0x7f)));
        let from = if first & 0x80 == 0 {
            Side::Client
        } else {
            Side::Server
        };
        one.receive(from, piece);
        other.receive(from, piece);
        data = behind;
    }
    for side in [Side::Client, Side::Server] {
        assert!(one.sent(side) == other.sent(side), "another conversation");
    }
    assert_eq!(one.failed, other.failed);
    assert_eq!(one.watch.clone().late(), other.watch.clone().late());
    assert_eq!(one.watch.last_words(), other.watch.last_words());
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

/// Plays a login behind the start-up message. The first byte chooses the rules; then come messages,
/// of which those of the kind `p` are the client's.
pub fn postgres_login(data: &[u8]) {
    let Some((choice, mut data)) = data.split_first() else {
        return;
    };
    let mut login = login::Login::new(Rules {
        binding: match choice & 3 {
            0 => Binding::Pass,
            1 => Binding::Refuse,
            _ => Binding::Hide,
        },
        let_passwords_through: choice & 4 != 0,
    });
    while let Ok(Some((message, length))) = Message::split(data) {
        data = &data[length..];
        let step = match message.kind {
            b'p' => login.from_client(message),
            _ => login.from_server(message),
        };
        match step {
            login::Step::Pass => {}
            login::Step::Replace(other) => {
                let (_, replaced) = Message::split(&other).expect("short").expect("whole");
                assert!(replaced == other.len() && replaced < length);
            }
            login::Step::Last | login::Step::Refuse(_) => return,
        }
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

    const TARGETS: [Target; 7] = [
        Target("mysql_auth", mysql_auth),
        Target("mysql_commands", mysql_commands),
        Target("mysql_packets", mysql_packets),
        Target("mysql_second_login", mysql_second_login),
        Target("postgres_login", postgres_login),
        Target("postgres_opening", postgres_opening),
        Target("proxy_header", proxy_header),
    ];

    /// Returns the recorded inputs of a target.
    fn recorded(name: &str) -> Vec<Vec<u8>> {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let files = corpus.join(name).read_dir();
        let files = files.expect("each target has a corpus");
        let paths = files.map(|file| file.expect("a file").path());
        let inputs: Vec<_> = paths
            .map(|path| std::fs::read(path).expect("a readable file"))
            .collect();
        assert!(!inputs.is_empty(), "{name} has recorded inputs");
        inputs
    }

    #[test]
    fn recorded_inputs_are_survived() {
        for Target(name, target) in TARGETS {
            for input in recorded(name) {
                target(&input);
            }
        }
    }

    #[test]
    fn damaged_inputs_are_survived() {
        let damage = prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..5);
        for Target(name, target) in TARGETS {
            let inputs = recorded(name);
            let some = (prop::sample::select(inputs), &damage);
            proptest!(|((mut input, damage) in some)| {
                for (at, byte) in damage {
                    let at = at.index(input.len());
                    input[at] = byte;
                }
                target(&input);
            });
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
