//! Watches a client's commands for a second login.
//!
//! After login the driver only copies bytes. `COM_CHANGE_USER` logs in again inside the session,
//! and that login needs the same care as the first where the two legs are unlike: the client
//! believes in its TLS and sends the password itself, which a database without TLS does not take,
//! and which must not cross a network. So the driver stops copying there and carries the login by
//! [`Exchange`](super::auth::Exchange). Compression hides commands; such a session is told so by
//! [`CommandWatch::can_watch`].
//!
//! A client may send commands without waiting for answers. The answer to a query would then be taken for
//! the verdict on a change of user behind it, so that such a one is sighted as out of turn.
//!
//! A command is a packet with sequence number 0 whose first byte is its number. Source: "Command
//! Phase" and "`COM_CHANGE_USER`" in the MySQL source documentation.

use thiserror::Error;

use super::capabilities::Capabilities;
use super::packet::HEADER_LEN;
use crate::protocol::bytes::Reader;

/// `COM_QUIT`, `COM_STMT_SEND_LONG_DATA` and `COM_STMT_CLOSE`, which have no answer.
const UNANSWERED: [u8; 3] = [0x01, 0x18, 0x19];
/// `COM_CHANGE_USER`.
const CHANGE_USER: u8 = 0x11;
/// Longest payload of one packet; a packet of that length is continued in the next.
const FULL: u32 = 0xff_ffff;
/// Bits of the last byte that [`CommandWatch::put`] writes; the two lowest are the length of the header.
const AT_COMMAND: u8 = 0x04;
const CONTINUED: u8 = 0x08;
const COMES_ROUND: u8 = 0x10;
const AWAITS_DATABASE: u8 = 0x20;
const HEADER_LENGTH: u8 = 0x03;
/// `CLIENT_COMPRESS` and `CLIENT_ZSTD_COMPRESSION_ALGORITHM`.
const COMPRESSION: u32 = 0x0400_0020;

/// Follows the packets that a client sends after its login, without keeping them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CommandWatch {
    header: [u8; HEADER_LEN],
    header_len: usize,
    /// Bytes of the current payload still to come.
    remaining: u32,
    /// The next byte is the number of a command.
    at_command: bool,
    /// The packet before this one goes on in it.
    continued: bool,
    /// The packet before this one was data with the highest number.
    comes_round: bool,
    turn: Turn,
}

/// Who has to speak next.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Turn {
    #[default]
    Client,
    /// A command went by that has an answer, and nothing has come back since.
    Database,
}

impl CommandWatch {
    /// Tells whether commands will be readable, which compression prevents.
    #[must_use]
    pub fn can_watch(client: Capabilities) -> bool {
        client.bits() & COMPRESSION == 0
    }

    /// Looks at the next bytes of the client, in pieces of any size; returns where a change of user
    /// begins among them, behind which nothing was looked at.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Sighting> {
        let mut rest = bytes;
        while let Some((first, behind)) = rest.split_first() {
            if self.remaining == 0 {
                self.header_byte(*first);
                rest = behind;
            } else {
                if std::mem::take(&mut self.at_command) {
                    if *first == CHANGE_USER {
                        return Some(self.sighting(bytes.len() - rest.len()));
                    }
                    if !UNANSWERED.contains(first) {
                        self.turn = Turn::Database;
                    }
                }
                let skipped = rest.len().min(self.remaining as usize);
                self.remaining -= u32::try_from(skipped).unwrap_or(self.remaining);
                rest = &rest[skipped..];
            }
        }
        None
    }

    /// Looks at the next bytes of the database.
    pub fn hear(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.turn = Turn::Client;
        }
    }

    /// How many bytes [`Self::put`] writes.
    pub(super) const ENCODED: usize = HEADER_LEN + 4 + 1;

    /// Appends its state: the header, the bytes to come (4, the least significant first), and a byte of flags.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header);
        out.extend_from_slice(&self.remaining.to_le_bytes());
        let flags = [
            (self.at_command, AT_COMMAND),
            (self.continued, CONTINUED),
            (self.comes_round, COMES_ROUND),
            (self.turn == Turn::Database, AWAITS_DATABASE),
        ];
        let set = flags.iter().filter(|(is_set, _)| *is_set);
        // A header that is whole is dealt with at once.
        let length = u8::try_from(self.header_len).unwrap_or_default() & HEADER_LENGTH;
        out.push(set.fold(length, |flags, (_, flag)| flags | flag));
    }

    /// Reads what [`Self::put`] wrote; `None` if that is no state that a watch can come to.
    pub(super) fn read_back(reader: &mut Reader<'_>) -> Option<Self> {
        let (header, remaining, flags) = (reader.array()?, reader.u32_le()?, reader.u8()?);
        let known = AT_COMMAND | CONTINUED | COMES_ROUND | AWAITS_DATABASE | HEADER_LENGTH;
        let is_set = |flag| flags & flag != 0;
        let watch = Self {
            header,
            header_len: usize::from(flags & HEADER_LENGTH),
            remaining,
            at_command: is_set(AT_COMMAND),
            continued: is_set(CONTINUED),
            comes_round: is_set(COMES_ROUND),
            turn: if is_set(AWAITS_DATABASE) {
                Turn::Database
            } else {
                Turn::Client
            },
        };
        let inside = remaining > 0 && watch.header_len == 0;
        let between = remaining == 0 && !watch.at_command;
        let can_be = flags & !known == 0 && remaining <= FULL && (inside || between);
        can_be.then_some(watch)
    }

    /// Returns a change of user whose command is at this place.
    fn sighting(&self, at: usize) -> Sighting {
        Sighting {
            at: at.saturating_sub(HEADER_LEN),
            out_of_turn: self.turn == Turn::Database,
            header: self.header,
            passed: HEADER_LEN.saturating_sub(at),
        }
    }

    fn header_byte(&mut self, byte: u8) {
        self.header[self.header_len] = byte;
        self.header_len += 1;
        if self.header_len == HEADER_LEN {
            self.header_done();
        }
    }

    fn header_done(&mut self) {
        let [low, middle, high, seq] = self.header;
        self.header_len = 0;
        self.remaining = u32::from_le_bytes([low, middle, high, 0]);
        // The numbers of a long upload of LOCAL INFILE come round to 0 again. It ends with an empty
        // packet, so that a command never does.
        let is_command = seq == 0 && !self.continued && !self.comes_round;
        self.at_command = is_command && self.remaining > 0;
        self.continued = self.remaining == FULL;
        self.comes_round = seq == u8::MAX && self.remaining > 0;
    }
}

/// Where a change of user begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sighting {
    /// The place of its packet among the bytes that were fed last.
    pub at: usize,
    /// The answer to a command before it has yet to come.
    pub out_of_turn: bool,
    header: [u8; HEADER_LEN],
    passed: usize,
}

impl Sighting {
    /// Returns what of its packet was fed before, and so is with the database already: a part of
    /// the header, mostly none.
    #[must_use]
    pub fn passed(&self) -> &[u8] {
        &self.header[..self.passed]
    }
}

/// A `COM_CHANGE_USER`, read as far as needed to carry it to the database.
#[derive(Clone, Copy)]
pub struct ChangeUser<'a> {
    response: &'a [u8],
    plugin: Option<&'a [u8]>,
    /// What stands before the authentication data and its length.
    before: &'a [u8],
    /// What stands behind the authentication data.
    behind: &'a [u8],
    /// The authentication data is ended by a NUL, and has no length before it.
    ended_by_nul: bool,
}

impl<'a> ChangeUser<'a> {
    /// Reads the payload of the command from a client with these capabilities.
    pub fn parse(payload: &'a [u8], client: Capabilities) -> Result<Self, ChangeUserError> {
        let mut reader = Reader::new(payload);
        let mut read = || {
            reader.u8().filter(|command| *command == CHANGE_USER)?;
            reader.until_nul()?;
            let before = &payload[..payload.len() - reader.rest().len()];
            let ended_by_nul = !client.contains(Capabilities::SECURE_CONNECTION);
            let response = if ended_by_nul {
                reader.until_nul()?
            } else {
                let length = reader.u8()?;
                reader.take(length.into())?
            };
            let behind = reader.rest();
            reader.until_nul_or_end();
            // Old clients leave out the character set, and what would follow.
            let named = reader.u16_le().is_some() && client.contains(Capabilities::PLUGIN_AUTH);
            let plugin = named.then(|| reader.until_nul_or_end());
            Some(Self {
                response,
                plugin: plugin.filter(|name| !name.is_empty()),
                before,
                behind,
                ended_by_nul,
            })
        };
        read().ok_or(ChangeUserError)
    }

    /// Returns the payload with one byte of authentication data in the place of what the client sent.
    #[must_use]
    pub fn with_response(&self, response: u8) -> Vec<u8> {
        let form = if self.ended_by_nul {
            [response, 0]
        } else {
            [1, response]
        };
        [self.before, &form, self.behind].concat()
    }

    /// Returns the authentication data: a proof, or with some plugins the password itself.
    #[must_use]
    pub fn response(&self) -> &'a [u8] {
        self.response
    }

    /// Returns the plugin that made the authentication data, if the client names one.
    #[must_use]
    pub fn plugin(&self) -> Option<&'a [u8]> {
        self.plugin
    }
}

/// Returns the user of a `COM_CHANGE_USER`; `None` if the payload is not one.
#[must_use]
pub fn changed_user(payload: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(payload);
    reader.u8().filter(|command| *command == CHANGE_USER)?;
    reader.until_nul()
}

/// What the client sent is no change of user.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the client's change of user is cut short")]
pub struct ChangeUserError;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUERY: &[u8] = b"\x09\0\0\0\x03SELECT 1";
    const CHANGE: &[u8] = b"\x02\0\0\0\x11\0";

    #[test]
    fn a_change_of_user_is_noticed_behind_other_commands() {
        let mut watch = CommandWatch::default();
        let bytes = [QUERY, &[1, 0, 0, 0, 0x0e], CHANGE].concat();
        let sighting = watch.feed(&bytes).expect("it is there");
        assert_eq!(&bytes[sighting.at..], CHANGE);
        assert!(sighting.passed().is_empty());
    }

    #[test]
    fn a_change_of_user_that_does_not_wait_for_an_answer_is_out_of_turn() {
        let out_of_turn = |before: &[u8], answer: &[u8], behind: &[u8]| {
            let mut watch = CommandWatch::default();
            assert_eq!(watch.feed(before), None);
            watch.hear(answer);
            assert_eq!(watch.feed(behind), None);
            watch.feed(CHANGE).expect("it is there").out_of_turn
        };
        let answer = b"\x01\0\0\x01\0";
        assert!(!out_of_turn(b"", b"", b""), "nothing before it");
        assert!(out_of_turn(QUERY, b"", b""), "no answer");
        assert!(!out_of_turn(QUERY, answer, b""), "an answer");
        assert!(out_of_turn(QUERY, answer, QUERY), "an answer too few");
        assert!(out_of_turn(&QUERY[..5], b"", &QUERY[5..]), "in pieces");
        for command in [0x18, 0x19] {
            let close = packet_of(command);
            assert!(!out_of_turn(&close, b"", b""), "{command} has no answer");
            assert!(out_of_turn(QUERY, b"", &close), "nor is it one");
        }
        assert!(out_of_turn(&packet_of(0x16), b"", b""), "a preparation");
    }

    fn packet_of(command: u8) -> [u8; 9] {
        [5, 0, 0, 0, command, 1, 0, 0, 0]
    }

    #[test]
    fn what_was_fed_of_it_before_is_known() {
        for cut in 1..=4 {
            let mut watch = CommandWatch::default();
            let (first, second) = CHANGE.split_at(cut);
            assert_eq!(watch.feed(first), None);
            let sighting = watch.feed(second).expect("it is there");
            assert_eq!((sighting.at, sighting.passed()), (0, first));
        }
    }

    #[test]
    fn data_that_looks_like_the_command_passes() {
        let mut watch = CommandWatch::default();
        assert_eq!(watch.feed(&[1, 0, 0, 2, 0x11]), None, "file data");
        assert_eq!(watch.feed(&[2, 0, 0, 0, 3, 0x11]), None, "inside a query");
        assert_eq!(watch.feed(&[0xff, 0xff, 0xff, 255]), None);
        assert_eq!(watch.feed(&vec![0; 0xff_ffff]), None);
        assert_eq!(watch.feed(&[1, 0, 0, 0, 0x11]), None, "a continuation");
        assert_eq!(
            watch.feed(&[0, 0, 0, 0, 1, 0, 0, 1, 0x11]),
            None,
            "an empty packet"
        );
    }

    #[test]
    fn the_numbers_of_an_upload_come_round() {
        let mut watch = CommandWatch::default();
        assert_eq!(watch.feed(&[1, 0, 0, 255, b'x', 1, 0, 0, 0, 0x11]), None);
        assert_eq!(watch.feed(&[0, 0, 0, 255]), None, "the end of the upload");
        assert!(watch.feed(CHANGE).is_some());
    }

    #[test]
    fn compressed_sessions_cannot_be_watched() {
        assert!(CommandWatch::can_watch(Capabilities::PROTOCOL_41));
        assert!(!CommandWatch::can_watch(Capabilities::from_bits(0x20)));
        assert!(!CommandWatch::can_watch(Capabilities::from_bits(
            0x0400_0000
        )));
    }

    #[test]
    fn a_change_of_user_is_read() {
        let all = Capabilities::SECURE_CONNECTION | Capabilities::PLUGIN_AUTH;
        let payload = b"\x11me\0\x03abcdb\0\x21\0some_plugin\0\x05attrs";
        let change = ChangeUser::parse(payload, all).expect("whole");
        assert_eq!(change.response(), b"abc");
        assert_eq!(change.plugin(), Some(&b"some_plugin"[..]));
        assert_eq!(changed_user(payload), Some(&b"me"[..]));
        assert_eq!(changed_user(b"\x03me\0"), None);
        assert_eq!(changed_user(b"\x11me"), None);
        let old = ChangeUser::parse(payload, Capabilities::SECURE_CONNECTION).expect("whole");
        assert_eq!(old.plugin(), None);
        let short = ChangeUser::parse(b"\x11me\0\0db\0", all).expect("whole");
        assert_eq!((short.response(), short.plugin()), (&b""[..], None));
        let other = change.with_response(1);
        assert_eq!(other, b"\x11me\0\x01\x01db\0\x21\0some_plugin\0\x05attrs");
        for cut in [
            &b""[..],
            b"\x11me",
            b"\x11me\0",
            b"\x11me\0\x04abc",
            b"\x03me\0\0",
        ] {
            assert!(ChangeUser::parse(cut, all).is_err(), "{cut:x?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes: Vec<u8>, piece in 1_usize..9) {
            let whole = CommandWatch::default().feed(&bytes);
            let mut watch = CommandWatch::default();
            let mut pieces = bytes.chunks(piece).enumerate();
            let found = pieces.find_map(|(number, bytes)| {
                let sighting = watch.feed(bytes)?;
                Some(number * piece + sighting.at - sighting.passed().len())
            });
            prop_assert_eq!(whole.map(|it| it.at), found);
        }

        #[test]
        fn a_change_of_user_is_always_noticed(queries in 0_usize..5, piece in 1_usize..9) {
            let bytes = [&QUERY.repeat(queries), CHANGE].concat();
            let mut watch = CommandWatch::default();
            prop_assert!(bytes.chunks(piece).any(|piece| watch.feed(piece).is_some()));
        }

        #[test]
        fn any_payload_is_survived(payload: Vec<u8>, bits: u32) {
            let _ = ChangeUser::parse(&payload, Capabilities::from_bits(bits));
        }
    }
}
