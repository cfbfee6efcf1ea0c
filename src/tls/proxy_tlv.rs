//! What backends and logs may be told about a client's TLS.

use super::{notes::printable, stream::TlsStream};
use crate::{
    protocol::proxy_header::{Certificate, ClientTls},
    x509::certificate,
};

/// A certificate that a peer has shown and that was found good; its subject is safe to print and not
/// long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownCertificate {
    /// The subject's distinguished name.
    pub subject: String,
    /// SHA-256 of its DER, lower-case hexadecimal.
    pub sha256: String,
}

impl ShownCertificate {
    /// Returns what is shown of a certificate, given in DER.
    pub fn of(der: &[u8]) -> Self {
        let subject = certificate::parse(der).map_or_else(
            |_| "unreadable".to_owned(),
            |parsed| printable(&parsed.subject().to_string()),
        );
        Self {
            subject,
            sha256: certificate::sha256(der),
        }
    }
}

impl TlsStream {
    /// Returns SHA-256 of the certificate that the peer has shown; `None` if it has shown none.
    pub fn peer_digest(&self) -> Option<[u8; 32]> {
        self.peer_chain().next().map(certificate::digest)
    }

    /// Returns what a PROXY header tells about this connection, once its handshake is over and before
    /// its opening is forgotten.
    pub fn proxy_tlv(&self) -> ClientTls {
        let shown = self.peer_chain().next();
        ClientTls {
            used: true,
            certificate: match (shown, self.opening()) {
                (Some(_), Some(opening)) if opening.is_resumed => Certificate::InSession,
                (Some(_), _) => Certificate::OnConnection,
                (None, _) => Certificate::Absent,
            },
            // No handshake ends with a certificate that was not found good.
            verified: shown.is_some(),
            version: Some(self.version().to_owned()),
            cipher: self.suite().map(openssl_name),
            common_name: shown.and_then(common_name),
            alpn: self.alpn().map(<[u8]>::to_vec),
            server_name: self.server_name().map(str::to_owned),
        }
    }
}

/// Returns the subject's common name. Of several, none can be told to be the one that is meant.
fn common_name(leaf: &[u8]) -> Option<String> {
    let parsed = certificate::parse(leaf).ok()?;
    match certificate::common_names(&parsed)[..] {
        [name] => Some(name.to_owned()),
        _ => None,
    }
}

/// Returns a cipher suite as OpenSSL names it, which is what readers of PROXY headers know. Those of
/// TLS 1.3 have the same names in IANA's registry.
pub fn openssl_name(name: &str) -> String {
    if !name.contains("_WITH_") {
        return name.to_owned();
    }
    let name = name.trim_start_matches("TLS_");
    let name = match name.strip_suffix("_POLY1305_SHA256") {
        Some(name) => format!("{name}_POLY1305"),
        None => name.to_owned(),
    };
    name.replace("_WITH_", "_")
        .replace("AES_", "AES")
        .replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::records::suite::SUITES;

    #[test]
    fn ciphers_are_named_as_openssl_names_them() {
        let names: Vec<_> = SUITES
            .iter()
            .map(|suite| openssl_name(suite.name))
            .collect();
        let expected = [
            "TLS_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-RSA-CHACHA20-POLY1305",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ];
        assert_eq!(names, expected);
    }
}
