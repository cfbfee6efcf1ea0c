//! What a file without a PEM block is instead, and how it becomes PEM.

use super::{
    der::{self, Structure},
    pem_fault::PemFault,
};

/// How a Java keystore begins, in its two forms.
const KEYSTORES: [[u8; 4]; 2] = [[0xfe, 0xed, 0xfe, 0xed], [0xce, 0xce, 0xce, 0xce]];

/// `-----BEGIN ` in base64: a file that was encoded once more.
const TWICE_ENCODED: &[u8] = b"LS0tLS1CRUdJTi";

/// Returns why a text that holds no PEM block holds none, as closely as can be told.
pub(super) fn nothing_in(text: &[u8]) -> PemFault {
    if let Some(encoding) = wide_text(text) {
        return PemFault::Wide { encoding };
    }
    if is_keystore(text) {
        return PemFault::Keystore;
    }
    if let Some(fault) = der::structure(text).map(in_der) {
        return fault;
    }
    // The long form of a SEQUENCE's length, X.690 §8.1.3.5.
    if let [0x30, 0x80..=0x84, ..] = text {
        return PemFault::Der;
    }
    if text.contains(&0) {
        return PemFault::Zeros;
    }
    in_text(text)
}

/// Whether it is Java's own form of a store, which newer versions no longer write by themselves.
pub(crate) fn is_keystore(bytes: &[u8]) -> bool {
    KEYSTORES.iter().any(|it| bytes.starts_with(it))
}

fn in_der(structure: Structure) -> PemFault {
    let (what, command) = match structure {
        Structure::Certificate => ("a certificate", "x509 -inform DER"),
        Structure::RevocationList => ("a revocation list", "crl -inform DER"),
        Structure::PrivateKey => ("a private key", "pkey -inform DER"),
        Structure::EncryptedKey => ("an encrypted private key", "pkcs8 -topk8 -inform DER"),
        Structure::Pkcs7 => ("PKCS#7", "pkcs7 -inform DER -print_certs"),
        Structure::Request => return PemFault::DerRequest,
        Structure::PublicKey => return PemFault::DerPublicKey,
        Structure::CutOff => return PemFault::DerCutOff,
    };
    PemFault::DerOf { what, command }
}

fn in_text(text: &[u8]) -> PemFault {
    let lines = || text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    if text.starts_with(b"PuTTY-User-Key-File-") {
        return PemFault::Ssh { form: "PuTTY's" };
    }
    if is_ssh_public(text) {
        return PemFault::SshPublic;
    }
    if text.trim_ascii_start().starts_with(TWICE_ENCODED) {
        return PemFault::TwiceEncoded;
    }
    if let Some(line) = lines().position(is_spoilt_marker) {
        return PemFault::BadMarker { line: line + 1 };
    }
    let mut written = lines().filter(|line| !line.is_empty()).peekable();
    if written.peek().is_none() {
        return PemFault::NoBlock;
    }
    if lines().all(|line| line.is_empty() || line.starts_with(b"#")) {
        return PemFault::Comments;
    }
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    if text.starts_with(b"MI") && written.all(|line| line.iter().all(is_base64)) {
        return PemFault::Bare;
    }
    PemFault::NoBlock
}

/// Names the encoding of a text with two bytes for each letter.
fn wide_text(text: &[u8]) -> Option<&'static str> {
    match text {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [b'-' | b'#', 0, b'-' | b' ', 0, ..] => Some("UTF-16LE"),
        [0, b'-' | b'#', 0, b'-' | b' ', ..] => Some("UTF-16BE"),
        _ => None,
    }
}

fn is_ssh_public(text: &[u8]) -> bool {
    let kinds: [&[u8]; 4] = [
        b"ssh-rsa ",
        b"ssh-ed25519 ",
        b"ecdsa-sha2-",
        b"---- BEGIN SSH2 PUBLIC KEY",
    ];
    kinds.iter().any(|it| text.starts_with(it))
}

/// Whether a line is a BEGIN line but for its dashes, as word processors and copying leave it.
fn is_spoilt_marker(line: &[u8]) -> bool {
    let has = |what: &[u8]| line.windows(what.len()).any(|it| it == what);
    has(b"BEGIN ") && (has(b"CERTIFICATE") || has(b"PRIVATE KEY") || has(b"X509 CRL"))
}

/// Returns what to do with a file that holds blocks, but none that is wanted, if that is known.
pub(crate) fn advice(label: &str) -> Option<&'static str> {
    Some(match label {
        "PKCS7" | "PKCS #7 SIGNED DATA" | "CMS" => {
            "take its certificates out with `openssl pkcs7 -print_certs -in OLD -out NEW`"
        }
        "TRUSTED CERTIFICATE" => {
            "that is OpenSSL's own form; write it anew with `openssl x509 -in OLD -out NEW`"
        }
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
            "that is what an authority is asked with; name the certificate that it answered with"
        }
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {
            "that is the public half; name the file with the private key"
        }
        "EC PARAMETERS" => {
            "that is only the name of a curve; make a key with \
             `openssl ecparam -genkey -name prime256v1 -noout -out NEW`"
        }
        "X509 CRL" => "that is a revocation list; `crl` of `client_auth` takes it",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pem_is_told_by_what_it_is() {
        let table: [(&[u8], &str); 17] = [
            (b"", "it holds no PEM block"),
            (b"\n \r\n", "it holds no PEM block"),
            (b"hello\n", "it holds no PEM block"),
            (b"# renewed by hand\n\n# later\n", "only comments"),
            (b"\xff\xfe-\0-\0", "it is UTF-16 text"),
            (b"-\0-\0-\0", "it is UTF-16LE text"),
            (b"\0-\0-\0-", "it is UTF-16BE text"),
            (b"\xfe\xed\xfe\xed\0\0\0\x02", "it is a Java keystore"),
            (b"\x30\x82\x01\x00", "was cut off"),
            (b"\x30\x80\x01\x00", "it is DER"),
            (&[0; 64], "NUL bytes"),
            (b"PuTTY-User-Key-File-3: ssh-rsa\n", "in PuTTY's own form"),
            (b"ssh-rsa AAAA host", "a public key for SSH"),
            (b"LS0tLS1CRUdJTiBDRVJU\n", "base64 of a PEM file"),
            (b"MIIB\nAAA=\n", "without its BEGIN and END lines"),
            (
                "\u{2014}BEGIN CERTIFICATE\u{2014}\nAAEC\n".as_bytes(),
                "line 1 is no complete BEGIN",
            ),
            (
                b"\"-----BEGIN CERTIFICATE-----\nAAEC\n",
                "line 1 is no complete BEGIN",
            ),
        ];
        for (text, expected) in table {
            let reason = nothing_in(text).to_string();
            assert!(reason.contains(expected), "{expected}: {reason}");
        }
    }
}
