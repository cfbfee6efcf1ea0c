//! What a client says first, before anything is decided about its TLS.

use rustls::server::Acceptor;

use super::{
    failure::TlsError,
    record_header::{HEADER_LEN, record_len},
};
use crate::protocol::{TLS_HANDSHAKE, bytes::Reader};

/// The longest record that can be one of a `ClientHello`'s (RFC 8446 §5.1: 2^14).
const MAX_PLAIN_RECORD: usize = 16 * 1024;

/// The length of a handshake message's header (RFC 8446 §4).
const MESSAGE_HEADER: usize = 4;

/// The longest `ClientHello` that is waited for; rustls takes none that is longer.
const MAX_HELLO: usize = 0xffff;

/// The most records that a `ClientHello` is looked for in.
///
/// Each read looks through all of them anew.
const MAX_RECORDS: usize = 64;

/// The type of a `ClientHello` (RFC 8446 §4).
const CLIENT_HELLO: u8 = 1;

/// The version that TLS 1.2 is on the wire (RFC 5246 §6.2.1).
const TLS_1_2: u16 = 0x0303;

/// The length of what makes a `ClientHello` unlike any other (RFC 8446 §4.1.2).
const RANDOM: usize = 32;

/// The extension in which a client names its server (RFC 6066 §3).
const SERVER_NAME: u16 = 0;

/// The kind of a server name that is a host's (RFC 6066 §3).
const HOST_NAME: u8 = 0;

/// The extension in which a client lists its versions (RFC 8446 §4.2.1).
const SUPPORTED_VERSIONS: u16 = 43;

/// Whether the first bytes of a client hold all of its `ClientHello`, so that the answer can be
/// chosen. It may be cut into several records (RFC 8446 §5.1).
///
/// The configuration of a connection is chosen at this moment and not at accept, so that a client
/// that connected before a reload and spoke after it is shown the new certificate.
///
/// Bytes that can no longer become a `ClientHello` are not waited for either: the TLS handshake that
/// begins with them says what is wrong.
pub fn holds_client_hello(bytes: &[u8]) -> Result<bool, TlsError> {
    match bytes {
        [first, ..] if *first != TLS_HANDSHAKE => return Err(TlsError::NotTls),
        [_, major, ..] if *major != 3 => return Err(TlsError::NotTls),
        _ => {}
    }
    let mut message = Message::default();
    let mut rest = bytes;
    for _ in 0..MAX_RECORDS {
        if rest.first().is_some_and(|first| *first != TLS_HANDSHAKE) {
            return Ok(true);
        }
        let Some(record) = first_record(rest)? else {
            return Ok(false);
        };
        let fragment = &record[HEADER_LEN..];
        if fragment.is_empty() || message.ends_with(fragment) {
            return Ok(true);
        }
        rest = &rest[record.len()..];
    }
    Ok(true)
}

/// Returns the first record, its header included; `None` if it is not whole.
fn first_record(bytes: &[u8]) -> Result<Option<&[u8]>, TlsError> {
    let Some(length) = record_len(bytes) else {
        return Ok(None);
    };
    if length > HEADER_LEN + MAX_PLAIN_RECORD {
        return Err(TlsError::TooLong);
    }
    Ok(bytes.get(..length))
}

/// The part of a handshake message that has come.
#[derive(Default)]
struct Message {
    header: Vec<u8>,
    length: usize,
}

impl Message {
    /// Adds the next fragment; returns whether nothing more of a `ClientHello` is to come.
    fn ends_with(&mut self, fragment: &[u8]) -> bool {
        self.length += fragment.len();
        let missing = MESSAGE_HEADER - self.header.len();
        self.header.extend(fragment.iter().take(missing));
        match *self.header {
            [CLIENT_HELLO, a, b, c] => {
                let body = u32::from_be_bytes([0, a, b, c]) as usize;
                body > MAX_HELLO || self.length >= MESSAGE_HEADER + body
            }
            [first, ..] => first != CLIENT_HELLO,
            [] => false,
        }
    }
}

/// Whether a `ClientHello` that lies whole in `bytes` offers nothing newer than TLS 1.1.
///
/// rustls only notices that such a client knows less extensions than it should.
pub(super) fn is_outdated(bytes: &[u8]) -> bool {
    let newest = first_message(bytes).and_then(|message| newest_version(&message));
    newest.is_some_and(|version| version < TLS_1_2)
}

/// Returns the first handshake message, its header included; `None` if it is not whole.
fn first_message(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        let record = first_record(bytes).ok()??;
        if record[0] != TLS_HANDSHAKE {
            return None;
        }
        message.extend_from_slice(&record[HEADER_LEN..]);
        bytes = &bytes[record.len()..];
        if let [_, a, b, c, ..] = *message {
            let length = MESSAGE_HEADER + u32::from_be_bytes([0, a, b, c]) as usize;
            if message.len() >= length {
                message.truncate(length);
                return Some(message);
            }
        }
    }
}

/// Returns the newest version that a `ClientHello` offers; `None` if that cannot be made out.
fn newest_version(message: &[u8]) -> Option<u16> {
    let Hello {
        version,
        extensions,
    } = Hello::read(message)?;
    match extensions
        .iter()
        .find(|(kind, _)| *kind == SUPPORTED_VERSIONS)
    {
        Some((_, listed)) => newest_of(listed),
        None => Some(version),
    }
}

/// Returns the name in the server name extension of a `ClientHello` that lies whole in `bytes`, as it
/// was sent; `None` if there is none.
pub(super) fn raw_server_name(bytes: &[u8]) -> Option<Vec<u8>> {
    let message = first_message(bytes)?;
    let hello = Hello::read(&message)?;
    let (_, names) = hello
        .extensions
        .iter()
        .find(|(kind, _)| *kind == SERVER_NAME)?;
    let mut first = Reader::new(vector(&mut Reader::new(names))?);
    let kind = first.u8()?;
    let name = vector(&mut first)?;
    (kind == HOST_NAME).then(|| name.to_vec())
}

/// What is read of a `ClientHello` (RFC 8446 §4.1.2).
struct Hello<'a> {
    version: u16,
    /// By their kind.
    extensions: Vec<(u16, &'a [u8])>,
}

impl<'a> Hello<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let mut hello = Reader::new(message);
        let [CLIENT_HELLO, ..] = hello.array::<MESSAGE_HEADER>()? else {
            return None;
        };
        let version = hello.u16_be()?;
        hello.take(RANDOM)?;
        let _session = short_vector(&mut hello)?;
        let _suites = vector(&mut hello)?;
        let _compressions = short_vector(&mut hello)?;
        let mut extensions = Vec::new();
        if !hello.rest().is_empty() {
            let mut rest = Reader::new(vector(&mut hello)?);
            while !rest.rest().is_empty() {
                extensions.push((rest.u16_be()?, vector(&mut rest)?));
            }
        }
        Some(Self {
            version,
            extensions,
        })
    }
}

/// Returns the newest version of a list; what is no version of TLS is only there to be passed over
/// (RFC 8701).
fn newest_of(list: &[u8]) -> Option<u16> {
    let (versions, _) = short_vector(&mut Reader::new(list))?.as_chunks();
    let versions = versions.iter().map(|it| u16::from_be_bytes(*it));
    versions.filter(|version| version >> 8 == 3).max()
}

/// Takes what stands behind its length of one byte (RFC 8446 §3.4).
fn short_vector<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = reader.u8()?;
    reader.take(length.into())
}

/// Takes what stands behind its length of two bytes (RFC 8446 §3.4).
fn vector<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = reader.u16_be()?;
    reader.take(length.into())
}

/// Returns the server name of a `ClientHello`; `None` if it has none, or does not lie whole in
/// `bytes`.
pub(super) fn server_name(mut bytes: &[u8]) -> Option<String> {
    let mut acceptor = Acceptor::default();
    // It takes a few KiB at a time.
    while acceptor.read_tls(&mut bytes).ok()? > 0 {
        // The TLS handshake that begins with it says what is wrong.
        if let Some(accepted) = acceptor.accept().ok()? {
            return accepted.client_hello().server_name().map(str::to_owned);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;
    use crate::tls::provider;

    /// Returns the message with which a client asks for `db.example`, as long as `protocols` make
    /// it.
    fn hello(protocols: usize) -> Vec<u8> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = vec![vec![b'x'; 255]; protocols];
        let name = "db.example".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut written = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut written).unwrap();
        }
        let mut message = Vec::new();
        let mut rest = &*written;
        while let Some(record) = first_record(rest).unwrap() {
            message.extend_from_slice(&record[HEADER_LEN..]);
            rest = &rest[record.len()..];
        }
        message
    }

    fn record(fragment: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(fragment.len()).unwrap().to_be_bytes();
        [&[TLS_HANDSHAKE, 3, 1, high, low], fragment].concat()
    }

    /// Returns the message in records of this size.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message.chunks(size).flat_map(record).collect()
    }

    fn holds(bytes: &[u8]) -> bool {
        holds_client_hello(bytes).unwrap()
    }

    #[test]
    fn a_message_is_waited_for_to_its_last_byte_and_its_name_found_however_it_is_cut() {
        for (protocols, size) in [(1, 1000), (1, 10), (1, 100), (40, 16_384), (40, 1000)] {
            let message = hello(protocols);
            let size = size.max(message.len().div_ceil(MAX_RECORDS));
            let bytes = records(&message, size);
            for end in 0..bytes.len() {
                assert!(!holds(&bytes[..end]), "{end} of {}", bytes.len());
            }
            assert!(holds(&bytes));
            assert_eq!(server_name(&bytes).as_deref(), Some("db.example"));
            let more = [&*bytes, &[20, 3, 3, 0, 1, 1]].concat();
            assert!(holds(&more));
            assert_eq!(server_name(&more).as_deref(), Some("db.example"));
        }
    }

    #[test]
    fn what_cannot_become_a_hello_is_not_waited_for() {
        let message = hello(1);
        let begun = record(&message[..9]);
        for (what, bytes) in [
            ("another record between", [&*begun, &[21]].concat()),
            ("an empty record", [begun.clone(), record(&[])].concat()),
            ("another message", record(&[2])),
            ("too long a message", record(&[1, 1, 0, 0])),
            ("too many records", records(&message[..MAX_RECORDS], 1)),
        ] {
            assert!(holds(&bytes), "{what}");
            assert_eq!(server_name(&bytes), None, "{what}");
        }
        assert!(!holds(&records(&message[..MAX_RECORDS - 1], 1)));
        assert!(!holds(&record(&[1, 0, 255, 255])));
    }

    #[test]
    fn what_is_no_tls_or_too_long_a_record_is_refused() {
        for bytes in [&b"GET"[..], &[22, 2], &[128, 46, 1]] {
            let refused = holds_client_hello(bytes);
            assert!(matches!(refused, Err(TlsError::NotTls)), "{bytes:?}");
        }
        let first = record(&hello(1)[..9]);
        for before in [&[][..], &first] {
            let bytes = [before, &[22, 3, 1, 0x40, 1]].concat();
            let refused = holds_client_hello(&bytes);
            assert!(matches!(refused, Err(TlsError::TooLong)), "{bytes:?}");
        }
    }

    /// Returns a message with these versions: its own, and a list of them.
    fn offering(version: u16, listed: Option<&[u16]>) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend([7; RANDOM]);
        body.extend([2, 0, 0, 0, 2, 0x13, 0x01, 1, 0]);
        if let Some(listed) = listed {
            let list: Vec<u8> = listed.iter().flat_map(|it| it.to_be_bytes()).collect();
            let length = u8::try_from(list.len()).unwrap();
            // An empty extension is before the list.
            body.extend([0, 9 + length, 0, 23, 0, 0, 0, 43, 0, length + 1, length]);
            body.extend(list);
        }
        let [_, a, b, c] = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[CLIENT_HELLO, a, b, c], &*body].concat()
    }

    #[test]
    fn a_client_is_outdated_by_the_newest_version_that_it_offers() {
        for (version, listed, outdated) in [
            (0x0300, None, true),
            (0x0302, None, true),
            (0x0302, Some(&[0x0302, 0x0301][..]), true),
            (0x0303, Some(&[0x0302, 0x7a7a]), true),
            (0x0303, None, false),
            (0x0304, None, false),
            (0x0302, Some(&[0x0302, 0x0303]), false),
            (0x0301, Some(&[0x1a1a, 0x0304]), false),
            (0x0302, Some(&[]), false),
        ] {
            let message = offering(version, listed);
            let what = format!("{version:x} {listed:x?}");
            for size in [1, 9, 1000] {
                let bytes = records(&message, size);
                assert_eq!(is_outdated(&bytes), outdated, "{what}");
                assert!(!is_outdated(&bytes[..bytes.len() - 1]), "{what}");
                let more = [&*bytes, &[21, 3]].concat();
                assert_eq!(is_outdated(&more), outdated, "{what}");
            }
        }
        assert!(!is_outdated(&records(&hello(1), 1000)));
    }

    #[test]
    fn a_name_is_read_as_it_was_sent() {
        let bytes = records(&hello(1), 1000);
        assert_eq!(raw_server_name(&bytes).as_deref(), Some(&b"db.example"[..]));
        assert_eq!(raw_server_name(&bytes[..bytes.len() - 1]), None);
        assert_eq!(
            raw_server_name(&records(&offering(0x0303, None), 1000)),
            None
        );
    }

    #[test]
    fn what_is_no_hello_is_not_outdated() {
        let message = offering(0x0302, Some(&[0x0302]));
        for end in MESSAGE_HEADER..message.len() {
            let mut cut = message[..end].to_vec();
            cut[3] = u8::try_from(end - MESSAGE_HEADER).unwrap();
            // Without its extensions it is whole.
            let whole = end == message.len() - 13;
            assert_eq!(is_outdated(&record(&cut)), whole, "{end}");
        }
        let other = [&[2], &message[1..]].concat();
        assert!(!is_outdated(&record(&other)));
        assert!(!is_outdated(b""));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_asked_for_their_version(
            body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let length = u8::try_from(body.len()).unwrap();
            is_outdated(&record(&[&[CLIENT_HELLO, 0, 0, length], &*body].concat()));
        }

        #[test]
        fn more_bytes_do_not_take_a_verdict_back(
            kinds in proptest::collection::vec((prop_oneof![8 => Just(22), 1 => Just(21)], 0..9_usize), 0..80),
            first in 0..3_u8,
        ) {
            let mut bytes = Vec::new();
            for (kind, length) in kinds {
                bytes.extend([kind, 3, 1, 0, u8::try_from(length).unwrap()]);
                bytes.extend(vec![first; length]);
            }
            let mut was = false;
            for end in 0..=bytes.len() {
                let Ok(holds) = holds_client_hello(&bytes[..end]) else {
                    return Ok(());
                };
                prop_assert!(holds || !was);
                was = holds;
            }
        }
    }
}
