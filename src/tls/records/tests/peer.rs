//! The peers of these tests.

use std::{
    io::{Read as _, Write as _},
    sync::{Arc, Mutex, OnceLock},
};

use rcgen::KeyPair;
use rustls::{
    ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
    client::UnbufferedClientConnection,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    server::UnbufferedServerConnection,
    version::{TLS12, TLS13},
};

use super::*;
use crate::tls::{
    dissolve::{SecretNotes, dissolve},
    handshake::{Handshake, Side},
    provider,
    testing::{Ca, params},
    trust::verifier::{BackendVerifier, Check},
};

/// A certificate and its key, of the kind that a suite wants.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn identity(suite: &Suite) -> &'static Identity {
    static RSA: OnceLock<Identity> = OnceLock::new();
    static ECDSA: OnceLock<Identity> = OnceLock::new();
    let make = |key: KeyPair| {
        let pair = Ca::new("root").leaf_with(&params(&["db"]), &key).pair();
        Identity {
            chain: pair.certificates(),
            key: pair.key.to_rustls().unwrap(),
        }
    };
    if suite.name.contains("_RSA_") {
        RSA.get_or_init(|| make(KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap()))
    } else {
        ECDSA.get_or_init(|| make(KeyPair::generate().unwrap()))
    }
}

/// Returns a provider that knows this suite alone.
fn only(suite: &Suite) -> Arc<CryptoProvider> {
    let mut provider = (*provider()).clone();
    let wanted = |it: &rustls::SupportedCipherSuite| u16::from(it.suite()) == suite.code;
    provider.cipher_suites.retain(wanted);
    Arc::new(provider)
}

fn server_config(suite: &Suite, tickets: usize) -> ServerConfig {
    let Identity { chain, key } = identity(suite);
    let mut config = ServerConfig::builder_with_provider(only(suite))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .unwrap_or_else(|_| unreachable!())
        .with_no_client_auth()
        .with_single_cert(chain.clone(), key.clone_key())
        .unwrap();
    config.send_tls13_tickets = tickets;
    config.enable_secret_extraction = true;
    config.key_log = Arc::new(SecretNotes);
    config
}

fn client_config(suite: &Suite) -> ClientConfig {
    let version = match suite.version() {
        Version::Tls12 => &TLS12,
        Version::Tls13 => &TLS13,
    };
    trusting(only(suite), version)
}

/// Returns a client that believes any certificate and gives out its secrets.
pub(crate) fn trusting(
    provider: Arc<CryptoProvider>,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let verifier = BackendVerifier::new(Check::Nothing, Vec::new()).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    config.key_log = Arc::new(SecretNotes);
    config
}

/// A rustls with buffers, as programs use it.
pub(crate) struct Peer(Connection);

impl Peer {
    /// Begins the other end of `role`.
    fn new(suite: &Suite, role: Role, tickets: usize) -> Self {
        Self(match role {
            Role::Client => {
                let config = Arc::new(server_config(suite, tickets));
                ServerConnection::new(config).unwrap().into()
            }
            Role::Server => {
                let config = Arc::new(client_config(suite));
                let name = ServerName::try_from("db").unwrap();
                ClientConnection::new(config, name).unwrap().into()
            }
        })
    }

    /// Returns what it has to send.
    pub(crate) fn flight(&mut self) -> Vec<u8> {
        let mut flight = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut flight).unwrap();
        }
        flight
    }

    /// Returns `plain`, sealed.
    pub(crate) fn seal(&mut self, mut plain: &[u8]) -> Vec<u8> {
        let mut flight = Vec::new();
        while !plain.is_empty() {
            let taken = self.0.writer().write(plain).unwrap();
            plain = &plain[taken..];
            flight.extend(self.flight());
        }
        flight
    }

    /// Takes `bytes`; returns what they held.
    pub(crate) fn open(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let mut plain = Vec::new();
        while !bytes.is_empty() {
            self.0.read_tls(&mut bytes).unwrap();
            self.0.process_new_packets()?;
            // At the end of what has come, the reader would block.
            let _ = self.0.reader().read_to_end(&mut plain);
        }
        Ok(plain)
    }

    /// Returns whether we have said that we send nothing more.
    pub(super) fn is_told_of_the_end(&mut self) -> bool {
        self.0.process_new_packets().unwrap().peer_has_closed()
    }

    /// Changes its key, and asks for the same.
    pub(crate) fn update_key(&mut self) -> Vec<u8> {
        self.0.refresh_traffic_keys().unwrap();
        self.flight()
    }

    /// Says that it sends nothing more.
    pub(crate) fn close(&mut self) -> Vec<u8> {
        self.0.send_close_notify();
        self.flight()
    }
}

/// Makes a session with a rustls as the peer. What the peer has sent behind the handshake, such as
/// tickets, comes third.
pub(crate) fn session(suite: &Suite, role: Role, tickets: usize) -> (Records, Peer, Vec<u8>) {
    let mut peer = Peer::new(suite, role, tickets);
    let mut ours = Handshake::new(
        match role {
            Role::Server => Side::Server(Box::new(
                UnbufferedServerConnection::new(Arc::new(server_config(suite, tickets))).unwrap(),
            )),
            Role::Client => {
                let name = ServerName::try_from("db").unwrap();
                let config = Arc::new(client_config(suite));
                Side::Client(Box::new(
                    UnbufferedClientConnection::new(config, name).unwrap(),
                ))
            }
        },
        None,
    );
    let (mut out, mut waiting) = (Space::default(), Vec::new());
    loop {
        out.clear();
        let used = ours.receive(&mut waiting, &mut out).unwrap();
        waiting.drain(..used);
        peer.open(out.filled()).unwrap();
        waiting.extend(peer.flight());
        if ours.is_over() {
            break;
        }
    }
    (dissolve(ours).unwrap().0, peer, waiting)
}

/// Returns a session of ours and its other end, which keeps no rule.
pub(super) fn pair(suite: &'static Suite, role: Role) -> (Records, Rogue) {
    static SESSIONS: Mutex<Vec<State>> = Mutex::new(Vec::new());
    let mut sessions = SESSIONS.lock().unwrap();
    let known = sessions
        .iter()
        .find(|it| it.suite == suite && it.role == role);
    let ours = Records::from(known.cloned().unwrap_or_else(|| {
        let new = session(suite, role, 0).0.state().clone();
        sessions.push(new.clone());
        new
    }));
    let rogue = Rogue::of(&ours);
    (ours, rogue)
}

/// Runs `act` for each suite and each role.
pub(super) fn each(mut act: impl FnMut(&'static Suite, Role)) {
    for suite in &suite::SUITES {
        for role in [Role::Client, Role::Server] {
            act(suite, role);
        }
    }
}

/// What one end has received.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) plain: Vec<u8>,
    pub(super) out: Space,
}

/// Lets `records` take `bytes`, which are whole records.
pub(super) fn hear(records: &mut Records, bytes: &[u8]) -> Result<Heard, Fault> {
    let mut heard = Heard::default();
    let used = records.receive(bytes, &mut heard.plain, &mut heard.out)?;
    assert_eq!(used, bytes.len());
    Ok(heard)
}

/// Returns `plain`, sealed by `records`.
pub(super) fn seal(records: &mut Records, plain: &[u8]) -> Vec<u8> {
    let mut out = Space::default();
    records.send(plain, &mut out).unwrap();
    out.filled().to_vec()
}

/// The other end of a session of ours, which sends what it is told and sees what ours answers.
pub(super) struct Rogue(pub(super) Records);

impl Rogue {
    /// Begins beside `ours`.
    pub(super) fn of(ours: &Records) -> Self {
        let mut state = ours.state.as_ref().clone();
        std::mem::swap(&mut state.sending, &mut state.receiving);
        state.role = match state.role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        Self(Records::from(state))
    }

    /// Returns a record of this type with this content.
    pub(super) fn record(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut out = Space::default();
        self.0.seal(kind, content, &mut out).unwrap();
        out.filled().to_vec()
    }

    /// Returns a record that shows this type and version and protects just these bytes, whatever
    /// they are.
    pub(super) fn raw(&mut self, shown: u8, minor: u8, inner: &[u8]) -> Vec<u8> {
        let state = &mut self.0.state;
        let (suite, half) = (state.suite, &mut state.sending);
        let (explicit, nonce) = (suite.explicit_nonce_len(), half.nonce());
        let length = u16::try_from(explicit + inner.len() + open::TAG_LEN).unwrap();
        let [high, low] = length.to_be_bytes();
        let header = [shown, 3, minor, high, low];
        let sequence = half.sequence;
        let additional = open::Additional::new(suite.version(), sequence, header, inner.len());
        let mut sealed = inner.to_vec();
        half.cipher(suite)
            .unwrap()
            .seal_in_place_append_tag(
                key::unique(nonce),
                aws_lc_rs::aead::Aad::from(additional.unwrap()),
                &mut sealed,
            )
            .unwrap();
        half.count(1);
        [&header, &nonce[state::NONCE_LEN - explicit..], &sealed].concat()
    }

    /// Returns an alert.
    pub(super) fn alert(&mut self, level: u8, alert: Alert) -> Vec<u8> {
        self.record(open::kind::ALERT, &[level, alert.0])
    }

    /// Returns a handshake record.
    pub(super) fn handshake(&mut self, content: &[u8]) -> Vec<u8> {
        self.record(open::kind::HANDSHAKE, content)
    }

    /// Changes its key, as the `KeyUpdate` that was sent just now has said.
    pub(super) fn renew(&mut self) {
        let state = &mut *self.0.state;
        state.sending.renew(state.suite).unwrap();
        self.0.sealing = None;
    }

    /// Sees `ours` end because of `bytes`; returns why and which alert told of it.
    pub(super) fn ends(&mut self, ours: &mut Records, bytes: &[u8]) -> (Fault, Option<Alert>) {
        let (mut plain, mut out) = (Vec::new(), Space::default());
        let fault = ours.receive(bytes, &mut plain, &mut out).unwrap_err();
        let told = self.hears(out.filled());
        out.clear();
        ours.close(&mut out);
        let sent = ours.send(b"more", &mut out);
        assert_eq!(sent, Err(Fault::SentBehindClose));
        assert!(out.filled().is_empty(), "nothing is sent behind the end");
        (fault, told)
    }

    /// Returns the fatal alert in `bytes`, if they are not empty.
    pub(super) fn hears(&mut self, bytes: &[u8]) -> Option<Alert> {
        match hear(&mut self.0, bytes) {
            Err(Fault::AlertReceived(alert)) => Some(alert),
            Err(other) => panic!("{other}"),
            Ok(_) => None,
        }
    }
}
