//! Why an established session ends by TLS itself.

use super::{Alert, limits::Wear};

/// Why an established session ended by TLS itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The peer said that it ends the connection.
    #[error("received fatal alert: {0}")]
    AlertReceived(Alert),
    /// The peer of a TLS 1.3 session sent a warning, of which that version has none.
    #[error("received an alert that TLS 1.3 knows no warning for: {0}")]
    WarningReceived(Alert),
    /// An alert was neither a warning nor fatal.
    #[error("the peer sent an alert of an unknown level")]
    AlertLevel,
    /// A record was not protected by the key: altered on the way, lost, doubled or cut out.
    #[error("a record of the peer cannot be decrypted")]
    BadRecord,
    /// A record or its content was longer than TLS allows.
    #[error("the peer sent a record that is longer than TLS allows")]
    Overflow,
    /// A record was of no version of TLS.
    #[error("the peer sent a record of an unknown version")]
    RecordVersion,
    /// A record had a type that has no place in an established session.
    #[error("the peer sent a record of type {0}, which has no place in a session")]
    RecordType(u8),
    /// A record of TLS 1.3 held nothing but padding.
    #[error("the peer sent a record without a content type")]
    NoContentType,
    /// An alert or a handshake record was empty.
    #[error("the peer sent an empty record of type {0}")]
    EmptyRecord(u8),
    /// Many empty records came in a row.
    #[error("the peer sends empty records and nothing else")]
    TooManyEmptyRecords,
    /// Something came between two pieces of a handshake message.
    #[error("the peer sent another record in the middle of a handshake message")]
    Interleaved,
    /// A handshake message came that has no place in an established session.
    #[error("the peer sent a handshake message of type {0}, which has no place in a session")]
    MessageType(u8),
    /// A message could not be read.
    #[error("the peer sent a message that cannot be read")]
    Undecodable,
    /// A `KeyUpdate` was followed by something in its record.
    #[error("the peer changed its key in the middle of a record")]
    KeyUpdateInside,
    /// A `KeyUpdate` asked for something unknown.
    #[error("the peer sent a KeyUpdate with the unknown value {0}")]
    KeyUpdateValue(u8),
    /// Many `KeyUpdate` messages came without data in between, in either direction.
    #[error("the peer changes its key again and again while no data is sent")]
    TooManyKeyUpdates,
    /// Many warnings came.
    #[error("the peer sent too many warnings")]
    TooManyWarnings,
    /// The peer asked for new keys in TLS 1.2 again after that was refused.
    #[error("the peer asks for a renegotiation again, which was refused")]
    TooManyRenegotiations,
    /// A key that cannot be renewed has protected as much as it may.
    #[error("a key is used up: {0}")]
    KeysExhausted(Wear),
    /// Something was to be sent behind the end.
    #[error("something was to be sent after the end of the session")]
    SentBehindClose,
    /// The cryptography refused to work.
    #[error("the cryptography failed")]
    Cryptography,
}

impl Fault {
    /// Returns the alert that tells the peer.
    ///
    /// None answers a fatal alert: its sender has closed already (RFC 8446 §6.2).
    pub fn alert(self) -> Option<Alert> {
        Some(match self {
            Self::AlertReceived(_) | Self::SentBehindClose => return None,
            Self::WarningReceived(_) | Self::Undecodable | Self::RecordVersion => {
                Alert::DECODE_ERROR
            }
            Self::AlertLevel | Self::KeyUpdateValue(_) => Alert::ILLEGAL_PARAMETER,
            Self::BadRecord => Alert::BAD_RECORD_MAC,
            Self::Overflow => Alert::RECORD_OVERFLOW,
            Self::KeysExhausted(_) | Self::Cryptography => Alert::INTERNAL_ERROR,
            Self::RecordType(_)
            | Self::NoContentType
            | Self::EmptyRecord(_)
            | Self::TooManyEmptyRecords
            | Self::Interleaved
            | Self::MessageType(_)
            | Self::KeyUpdateInside
            | Self::TooManyKeyUpdates
            | Self::TooManyWarnings
            | Self::TooManyRenegotiations => Alert::UNEXPECTED_MESSAGE,
        })
    }
}
