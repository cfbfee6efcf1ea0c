//! The seam between rustls' handshake and our records.

use std::{io::Write as _, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};

use super::*;
use crate::tls::{
    dissolve::SecretNotes,
    provider,
    records::{Limits, tests::peer::trusting},
    testing::Ca,
};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn name() -> ServerName<'static> {
    ServerName::try_from("db").unwrap()
}

fn server_config(version: &'static SupportedProtocolVersion) -> ServerConfig {
    let pair = Ca::new("root").server(&["db"]).pair();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(pair.certificates(), pair.key.to_rustls().unwrap())
        .unwrap();
    config.enable_secret_extraction = true;
    config.key_log = Arc::new(SecretNotes);
    config.alpn_protocols = vec![b"words".to_vec()];
    config
}

fn client_config(version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut config = trusting(provider(), version);
    config.alpn_protocols = vec![b"words".to_vec()];
    config
}

fn server(config: ServerConfig) -> TlsStream {
    let connection = UnbufferedServerConnection::new(Arc::new(config)).unwrap();
    let side = Side::Server(Box::new(connection));
    TlsStream::new(Handshake::new(side, None))
}

/// What one end has received, and what it answers.
#[derive(Default)]
struct Heard {
    plain: Vec<u8>,
    out: Space,
}

/// Gives `bytes` to a stream behind what it holds.
fn give(stream: &mut TlsStream, bytes: &[u8], heard: &mut Heard) -> Result<(), TlsError> {
    let mut all = [stream.held(), bytes].concat();
    stream.receive(&mut all, &mut heard.plain, &mut heard.out)
}

fn flight(peer: &mut rustls::Connection) -> Vec<u8> {
    let mut flight = Vec::new();
    while peer.wants_write() {
        peer.write_tls(&mut flight).unwrap();
    }
    flight
}

fn take(peer: &mut rustls::Connection, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        peer.read_tls(&mut bytes).unwrap();
        peer.process_new_packets().unwrap();
    }
}

/// Gives what a client sends to a server of ours in reads of so many bytes, at most; with its last
/// flight of the handshake come data, a change of key if there is one, and the goodbye.
fn serve(version: &'static SupportedProtocolVersion, read: usize) -> (TlsStream, Heard) {
    let config = Arc::new(client_config(version));
    let mut client: rustls::Connection = ClientConnection::new(config, name()).unwrap().into();
    let mut server = server(server_config(version));
    let mut heard = Heard::default();
    while client.is_handshaking() {
        for bytes in flight(&mut client).chunks(read) {
            give(&mut server, bytes, &mut heard).unwrap();
        }
        take(&mut client, heard.out.filled());
        heard.out.clear();
    }
    // In TLS 1.2 the server is the last to speak.
    assert_eq!(server.is_handshaking(), version == &TLS13);
    client.writer().write_all(b"one").unwrap();
    if version == &TLS13 {
        client.refresh_traffic_keys().unwrap();
    }
    client.writer().write_all(b"two").unwrap();
    client.send_close_notify();
    for bytes in flight(&mut client).chunks(read) {
        give(&mut server, bytes, &mut heard).unwrap();
    }
    (server, heard)
}

#[test]
fn what_comes_with_the_end_of_the_handshake_belongs_to_the_session() {
    for version in VERSIONS {
        for read in [usize::MAX, 1, 2, 5, 6, 100] {
            let (server, heard) = serve(version, read);
            assert_eq!(heard.plain, b"onetwo", "{version:?} {read}");
            assert!(!server.is_handshaking() && server.peer_closed());
            assert!(server.held().is_empty());
        }
    }
}

#[test]
fn a_servers_first_words_and_tickets_may_come_with_its_handshake() {
    for version in VERSIONS {
        for read in [usize::MAX, 1, 7] {
            let mut config = server_config(version);
            config.send_tls13_tickets = 2;
            config.send_half_rtt_data = true;
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut server: rustls::Connection = connection.into();
            let client = Arc::new(client_config(version));
            let mut client = TlsStream::client(client, name()).unwrap();
            let mut heard = Heard::default();
            give(&mut client, &[], &mut heard).unwrap();
            server.writer().write_all(b"hello").unwrap();
            while client.is_handshaking() || !heard.out.filled().is_empty() {
                take(&mut server, heard.out.filled());
                heard.out.clear();
                for bytes in flight(&mut server).chunks(read) {
                    give(&mut client, bytes, &mut heard).unwrap();
                }
            }
            assert_eq!(heard.plain, b"hello", "{version:?} {read}");
            client.send(b"hello", &mut heard.out).unwrap();
            take(&mut server, heard.out.filled());
        }
    }
}

#[test]
fn what_a_handshake_has_shown_is_known_until_it_is_forgotten() {
    for version in VERSIONS {
        let (mut server, mut heard) = serve(version, usize::MAX);
        let named = if version == &TLS12 {
            "TLSv1.2"
        } else {
            "TLSv1.3"
        };
        assert_eq!(server.alpn(), Some(&b"words"[..]));
        assert!(server.suite().unwrap().contains("_AES_256_GCM_SHA384"));
        server.forget_opening();
        assert_eq!((server.alpn(), server.version()), (None, named));
        assert!(server.suite().unwrap().contains("_AES_256_GCM_SHA384"));
        server.send(b"data", &mut heard.out).unwrap();
        assert_eq!(server.limit_news(), None);
    }
}

#[test]
fn nothing_is_sent_in_a_handshake_and_closing_it_says_nothing() {
    let mut server = server(server_config(&TLS13));
    let mut out = Space::default();
    assert!(server.send(b"data", &mut out).is_err());
    server.close(&mut out);
    assert!(out.filled().is_empty() && server.suite().is_none());
    assert_eq!(server.version(), "unknown");
}

#[test]
fn without_its_secrets_a_handshake_makes_no_session() {
    let mut config = server_config(&TLS13);
    config.key_log = Arc::new(rustls::NoKeyLog {});
    let client = Arc::new(client_config(&TLS13));
    let mut client: rustls::Connection = ClientConnection::new(client, name()).unwrap().into();
    let mut server = server(config);
    let mut heard = Heard::default();
    give(&mut server, &flight(&mut client), &mut heard).unwrap();
    take(&mut client, heard.out.filled());
    let end = give(&mut server, &flight(&mut client), &mut heard);
    assert!(matches!(end, Err(TlsError::NoSession(_))), "{end:?}");
    assert!(server.is_handshaking());
    assert!(give(&mut server, &[], &mut heard).is_err());
}

#[test]
fn a_key_that_nears_its_end_is_told_once() {
    static LIMITS: Limits = Limits {
        renewed: 1000,
        lasting: 1000,
        records: u64::MAX,
    };
    let (mut server, mut heard) = serve(&TLS12, usize::MAX);
    let state = server.records().unwrap().state().clone();
    server.phase = Phase::Established(Records::with_limits(state, &LIMITS), None);
    server.send(&[7; 1000], &mut heard.out).unwrap();
    assert_eq!(server.limit_news(), None);
    server.send(&[7; 11_000], &mut heard.out).unwrap();
    assert_eq!(server.limit_news().unwrap().limit, 1000);
    server.send(&[7; 1000], &mut heard.out).unwrap();
    assert_eq!(server.limit_news(), None);
}

#[test]
fn an_established_connection_is_small() {
    assert!(size_of::<TlsStream>() <= 120, "{}", size_of::<TlsStream>());
}
