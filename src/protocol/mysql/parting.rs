//! A login that its client has given up, or that was never meant, brought to an end that a database does not count.
//!
//! Databases count connections that end before the login does, and block a host that has made too many
//! of them (`max_connect_errors`). To a database every client comes from the proxy's host, so that a
//! scanner or a health check could lock out all clients. A login that is refused is not counted: so the
//! proxy finishes what the client has begun, as a user that does not exist.
//!
//! Source: "Host Cache" in the MySQL manual; `SUM_CONNECT_ERRORS` counts "only protocol handshake
//! errors".

use super::capabilities::Capabilities;
use super::error::ERR;
use super::greeting::Greeting;
use super::packet::{self, Packet};

/// The user that the database's log names when a client has given up before it sent a name.
pub const CLIENT_LEFT: &str = "proxyd.client.left";

/// The user that the database's log names when a probe has seen what it wanted to see.
pub const PROBE: &str = "proxyd.probe";

/// The plugin of [`Parting::login`].
pub const PLUGIN: &[u8] = b"mysql_native_password";

/// How many questions are answered at most; more than any plugin has.
const PATIENCE: u8 = 8;

/// First byte of an `AuthSwitchRequest`.
const AUTH_SWITCH: u8 = 0xfe;
/// First byte of an OK packet.
const OK: u8 = 0x00;
/// `COM_QUIT`, as a packet.
const QUIT: &[u8] = &[1, 0, 0, 0, 1];

/// A login that is being given up.
#[derive(Debug)]
pub struct Parting {
    plugin: Vec<u8>,
    questions: u8,
}

/// What to do after a packet of the database.
#[derive(Debug, Eq, PartialEq)]
pub enum Next {
    /// Send this and read on.
    Answer(Vec<u8>),
    /// Send this and close.
    Close(&'static [u8]),
}

impl Parting {
    /// Gives up a login that has come to this plugin.
    #[must_use]
    pub fn new(plugin: &[u8]) -> Self {
        Self {
            plugin: plugin.to_vec(),
            questions: 0,
        }
    }

    /// Returns the payload of a login as this user, who does not exist, for a client that never sent one.
    #[must_use]
    pub fn login(greeting: &Greeting, user: &str) -> Vec<u8> {
        let wanted =
            Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION | Capabilities::PLUGIN_AUTH;
        let bits = wanted.bits() & greeting.capabilities().bits();
        let mut payload = bits.to_le_bytes().to_vec();
        // The largest packet, the character set utf8, and what is reserved.
        payload.extend_from_slice(&[0, 0, 0, 1, 33]);
        payload.extend_from_slice(&[0; 23]);
        payload.extend_from_slice(user.as_bytes());
        // The end of the user, no authentication data.
        payload.extend_from_slice(&[0, 0]);
        payload.extend_from_slice(PLUGIN);
        payload.push(0);
        payload
    }

    /// Returns the answer to what the database asked last: one that has the right form, but no
    /// password.
    ///
    /// Each plugin counts data of another length as an error of the protocol.
    #[must_use]
    pub fn answer(&self, is_first: bool) -> Vec<u8> {
        match (&self.plugin[..], is_first) {
            (b"" | b"mysql_native_password", _) | (b"parsec", true) => Vec::new(),
            (b"parsec", false) => vec![0; 96],
            (b"client_ed25519", _) => vec![0; 64],
            _ => vec![0],
        }
    }

    /// Takes the database's next packet.
    pub fn hear(&mut self, packet: Packet<'_>) -> Next {
        self.questions += 1;
        match packet.payload.split_first() {
            Some((&OK, _)) => Next::Close(QUIT),
            None | Some((&ERR, _)) => Next::Close(&[]),
            _ if self.questions > PATIENCE => Next::Close(&[]),
            Some((&AUTH_SWITCH, switch)) => {
                let plugin = switch.split(|byte| *byte == 0).next();
                self.plugin = plugin.unwrap_or_default().to_vec();
                Next::Answer(self.packet(packet.seq, true))
            }
            // `caching_sha2_password` says that OK follows.
            Some((1, [3])) => Next::Answer(Vec::new()),
            Some(_) => Next::Answer(self.packet(packet.seq, false)),
        }
    }

    fn packet(&self, seq: u8, is_first: bool) -> Vec<u8> {
        let mut out = Vec::new();
        packet::write(seq.wrapping_add(1), &self.answer(is_first), &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::mysql::greeting::tests::greeting;
    use crate::protocol::mysql::login::Login;

    fn packet(seq: u8, payload: &[u8]) -> Packet<'_> {
        Packet { seq, payload }
    }

    #[test]
    fn nobody_logs_in_without_a_password() {
        let payload = Parting::login(&greeting(0xdfff_f7ff, "caching_sha2_password"), CLIENT_LEFT);
        let login = Login::parse(&payload).expect("a login");
        assert_eq!(login.user(), CLIENT_LEFT);
        assert!(login.response().is_empty());
        assert!(!login.capabilities().contains(Capabilities::SSL));
    }

    #[test]
    fn each_plugin_is_answered_in_its_form() {
        for (plugin, length) in [
            ("mysql_native_password", 0),
            ("caching_sha2_password", 1),
            ("client_ed25519", 64),
            ("dialog", 1),
        ] {
            let mut parting = Parting::new(b"");
            let switch = [b"\xfe", plugin.as_bytes(), b"\0scramble\0"].concat();
            let Next::Answer(answer) = parting.hear(packet(4, &switch)) else {
                panic!("{plugin} is not answered");
            };
            assert_eq!(answer.len(), packet::HEADER_LEN + length, "{plugin}");
            assert_eq!(answer[3], 5);
        }
    }

    #[test]
    fn it_ends_with_the_verdict() {
        assert_eq!(
            Parting::new(b"").hear(packet(2, b"\xff\x15\x04no")),
            Next::Close(&[])
        );
        assert_eq!(
            Parting::new(b"").hear(packet(2, b"\0\0\0")),
            Next::Close(QUIT)
        );
    }

    proptest! {
        #[test]
        fn it_ends_whatever_is_asked(questions in proptest::collection::vec(any::<Vec<u8>>(), 9)) {
            let mut parting = Parting::new(b"dialog");
            let ends = |question: &Vec<u8>| matches!(parting.hear(packet(0, question)), Next::Close(_));
            prop_assert!(questions.iter().any(ends));
        }
    }
}
