//! What a version 2 header tells about the client's TLS, in the fields `PP2_TYPE_ALPN`,
//! `PP2_TYPE_AUTHORITY` and `PP2_TYPE_SSL`.
//!
//! Layout of the last `PP2_TYPE_SSL`: flags (1); outcome of the check of the client's certificate
//! (4, zero for good); further fields inside: version, cipher, common name of the certificate.

use super::field;
use crate::protocol::bytes::Reader;

/// The client came over TLS.
const CAME_OVER_TLS: u8 = 0x01;
/// The client showed a certificate over this connection.
const CERTIFICATE: u8 = 0x02;
/// The client showed a certificate in this TLS session, perhaps over an earlier connection.
const CERTIFICATE_IN_SESSION: u8 = 0x04;

/// `PP2_TYPE_ALPN`.
const ALPN: u8 = 0x01;
/// `PP2_TYPE_AUTHORITY`.
const AUTHORITY: u8 = 0x02;
/// `PP2_TYPE_SSL`.
const SSL: u8 = 0x20;

const VERSION: u8 = 0x21;
const COMMON_NAME: u8 = 0x22;
const CIPHER: u8 = 0x23;

/// Longest text that is written. A longer common name is left out: cut short, it might be the name of
/// another client.
const TEXT_LIMIT: usize = 256;

/// The client's TLS with the sender of the header.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientTls {
    /// The client came over TLS at all.
    pub used: bool,
    /// Its certificate.
    pub certificate: Certificate,
    /// The certificate, if any was shown, was found good.
    pub verified: bool,
    /// `TLSv1.3`, for example.
    pub version: Option<String>,
    /// Cipher suite.
    pub cipher: Option<String>,
    /// Common name of the certificate's subject.
    pub common_name: Option<String>,
    /// The application protocol that was agreed on (RFC 7301).
    pub alpn: Option<Vec<u8>>,
    /// The server name that the client asked for (RFC 6066 §3).
    pub server_name: Option<String>,
}

/// Whether and when a client showed a certificate.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Certificate {
    /// It showed none.
    #[default]
    Absent,
    /// On an earlier connection of the same TLS session.
    InSession,
    /// On this connection.
    OnConnection,
}

impl Certificate {
    fn from_flags(flags: u8) -> Self {
        if flags & CERTIFICATE != 0 {
            Self::OnConnection
        } else if flags & CERTIFICATE_IN_SESSION != 0 {
            Self::InSession
        } else {
            Self::Absent
        }
    }

    fn flags(self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::InSession => CERTIFICATE_IN_SESSION,
            Self::OnConnection => CERTIFICATE | CERTIFICATE_IN_SESSION,
        }
    }
}

impl ClientTls {
    /// Reads a field into what is known so far; others than those about TLS are skipped. `None` if it
    /// is cut.
    pub(super) fn read(known: &mut Option<Self>, kind: u8, value: &[u8]) -> Option<()> {
        match kind {
            ALPN => known.get_or_insert_default().alpn = Some(value.to_vec()),
            AUTHORITY => known.get_or_insert_default().server_name = text(value),
            SSL => {
                let Self {
                    alpn, server_name, ..
                } = known.take().unwrap_or_default();
                *known = Some(Self {
                    alpn,
                    server_name,
                    ..Self::parse(value)?
                });
            }
            _ => {}
        }
        Some(())
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let flags = reader.u8()?;
        let mut tls = Self {
            used: flags & CAME_OVER_TLS != 0,
            certificate: Certificate::from_flags(flags),
            verified: reader.u32_be()? == 0,
            ..Self::default()
        };
        while !reader.rest().is_empty() {
            let (kind, value) = field::read(&mut reader)?;
            match kind {
                VERSION => tls.version = text(value),
                COMMON_NAME => tls.common_name = text(value),
                CIPHER => tls.cipher = text(value),
                _ => {}
            }
        }
        Some(tls)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let used = if self.used { CAME_OVER_TLS } else { 0 };
        let mut value = vec![used | self.certificate.flags()];
        value.extend_from_slice(&u32::from(!self.verified).to_be_bytes());
        let texts = [
            (VERSION, &self.version),
            (COMMON_NAME, &self.common_name),
            (CIPHER, &self.cipher),
        ];
        for (kind, text) in texts {
            if let Some(text) = text.as_ref().filter(|text| text.len() <= TEXT_LIMIT) {
                field::write(kind, text.as_bytes(), &mut value);
            }
        }
        let server_name = self.server_name.as_ref().map(String::as_bytes);
        for (kind, value) in [(ALPN, self.alpn.as_deref()), (AUTHORITY, server_name)] {
            if let Some(value) = value.filter(|value| value.len() <= TEXT_LIMIT) {
                field::write(kind, value, out);
            }
        }
        field::write(SSL, &value, out);
    }
}

fn text(value: &[u8]) -> Option<String> {
    str::from_utf8(value).ok().map(str::to_owned)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        pub(crate) fn client_tls()(
            flags in any::<(bool, bool)>(),
            certificate in prop_oneof![
                Just(Certificate::Absent),
                Just(Certificate::InSession),
                Just(Certificate::OnConnection),
            ],
            version: Option<[char; 4]>,
            cipher: Option<[char; 9]>,
            common_name: Option<[char; 5]>,
            alpn: Option<[u8; 3]>,
            server_name: Option<[char; 4]>,
        ) -> ClientTls {
            ClientTls {
                used: flags.0,
                certificate,
                verified: flags.1,
                version: version.map(String::from_iter),
                cipher: cipher.map(String::from_iter),
                common_name: common_name.map(String::from_iter),
                alpn: alpn.map(Vec::from),
                server_name: server_name.map(String::from_iter),
            }
        }
    }

    #[test]
    fn flags_and_texts_have_their_places() {
        let tls = ClientTls {
            used: true,
            certificate: Certificate::InSession,
            verified: true,
            common_name: Some("app".to_owned()),
            ..ClientTls::default()
        };
        let mut out = Vec::new();
        tls.write(&mut out);
        assert_eq!(out, b"\x20\0\x0b\x05\0\0\0\0\x22\0\x03app");
        assert_eq!(ClientTls::parse(&out[3..]), Some(tls));
    }

    #[test]
    fn a_long_name_is_left_out() {
        let tls = ClientTls {
            common_name: Some("n".repeat(TEXT_LIMIT + 1)),
            ..ClientTls::default()
        };
        let mut out = Vec::new();
        tls.write(&mut out);
        assert_eq!(out.len(), 3 + 5);
    }

    #[test]
    fn cut_fields_are_refused() {
        let whole = b"\x01\0\0\0\0\x21\0\x02v1";
        for end in [0, 1, 4, 6, 8, 9] {
            assert_eq!(ClientTls::parse(&whole[..end]), None, "{end}");
        }
    }
}
