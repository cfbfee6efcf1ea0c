//! What a backend is told about a client's TLS.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
};

use super::SIGNATURE;
use crate::support::{
    client::{Client, connect},
    configuration::Listener,
    daemon::TestDaemon,
    fake::{Fake, Heard},
    pki::{Ca, Leaf, replace},
    until,
    wire::{SSL_REQUEST, greeting, mysql_ssl_request, read_packet, startup},
};

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const SSL: u8 = 0x20;
const VERSION: u8 = 0x21;
const COMMON_NAME: u8 = 0x22;
const CIPHER: u8 = 0x23;

/// The client used TLS.
const USED: u8 = 1;
/// It showed a certificate on this connection.
const SHOWN: u8 = 2;
/// It showed one in this TLS session.
const KNOWN: u8 = 4;

type Fields = BTreeMap<u8, Vec<u8>>;

/// A reader of headers that shares nothing with the one that is tested.
fn fields(mut bytes: &[u8]) -> Fields {
    let mut fields = Fields::new();
    while let [kind, high, low, rest @ ..] = bytes {
        let length = usize::from(*high) << 8 | usize::from(*low);
        let (value, rest) = rest.split_at(length);
        assert!(fields.insert(*kind, value.to_vec()).is_none());
        bytes = rest;
    }
    assert_eq!(bytes, b"");
    fields
}

/// Splits what a backend heard into the fields of a header over IPv4 and what follows.
fn parse(heard: &[u8]) -> Option<(Fields, Vec<u8>)> {
    let [high, low] = *heard.get(14..16)? else {
        return None;
    };
    let end = 16 + (usize::from(high) << 8 | usize::from(low));
    let header = heard.get(..end)?;
    assert_eq!(header[..12], SIGNATURE[..]);
    assert_eq!(header[12..14], [0x21, 0x11]);
    Some((fields(&header[28..]), heard[end..].to_vec()))
}

/// What the field about TLS says: flags, verdict, and the fields inside.
fn ssl(fields: &Fields) -> (u8, u32, Fields) {
    let value = &fields[&SSL];
    let verdict = u32::from_be_bytes(value[1..5].try_into().unwrap());
    (value[0], verdict, self::fields(&value[5..]))
}

/// A backend that takes a header and echoes what follows.
fn echo() -> Fake {
    Fake::new(|connection| {
        let head = connection.take(16)?;
        connection.take(usize::from(head[14]) << 8 | usize::from(head[15]))?;
        connection.echo()
    })
}

struct Scene {
    servers: Ca,
    leaf: Leaf,
    backend: Fake,
    daemon: TestDaemon,
}

impl Scene {
    fn new(protocol: &str, backend: Fake) -> Self {
        let (servers, clients) = (Ca::new("servers"), Ca::new("clients"));
        let builder = TestDaemon::builder().identity("default", &servers.leaf("localhost"));
        replace(&builder.folder().join("clients.crt"), clients.pem());
        let listener = Listener::tcp("main", &backend.address())
            .protocol(protocol)
            .line("tls = { mode = \"preferred\", resumption = \"tickets\" }")
            .line("client_auth = { mode = \"optional\", ca = \"clients.crt\" }")
            .line("proxy_protocol = { send = \"v2\" }");
        Self {
            leaf: clients.leaf("app.example"),
            daemon: builder.listener(listener).start(),
            servers,
            backend,
        }
    }

    /// Returns what the newest connection to the backend began with, once it has the whole header.
    fn told(&self) -> (Fields, Vec<u8>) {
        let mut found = None;
        until("the header has arrived", || {
            found = self.backend.heard().last().and_then(|it| parse(it));
            found.is_some()
        });
        found.unwrap()
    }
}

#[test]
fn a_backend_is_told_how_its_client_came() {
    let scene = Scene::new("tcp", echo());
    for (tls12, version, cipher) in [
        (false, "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        (true, "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ] {
        let client = Client::new(&scene.servers).old(tls12);
        let mut session = client.connect(scene.daemon.address()).unwrap();
        session.echo("hello").unwrap();
        let (fields, _) = scene.told();
        assert_eq!(fields[&AUTHORITY], b"localhost");
        assert!(!fields.contains_key(&ALPN));
        let (flags, verdict, inner) = ssl(&fields);
        assert_eq!(flags, USED);
        assert_ne!(verdict, 0, "there is no certificate to be good");
        assert_eq!(inner[&VERSION], version.as_bytes());
        assert_eq!(inner[&CIPHER], cipher.as_bytes());
        assert!(!inner.contains_key(&COMMON_NAME));
    }
}

#[test]
fn a_backend_is_told_whose_certificate_was_shown_and_when() {
    let scene = Scene::new("tcp", echo());
    for tls12 in [false, true] {
        let client = Client::new(&scene.servers).old(tls12).present(&scene.leaf);
        let client = client.resuming();
        for resumed in [false, true] {
            let mut session = client.connect(scene.daemon.address()).unwrap();
            session.echo("hello").unwrap();
            assert_eq!(session.is_resumed(), resumed);
            let (flags, verdict, inner) = ssl(&scene.told().0);
            let when = if resumed { KNOWN } else { SHOWN | KNOWN };
            assert_eq!((flags, verdict), (USED | when, 0));
            assert_eq!(inner[&COMMON_NAME], b"app.example");
        }
    }
}

#[test]
fn a_backend_is_told_nothing_of_tls_that_there_is_not() {
    let scene = Scene::new("tcp", echo());
    let mut socket = connect(scene.daemon.address()).unwrap();
    socket.write_all(b"plain").unwrap();
    let mut reply = [0; 5];
    socket.read_exact(&mut reply).unwrap();
    let (fields, rest) = scene.told();
    assert!(fields.is_empty());
    assert_eq!(rest, b"plain");
}

#[test]
fn postgres_is_told_before_its_session_begins() {
    let listening = Fake::new(Heard::listen);
    let scene = Scene::new("postgres", listening);
    let mut socket = connect(scene.daemon.address()).unwrap();
    socket.write_all(SSL_REQUEST).unwrap();
    socket.read_exact(&mut [0]).unwrap();
    let client = Client::new(&scene.servers).present(&scene.leaf);
    let mut session = client.over(socket).unwrap();
    session.send(&startup()).unwrap();
    until("all has arrived", || scene.told().1 == startup());
    let (flags, verdict, inner) = ssl(&scene.told().0);
    assert_eq!((flags, verdict), (USED | SHOWN | KNOWN, 0));
    assert_eq!(inner[&COMMON_NAME], b"app.example");
}

#[test]
fn mysql_is_told_no_more_than_the_address_because_it_speaks_first() {
    let scene = Scene::new("mysql", Fake::saying(&greeting()));
    let mut socket = connect(scene.daemon.address()).unwrap();
    read_packet(&mut socket).unwrap();
    let client = Client::new(&scene.servers).present(&scene.leaf);
    let _session = client
        .behind(&mysql_ssl_request(), usize::MAX, socket)
        .unwrap();
    assert_eq!(scene.told(), (Fields::new(), Vec::new()));
}
