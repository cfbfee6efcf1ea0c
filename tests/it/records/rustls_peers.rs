//! rustls on either side, with changes of keys of its own, and in sessions that were resumed.

use std::io::{Read as _, Write as _};

use rustls::{ServerConfig, ServerConnection, Stream, pki_types::PrivateKeyDer};

use crate::support::{
    client::{Client, Session},
    configuration::Listener,
    daemon::TestDaemon,
    fake::Fake,
    pki::{Ca, Leaf},
};

/// Changes the client's keys, and has a line echoed, again and again.
fn change_keys(session: &mut Session) {
    for number in 0..100 {
        session.parts().0.refresh_traffic_keys().unwrap();
        session.echo(&format!("line {number}")).unwrap();
    }
}

#[test]
fn rustls_changes_its_keys_as_a_client() {
    let ca = Ca::new("authority");
    let daemon = TestDaemon::builder()
        .identity("default", &ca.leaf("localhost"))
        .start();
    let mut session = Client::new(&ca).connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
    change_keys(&mut session);
}

/// The daemon's tickets stand in front of all data, and the secrets come from another place than in a
/// full handshake.
#[test]
fn rustls_changes_its_keys_in_a_session_that_was_resumed() {
    let ca = Ca::new("authority");
    let builder = TestDaemon::builder().identity("default", &ca.leaf("localhost"));
    let backend = builder.backend().address();
    let tickets = "tls = { resumption = \"tickets\" }";
    let daemon = builder
        .listener(Listener::tcp("main", &backend).line(tickets))
        .start();
    for old in [false, true] {
        let client = Client::new(&ca).old(old).resuming();
        for round in 0..3 {
            let mut session = client.connect(daemon.address()).unwrap();
            session.echo("hello").unwrap();
            assert_eq!(session.is_resumed(), round > 0, "{old}");
            if !old {
                change_keys(&mut session);
            }
        }
    }
}

/// A backend that echoes and changes its keys each time.
fn restless(leaf: &Leaf) -> Fake {
    let key = PrivateKeyDer::try_from(leaf.key_der.clone()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = ServerConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der.clone().into()], key)
        .unwrap();
    let config = std::sync::Arc::new(config);
    Fake::new(move |connection| {
        let mut tls = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
        let mut socket = connection.stream();
        socket.set_nodelay(true)?;
        let mut stream = Stream::new(&mut tls, &mut socket);
        let mut space = [0; 4096];
        loop {
            let read = stream.read(&mut space)?;
            if read == 0 {
                return Ok(());
            }
            let refreshed = stream.conn.refresh_traffic_keys();
            refreshed.map_err(std::io::Error::other)?;
            stream.write_all(&space[..read])?;
        }
    })
}

#[test]
fn rustls_changes_its_keys_as_a_backend_while_the_client_changes_its_own() {
    let ca = Ca::new("authority");
    let backend = restless(&ca.leaf("localhost"));
    let listener =
        Listener::tcp("main", &backend.address()).line("backend_tls = { mode = \"require\" }");
    let daemon = TestDaemon::builder()
        .identity("default", &ca.leaf("localhost"))
        .listener(listener)
        .start();
    let mut session = Client::new(&ca).connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
    change_keys(&mut session);
}
