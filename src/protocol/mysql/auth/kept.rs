//! A login in the middle, as bytes that can be kept.
//!
//! A [`Session`] is a byte of flags (from the lowest bit: the client's leg and the server's in two bits each,
//! passwords may cross a network, the client and the server know of several factors, there is a scramble),
//! four bytes of capabilities, and the scramble. An [`Exchange`] is a session, the next number on either leg,
//! a byte that says what is awaited, with the highest bit for a switch, the plugin, and the password if one
//! waits for its key. What has no fixed length follows its length in two bytes. Numbers have their least
//! significant byte first.

use super::line::Line;
use super::password::Password;
use super::{Exchange, Factors, Leg, Legs, Mechanism, Session, State};
use crate::protocol::bytes::{Reader, put_sized};
use crate::protocol::mysql::capabilities::Capabilities;
use crate::protocol::mysql::greeting::Scramble;
use crate::protocol::watch::TooLong;

/// The longest name of a plugin that is kept; those that exist have up to 40 bytes.
const PLUGIN: usize = 256;
/// The longest password that is kept; an RSA key of 4096 bits takes 470 bytes.
const PASSWORD: usize = 1024;

const CLEAR_ALLOWED: u8 = 0x10;
const CLIENT_FACTORS: u8 = 0x20;
const SERVER_FACTORS: u8 = 0x40;
const HAS_SCRAMBLE: u8 = 0x80;
/// Set in the byte of what is awaited if the database's last question was a switch.
const SWITCHED: u8 = 0x80;

impl Leg {
    fn to_bits(self) -> u8 {
        match self {
            Self::Loopback => 0,
            Self::Network => 1,
            Self::Tls => 2,
            Self::Unix => 3,
        }
    }

    fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Loopback,
            1 => Self::Network,
            2 => Self::Tls,
            _ => Self::Unix,
        }
    }
}

impl Session {
    /// The most bytes that [`Self::put`] writes.
    pub(in crate::protocol::mysql) const MAX_ENCODED: usize = 1 + 4 + size_of::<Scramble>();

    /// Appends it.
    pub(in crate::protocol::mysql) fn put(&self, out: &mut Vec<u8>) {
        let flags = [
            (self.legs.clear_allowed, CLEAR_ALLOWED),
            (self.factors.client, CLIENT_FACTORS),
            (self.factors.server, SERVER_FACTORS),
            (self.scramble.is_some(), HAS_SCRAMBLE),
        ];
        let legs = self.legs.client.to_bits() | self.legs.server.to_bits() << 2;
        let set = flags.iter().filter(|(is_set, _)| *is_set);
        out.push(set.fold(legs, |flags, (_, flag)| flags | flag));
        out.extend_from_slice(&self.capabilities.bits().to_le_bytes());
        out.extend(self.scramble.iter().flatten());
    }

    /// Reads what [`Self::put`] wrote.
    pub(in crate::protocol::mysql) fn read_back(reader: &mut Reader<'_>) -> Option<Self> {
        let flags = reader.u8()?;
        let is_set = |flag| flags & flag != 0;
        Some(Self {
            legs: Legs {
                client: Leg::from_bits(flags),
                server: Leg::from_bits(flags >> 2),
                clear_allowed: is_set(CLEAR_ALLOWED),
            },
            factors: Factors {
                client: is_set(CLIENT_FACTORS),
                server: is_set(SERVER_FACTORS),
            },
            capabilities: Capabilities::from_bits(reader.u32_le()?),
            scramble: if is_set(HAS_SCRAMBLE) {
                Some(reader.array()?)
            } else {
                None
            },
        })
    }
}

impl State {
    /// Returns the number by which it is kept.
    fn number(&self) -> u8 {
        match self {
            Self::Answer => 0,
            Self::Key(_) => 1,
            Self::KeyForClient => 2,
            Self::Over => 3,
            Self::Password => 4,
            Self::Refused => 5,
            Self::Sealed => 6,
            Self::SealedAnswer => 7,
            Self::Verdict => 8,
        }
    }

    /// Returns the state of that number, of which a password comes next in `reader`.
    fn read_back(number: u8, reader: &mut Reader<'_>) -> Option<Self> {
        Some(match number {
            0 => Self::Answer,
            1 => Self::Key(Password::read_back(reader)?),
            2 => Self::KeyForClient,
            3 => Self::Over,
            4 => Self::Password,
            5 => Self::Refused,
            6 => Self::Sealed,
            7 => Self::SealedAnswer,
            8 => Self::Verdict,
            _ => return None,
        })
    }
}

impl Password {
    fn read_back(reader: &mut Reader<'_>) -> Option<Self> {
        let bytes = reader.sized(PASSWORD)?;
        // Every password has its NUL.
        (bytes.last() == Some(&0)).then(|| Self::new(bytes))
    }
}

impl Exchange {
    /// The most bytes that [`Self::put`] writes.
    pub(in crate::protocol::mysql) const MAX_ENCODED: usize =
        Session::MAX_ENCODED + 3 + 2 + PLUGIN + 2 + PASSWORD;

    /// Appends it; on an error a part of it may have been appended.
    pub(in crate::protocol::mysql) fn put(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        self.session.put(out);
        let switched = if self.switched { SWITCHED } else { 0 };
        let state = self.state.number() | switched;
        out.extend_from_slice(&[self.client.peek(), self.server.peek(), state]);
        put_sized(&self.plugin, PLUGIN, out)?;
        match &self.state {
            State::Key(password) => put_sized(password.bytes(), PASSWORD, out),
            _ => Ok(()),
        }
    }

    /// Reads what [`Self::put`] wrote.
    pub(in crate::protocol::mysql) fn read_back(reader: &mut Reader<'_>) -> Option<Self> {
        let session = Session::read_back(reader)?;
        let [client, server, state] = reader.array()?;
        let plugin = reader.sized(PLUGIN)?;
        Some(Self {
            client: Line::at(client),
            server: Line::at(server),
            mechanism: Mechanism::of(plugin),
            plugin: plugin.to_vec(),
            switched: state & SWITCHED != 0,
            session,
            state: State::read_back(state & !SWITCHED, reader)?,
        })
    }
}
