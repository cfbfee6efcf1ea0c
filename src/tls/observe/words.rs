//! Why a handshake came to nothing, as a person is told.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// Why a handshake came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// What came is no TLS.
    #[error("it does not speak TLS")]
    NotTls,
    /// It speaks only versions that are not spoken any more.
    #[error("it speaks only an older TLS than 1.2, which clients of today refuse")]
    OldTls,
    /// It ends the handshake and says why by an alert (RFC 8446 §6).
    #[error("it ends the handshake with the alert \"{}\"{}", name(*.0), advice(*.0))]
    Alert(AlertDescription),
    /// It did not prove that it holds the key of its certificate.
    #[error(
        "its signature in the handshake is not by its certificate's key, or by one that clients refuse, such as \
         RSA with fewer than 2048 bits"
    )]
    Signature,
    /// It shows a certificate that cannot be read.
    #[error("its certificate cannot be read")]
    Unreadable,
    /// It sent more than a handshake needs.
    #[error("it sends more than a handshake can have")]
    TooLong,
    /// Another rule of TLS is broken, or there is nothing in common.
    #[error("the handshake failed: {0}")]
    Other(String),
}

impl Broken {
    /// Whether a server says by this that it wants a certificate of the client: `certificate_required` (RFC 8446 §6.2), or
    /// what servers of TLS 1.2 send in its place.
    pub fn is_for_want_of_certificate(&self) -> bool {
        matches!(
            self,
            Self::Alert(
                AlertDescription::CertificateRequired
                    | AlertDescription::HandshakeFailure
                    | AlertDescription::NoCertificate
                    | AlertDescription::BadCertificate
                    | AlertDescription::CertificateUnknown
                    | AlertDescription::UnknownCA
                    | AlertDescription::AccessDenied
            )
        )
    }

    /// Sorts what the TLS library says.
    pub(super) fn of(error: &Error) -> Self {
        let shared = |what| Self::Other(format!("the two sides have no {what} in common"));
        match error {
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload,
            ) => Self::NotTls,
            Error::AlertReceived(AlertDescription::ProtocolVersion)
            | Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => Self::OldTls,
            Error::AlertReceived(alert) => Self::Alert(*alert),
            Error::InvalidCertificate(CertificateError::BadEncoding) => Self::Unreadable,
            Error::InvalidCertificate(_) => Self::Signature,
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
                shared("cipher suite")
            }
            Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon) => {
                shared("group for the key exchange")
            }
            Error::PeerIncompatible(PeerIncompatible::ExtendedMasterSecretExtensionRequired) => {
                Self::Other("it has no extended master secret (RFC 7627)".to_owned())
            }
            error => Self::Other(error.to_string()),
        }
    }
}

/// Returns an alert's name as RFC 8446 §6 has it.
fn name(alert: AlertDescription) -> String {
    if alert == AlertDescription::UnrecognisedName {
        return "unrecognized_name".to_owned();
    }
    let name = format!("{alert:?}");
    let mut words = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        if character.is_ascii_uppercase() && !words.is_empty() {
            words.push('_');
        }
        words.push(character.to_ascii_lowercase());
    }
    words
}

fn advice(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::UnrecognisedName => {
            ": it has no certificate for the name that was asked for; ask for another by --name"
        }
        AlertDescription::HandshakeFailure => {
            ": the two sides have no TLS version, cipher suite or signature in common"
        }
        AlertDescription::NoApplicationProtocol => {
            ": it wants another protocol; name the right one by --protocol"
        }
        _ => "",
    }
}
