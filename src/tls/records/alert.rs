//! Alerts: the words in which TLS ends (RFC 8446 §6, RFC 5246 §7.2).

use std::fmt;

use super::{
    Fault,
    state::{Role, State},
    suite::Version,
};

/// How grave an alert is. TLS 1.3 judges by the description alone, but still sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The connection may go on.
    Warning = 1,
    /// The connection is over.
    Fatal = 2,
}

/// The description of an alert, as its number in IANA's registry of TLS alerts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Alert(pub u8);

impl Alert {
    /// The sender sends nothing more.
    pub const CLOSE_NOTIFY: Self = Self(0);
    /// A message came that has no place there.
    pub const UNEXPECTED_MESSAGE: Self = Self(10);
    /// A record was not protected by the key.
    pub const BAD_RECORD_MAC: Self = Self(20);
    /// A record was too long.
    pub const RECORD_OVERFLOW: Self = Self(22);
    /// A field had a value that it must not have.
    pub const ILLEGAL_PARAMETER: Self = Self(47);
    /// A message could not be read.
    pub const DECODE_ERROR: Self = Self(50);
    /// The sender cannot go on for a reason of its own.
    pub const INTERNAL_ERROR: Self = Self(80);
    /// The sender's user gave up.
    pub const USER_CANCELED: Self = Self(90);
    /// The sender keeps its keys (RFC 5246 §7.2.2).
    pub const NO_RENEGOTIATION: Self = Self(100);

    /// Returns the name in the registry.
    pub fn name(self) -> &'static str {
        match self.0 {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            21 => "decryption_failed",
            22 => "record_overflow",
            30 => "decompression_failure",
            40 => "handshake_failure",
            41 => "no_certificate",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            60 => "export_restriction",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            100 => "no_renegotiation",
            109 => "missing_extension",
            110 => "unsupported_extension",
            111 => "certificate_unobtainable",
            112 => "unrecognized_name",
            113 => "bad_certificate_status_response",
            114 => "bad_certificate_hash_value",
            115 => "unknown_psk_identity",
            116 => "certificate_required",
            120 => "no_application_protocol",
            121 => "ech_required",
            _ => "unknown",
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl fmt::Debug for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Takes the content of an alert record.
///
/// An alert is a record of its own (RFC 8446 §5.1), and TLS 1.2 is held to that too.
pub(super) fn hear(state: &mut State, content: &[u8]) -> Result<(), Fault> {
    let [level, description] = *content else {
        return Err(Fault::Undecodable);
    };
    let alert = Alert(description);
    match (level, alert) {
        (1 | 2, Alert::CLOSE_NOTIFY) => {
            state.peer_closed = true;
            Ok(())
        }
        (1, alert) => warned(state, alert),
        (2, alert) => Err(Fault::AlertReceived(alert)),
        _ => Err(Fault::AlertLevel),
    }
}

/// TLS 1.3 has no warnings but one that some peers send in front of `close_notify`.
fn warned(state: &mut State, alert: Alert) -> Result<(), Fault> {
    if state.version() == Version::Tls13 && alert != Alert::USER_CANCELED {
        return Err(Fault::WarningReceived(alert));
    }
    let left = state.counters.warnings.checked_sub(1);
    state.counters.warnings = left.ok_or(Fault::TooManyWarnings)?;
    Ok(())
}

/// Returns the type of the handshake message by which a peer asks for new keys in TLS 1.2
/// (RFC 5246 §7.4.1): the client's hello to us as a server, a server's request to us as a client.
pub(super) fn renegotiation(role: Role) -> u8 {
    match role {
        Role::Client => 0,
        Role::Server => 1,
    }
}
