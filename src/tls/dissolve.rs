//! The end of a handshake: rustls' connection becomes plain data.

use rustls::{
    CommonState, ConnectionTrafficSecrets, Error, ExtractedSecrets, HandshakeKind, KeyLog,
    pki_types::CertificateDer,
};
use zeroize::Zeroizing;

use super::{
    failure::TlsError,
    handshake::{Handshake, Side},
    notes::{Notes, note},
    records::{
        Records, Role, State, Suite,
        state::{Secrets, StateError},
    },
};

/// What the opening of a session may ask about its handshake.
pub(super) struct Opening {
    /// The protocol that was agreed on by ALPN (RFC 7301).
    pub(super) alpn: Option<Box<[u8]>>,
    /// The name that the client has asked for.
    pub(super) asked: Option<Box<str>>,
    /// SHA-256 of the certificate that was shown to the peer.
    pub(super) shown: Option<[u8; 32]>,
    /// The certificates that the peer has shown, its own first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// Whether the session goes on with what an earlier one was believed.
    pub(super) is_resumed: bool,
}

impl Opening {
    fn new(state: &CommonState, notes: &mut Notes) -> Self {
        Self {
            alpn: state.alpn_protocol().map(Box::from),
            asked: notes.asked.take(),
            shown: notes.shown,
            chain: state.peer_certificates().unwrap_or_default().to_vec(),
            is_resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

/// The application traffic secrets of a TLS 1.3 connection (RFC 8446 §7.1).
#[derive(Default)]
pub(super) struct TrafficSecrets {
    client: Zeroizing<Vec<u8>>,
    server: Zeroizing<Vec<u8>>,
}

/// Nothing of them may be shown.
impl std::fmt::Debug for TrafficSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrafficSecrets").finish_non_exhaustive()
    }
}

/// Writes the secrets of a session into the notes of the connection that is being read. rustls gives
/// them to a key log alone.
#[derive(Debug)]
pub(super) struct SecretNotes;

/// What the two secrets are called (NSS key log format, as rustls has it).
const CLIENT_SECRET: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER_SECRET: &str = "SERVER_TRAFFIC_SECRET_0";

impl KeyLog for SecretNotes {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        let secret = Zeroizing::new(secret.to_vec());
        note(|notes| {
            let secrets = notes.secrets.get_or_insert_default();
            match label {
                CLIENT_SECRET => secrets.client = secret,
                SERVER_SECRET => secrets.server = secret,
                _ => {}
            }
        });
    }

    fn will_log(&self, label: &str) -> bool {
        matches!(label, CLIENT_SECRET | SERVER_SECRET)
    }
}

/// Takes a connection apart whose handshake is over and whose messages were all put out.
pub(super) fn dissolve(handshake: Handshake) -> Result<(Records, Opening), TlsError> {
    let Handshake {
        side, mut notes, ..
    } = handshake;
    let (role, opening, suite, secrets) = match side {
        Side::Client(it) => {
            let (opening, suite) = (Opening::new(&it, &mut notes), suite(&it)?);
            (
                Role::Client,
                opening,
                suite,
                it.dangerous_into_kernel_connection()?.0,
            )
        }
        Side::Server(it) => {
            let (opening, suite) = (Opening::new(&it, &mut notes), suite(&it)?);
            (
                Role::Server,
                opening,
                suite,
                it.dangerous_into_kernel_connection()?.0,
            )
        }
    };
    let state = state(suite, role, &secrets, &notes.secrets.unwrap_or_default())?;
    Ok((Records::from(state), opening))
}

fn suite(state: &CommonState) -> Result<&'static Suite, TlsError> {
    let suite = state.negotiated_cipher_suite();
    let code = u16::from(suite.ok_or(Error::HandshakeNotComplete)?.suite());
    Ok(Suite::find(code).ok_or(StateError::Suite(code))?)
}

fn state(
    suite: &'static Suite,
    role: Role,
    extracted: &ExtractedSecrets,
    traffic: &TrafficSecrets,
) -> Result<State, TlsError> {
    let (own, peers) = match role {
        Role::Client => (&traffic.client, &traffic.server),
        Role::Server => (&traffic.server, &traffic.client),
    };
    let sending = secrets(&extracted.tx, own)?;
    let receiving = secrets(&extracted.rx, peers)?;
    Ok(State::new(suite, role, sending, receiving)?)
}

fn secrets<'s>(
    (sequence, keys): &'s (u64, ConnectionTrafficSecrets),
    traffic_secret: &'s [u8],
) -> Result<Secrets<'s>, TlsError> {
    let (key, iv) = match keys {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key.as_ref(), iv.as_ref()),
        _ => return Err(StateError::Value("cipher").into()),
    };
    Ok(Secrets {
        key,
        iv,
        sequence: *sequence,
        traffic_secret,
    })
}
