//! What a client says first, before anything is decided about its TLS.

use rustls::server::Acceptor;

use super::stream::TlsError;
use crate::protocol::TLS_HANDSHAKE;

/// The length of a TLS record's header (RFC 8446 §5.1).
const RECORD_HEADER: usize = 5;

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

/// The alert `unrecognized_name` (RFC 6066 §3) as a record of its own: a fatal alert before any key
/// is agreed on (RFC 8446 §5.1, §6).
pub(super) const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Whether the first bytes of a client hold all of its `ClientHello`, so that the answer can be
/// chosen. It may be cut into several records (RFC 8446 §5.1).
///
/// The configuration of a connection is chosen at this moment and not at accept, so that a client
/// that connected before a reload and spoke after it is shown the new certificate.
///
/// Bytes that no more of can make a `ClientHello` are not waited for either: whoever begins TLS
/// with them says what is wrong.
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
        let fragment = &record[RECORD_HEADER..];
        if fragment.is_empty() || message.ends_with(fragment) {
            return Ok(true);
        }
        rest = &rest[record.len()..];
    }
    Ok(true)
}

/// Returns the first record, its header included; `None` if it is not whole.
fn first_record(bytes: &[u8]) -> Result<Option<&[u8]>, TlsError> {
    let Some([_, _, _, high, low]) = bytes.first_chunk::<RECORD_HEADER>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > MAX_PLAIN_RECORD {
        return Err(TlsError::TooLong);
    }
    Ok(bytes.get(..RECORD_HEADER + length))
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

/// Returns the server name of a `ClientHello`; `None` if it has none, or does not lie whole in
/// `bytes`.
pub(super) fn server_name(mut bytes: &[u8]) -> Option<String> {
    let mut acceptor = Acceptor::default();
    // It takes a few KiB at a time.
    while acceptor.read_tls(&mut bytes).ok()? > 0 {
        // What is wrong with it is told by whoever begins TLS with it.
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
            message.extend_from_slice(&record[RECORD_HEADER..]);
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

    proptest! {
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
