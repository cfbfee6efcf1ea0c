//! Keys of one direction of a connection, and the records that they seal and open.

use aws_lc_rs::{
    aead::{self, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf,
};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};

use super::{APPLICATION_DATA, HANDSHAKE};

/// How long the head of a record is (RFC 8446 §5.1).
const HEAD: usize = 5;

/// How long a tag is in every suite.
const TAG: usize = 16;

/// How long the explicit part of a nonce is (RFC 5288 §3).
const EXPLICIT: usize = 8;

/// Keys of one direction, and how many records they have sealed.
#[derive(Clone)]
pub(crate) struct Direction {
    version: ProtocolVersion,
    algorithm: &'static aead::Algorithm,
    key: Vec<u8>,
    iv: [u8; 12],
    /// The number of the next record.
    pub(crate) sequence: u64,
    /// The secret that the keys were made of, in TLS 1.3 alone.
    secret: Vec<u8>,
}

/// A record that was opened.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Record {
    /// Its type: in TLS 1.3 the one inside.
    pub(crate) kind: u8,
    /// What it holds.
    pub(crate) content: Vec<u8>,
    /// How many zeros stood behind that.
    pub(crate) padding: usize,
    /// How many bytes it took on the wire, with its head.
    pub(crate) length: usize,
}

impl Direction {
    pub(super) fn new(
        version: ProtocolVersion,
        sequence: u64,
        secrets: &ConnectionTrafficSecrets,
        secret: Vec<u8>,
    ) -> Self {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&aead::AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&aead::AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&aead::CHACHA20_POLY1305, key, iv)
            }
            _ => panic!("a suite that no test knows"),
        };
        Self {
            version,
            algorithm,
            key: key.as_ref().to_vec(),
            iv: iv.as_ref().try_into().unwrap(),
            sequence,
            secret,
        }
    }

    /// Returns the version that it seals for.
    pub(crate) fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Seals a record of this type: in TLS 1.3 without padding, in TLS 1.2 with its number for the
    /// explicit part of the nonce.
    pub(crate) fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        if self.is_tls13() {
            self.seal_padded(kind, content, 0)
        } else {
            self.seal_explicit(kind, content, self.sequence.to_be_bytes())
        }
    }

    /// Seals a record of TLS 1.3 with so many zeros behind the content (RFC 8446 §5.4).
    pub(crate) fn seal_padded(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        let inner = [content, &[kind], &vec![0; padding]].concat();
        self.seal_inner(APPLICATION_DATA, &inner)
    }

    /// Seals a record of TLS 1.3 that says this type outside and holds these bytes, whatever they are.
    pub(crate) fn seal_inner(&mut self, outer: u8, inner: &[u8]) -> Vec<u8> {
        let head = head(outer, inner.len() + TAG);
        let nonce = self.xored_nonce();
        self.sequence += 1;
        let mut sealed = inner.to_vec();
        self.key()
            .seal_in_place_append_tag(nonce, Aad::from(head), &mut sealed)
            .unwrap();
        [&head[..], &sealed].concat()
    }

    /// Seals a record of TLS 1.2 with this for the explicit part of the nonce, if the suite has one.
    pub(crate) fn seal_explicit(
        &mut self,
        kind: u8,
        content: &[u8],
        explicit: [u8; EXPLICIT],
    ) -> Vec<u8> {
        let aad = self.aad(kind, content.len());
        let (nonce, explicit) = if self.has_explicit_nonce() {
            (self.explicit_nonce(explicit), &explicit[..])
        } else {
            (self.xored_nonce(), &[][..])
        };
        self.sequence += 1;
        let mut sealed = content.to_vec();
        self.key()
            .seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed)
            .unwrap();
        let head = head(kind, explicit.len() + sealed.len());
        [&head[..], explicit, &sealed].concat()
    }

    /// Seals this message, and whatever is sealed next with the keys behind it (RFC 8446 §4.6.3).
    pub(crate) fn seal_update(&mut self, message: &[u8]) -> Vec<u8> {
        let record = self.seal(HANDSHAKE, message);
        self.update();
        record
    }

    /// Changes to the keys that follow (RFC 8446 §7.2).
    pub(crate) fn update(&mut self) {
        let length = self.secret.len();
        let secret = expand(&self.secret, b"traffic upd", length);
        self.key = expand(&secret, b"key", self.algorithm.key_len());
        self.iv = expand(&secret, b"iv", 12).try_into().unwrap();
        self.secret = secret;
        self.sequence = 0;
    }

    /// Opens a record; `None` if it was not sealed with these keys.
    pub(super) fn open(&mut self, record: &[u8]) -> Option<Record> {
        let opened = if self.is_tls13() {
            self.open_inner(record)
        } else {
            self.open_explicit(record)
        };
        self.sequence += 1;
        opened
    }

    fn open_inner(&self, record: &[u8]) -> Option<Record> {
        let (head, mut body) = split(record);
        assert_eq!(head[0], APPLICATION_DATA, "RFC 8446 §5.2");
        let inner = self.open_body(self.xored_nonce(), &head, &mut body)?;
        let end = inner.iter().rposition(|byte| *byte != 0)?;
        Some(Record {
            kind: inner[end],
            content: inner[..end].to_vec(),
            padding: inner.len() - end - 1,
            length: record.len(),
        })
    }

    fn open_explicit(&self, record: &[u8]) -> Option<Record> {
        let (head, mut body) = split(record);
        let nonce = if self.has_explicit_nonce() {
            let rest = body.split_off(EXPLICIT);
            let explicit = std::mem::replace(&mut body, rest);
            self.explicit_nonce(explicit.try_into().unwrap())
        } else {
            self.xored_nonce()
        };
        let aad = self.aad(head[0], body.len().checked_sub(TAG)?);
        let content = self.open_body(nonce, &aad, &mut body)?.to_vec();
        Some(Record {
            kind: head[0],
            content,
            padding: 0,
            length: record.len(),
        })
    }

    fn open_body<'b>(&self, nonce: Nonce, aad: &[u8], body: &'b mut [u8]) -> Option<&'b mut [u8]> {
        self.key().open_in_place(nonce, Aad::from(aad), body).ok()
    }

    fn is_tls13(&self) -> bool {
        self.version == ProtocolVersion::TLSv1_3
    }

    fn has_explicit_nonce(&self) -> bool {
        self.algorithm != &aead::CHACHA20_POLY1305
    }

    fn key(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(self.algorithm, &self.key).unwrap())
    }

    /// The nonce of RFC 8446 §5.3 and RFC 7905 §2.
    fn xored_nonce(&self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, other) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= other;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// The nonce of RFC 5288 §3.
    fn explicit_nonce(&self, explicit: [u8; EXPLICIT]) -> Nonce {
        let mut nonce = self.iv;
        nonce[4..].copy_from_slice(&explicit);
        Nonce::assume_unique_for_key(nonce)
    }

    /// What a record of TLS 1.2 is sealed with beside its content (RFC 5246 §6.2.3.3).
    fn aad(&self, kind: u8, length: usize) -> [u8; 13] {
        let mut aad = [0; 13];
        aad[..8].copy_from_slice(&self.sequence.to_be_bytes());
        aad[8..].copy_from_slice(&head(kind, length));
        aad
    }
}

/// Returns the head of a record.
fn head(kind: u8, length: usize) -> [u8; HEAD] {
    let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
    [kind, 3, 3, high, low]
}

fn split(record: &[u8]) -> ([u8; HEAD], Vec<u8>) {
    (record[..HEAD].try_into().unwrap(), record[HEAD..].to_vec())
}

/// `HKDF-Expand-Label` without a context (RFC 8446 §7.1).
fn expand(secret: &[u8], label: &[u8], length: usize) -> Vec<u8> {
    let algorithm = match secret.len() {
        32 => hkdf::HKDF_SHA256,
        48 => hkdf::HKDF_SHA384,
        other => panic!("a secret of {other} bytes"),
    };
    let label = [b"tls13 ", label].concat();
    let info: [&[u8]; 4] = [
        &u16::try_from(length).unwrap().to_be_bytes(),
        &[u8::try_from(label.len()).unwrap()],
        &label,
        &[0],
    ];
    let mut expanded = vec![0; length];
    hkdf::Prk::new_less_safe(algorithm, secret)
        .expand(&info, Length(length))
        .unwrap()
        .fill(&mut expanded)
        .unwrap();
    expanded
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
