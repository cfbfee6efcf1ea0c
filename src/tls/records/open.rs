//! Opening records, and what to do with their content.

use aws_lc_rs::aead::Aad;

use super::{
    Fault, MAX_PLAIN, Records,
    alert::{self, Alert, Level},
    key, limits,
    message::{self, Event, Reading},
    state::{Counters, NONCE_LEN, State},
    suite::Version,
};
use crate::tls::{
    record_header::HEADER_LEN,
    space::{Plaintext, Space},
};

/// Bytes behind what is protected, by each suite.
pub(super) const TAG_LEN: usize = 16;

/// The types of records (RFC 8446 §5.1).
pub(super) mod kind {
    pub(in super::super) const ALERT: u8 = 21;
    pub(in super::super) const HANDSHAKE: u8 = 22;
    pub(in super::super) const DATA: u8 = 23;
}

/// The most bytes behind a header (RFC 8446 §5.2, RFC 5246 §6.2.3).
fn longest(version: Version) -> usize {
    match version {
        Version::Tls13 => MAX_PLAIN + 256,
        Version::Tls12 => MAX_PLAIN + 2048,
    }
}

/// A whole record.
struct Record<'b> {
    header: [u8; HEADER_LEN],
    body: &'b [u8],
}

impl<'b> Record<'b> {
    /// Finds the record at the front of `bytes`; `None` if some of it is missing.
    ///
    /// A header that is wrong is an error before the rest has come.
    fn split(bytes: &'b [u8], version: Version) -> Result<Option<Self>, Fault> {
        let Some((header, bytes)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let [kind, major, _, high, low] = *header;
        match (version, kind) {
            (_, kind::DATA) | (Version::Tls12, kind::ALERT | kind::HANDSHAKE) => {}
            _ => return Err(Fault::RecordType(kind)),
        }
        if major != 3 {
            return Err(Fault::RecordVersion);
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > longest(version) {
            return Err(Fault::Overflow);
        }
        let header = *header;
        let record = bytes.get(..length).map(|body| Self { header, body });
        Ok(record)
    }
}

/// What a record takes to be opened.
struct Sealed<'b> {
    nonce: [u8; NONCE_LEN],
    protected: &'b [u8],
    tag: &'b [u8],
}

/// Takes a record's body apart.
fn take_apart<'b>(state: &State, body: &'b [u8]) -> Result<Sealed<'b>, Fault> {
    let mut nonce = state.receiving.nonce();
    let explicit = state.suite.explicit_nonce_len();
    let (shown, body) = body.split_at_checked(explicit).ok_or(Fault::BadRecord)?;
    nonce[NONCE_LEN - explicit..].copy_from_slice(shown);
    let length = body.len().checked_sub(TAG_LEN).ok_or(Fault::BadRecord)?;
    let (protected, tag) = body.split_at(length);
    Ok(Sealed {
        nonce,
        protected,
        tag,
    })
}

/// What the tag covers beside the content (RFC 8446 §5.2, RFC 5246 §6.2.3.3).
pub(super) enum Additional {
    /// The header.
    Tls13([u8; HEADER_LEN]),
    /// Sequence number, type, version, and the length of the content.
    Tls12([u8; 13]),
}

impl Additional {
    pub(super) fn new(
        version: Version,
        sequence: u64,
        header: [u8; HEADER_LEN],
        content: usize,
    ) -> Result<Self, Fault> {
        if version == Version::Tls13 {
            return Ok(Self::Tls13(header));
        }
        let content = u16::try_from(content).map_err(|_| Fault::Overflow)?;
        let mut bytes = [0; 13];
        bytes[..8].copy_from_slice(&sequence.to_be_bytes());
        bytes[8..11].copy_from_slice(&header[..3]);
        bytes[11..].copy_from_slice(&content.to_be_bytes());
        Ok(Self::Tls12(bytes))
    }
}

impl AsRef<[u8]> for Additional {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Tls13(bytes) => bytes,
            Self::Tls12(bytes) => bytes,
        }
    }
}

impl Records {
    /// Opens the record at the front of `bytes`; returns its length, 0 if some of it is missing.
    pub(super) fn receive_one(
        &mut self,
        bytes: &[u8],
        plain: &mut impl Plaintext,
        out: &mut Space,
    ) -> Result<usize, Fault> {
        let Some(record) = Record::split(bytes, self.state.version())? else {
            return Ok(0);
        };
        let start = plain.length();
        let result = self.open(&record, plain).and_then(|kind| {
            let content = plain.since(start);
            if kind == kind::DATA {
                return self.take_data(content.len()).map(|()| true);
            }
            self.take_message(kind, content, out).map(|()| false)
        });
        if !matches!(result, Ok(true)) {
            plain.cut(start);
        }
        result.map(|_| HEADER_LEN + record.body.len())
    }

    /// Appends a record's content to `plain`; returns its type.
    fn open(&mut self, record: &Record<'_>, plain: &mut impl Plaintext) -> Result<u8, Fault> {
        let state = &mut *self.state;
        let Sealed {
            nonce,
            protected,
            tag,
        } = take_apart(state, record.body)?;
        let blocks = limits::blocks(protected.len());
        self.limits.before_opening(state, blocks)?;
        if self.opening.is_none() {
            self.opening = Some(state.receiving.cipher(state.suite)?);
        }
        let cipher = self.opening.as_ref().ok_or(Fault::Cryptography)?;
        let additional = Additional::new(
            state.version(),
            state.receiving.sequence,
            record.header,
            protected.len(),
        )?;
        let start = plain.length();
        cipher
            .open_separate_gather(
                key::unique(nonce),
                Aad::from(additional),
                protected,
                tag,
                plain.grow(protected.len()),
            )
            .map_err(|_| Fault::BadRecord)?;
        state.receiving.count(blocks);
        match state.version() {
            Version::Tls12 if protected.len() > MAX_PLAIN => Err(Fault::Overflow),
            Version::Tls12 => Ok(record.header[0]),
            Version::Tls13 => unpad(start, plain),
        }
    }

    /// Takes data of this length, which stands in its place already.
    fn take_data(&mut self, length: usize) -> Result<(), Fault> {
        self.is_between_messages()?;
        let counters = &mut self.state.counters;
        if length == 0 {
            let left = counters.empty_records.checked_sub(1);
            counters.empty_records = left.ok_or(Fault::TooManyEmptyRecords)?;
        } else {
            counters.empty_records = Counters::FULL.empty_records;
            counters.key_updates = Counters::FULL.key_updates;
        }
        Ok(())
    }

    /// Takes the content of any other record.
    fn take_message(&mut self, kind: u8, content: &[u8], out: &mut Space) -> Result<(), Fault> {
        match kind {
            // RFC 8446 §5.4, RFC 5246 §6.2.1
            kind::ALERT | kind::HANDSHAKE if content.is_empty() => Err(Fault::EmptyRecord(kind)),
            kind::ALERT => {
                self.is_between_messages()?;
                self.state.counters.empty_records = Counters::FULL.empty_records;
                alert::hear(&mut self.state, content)
            }
            kind::HANDSHAKE => {
                self.state.counters.empty_records = Counters::FULL.empty_records;
                self.take_handshake(content, out)
            }
            kind => Err(Fault::RecordType(kind)),
        }
    }

    /// A message in pieces must not have another record in between (RFC 8446 §5.1).
    fn is_between_messages(&self) -> Result<(), Fault> {
        match self.state.reading {
            Reading::Between => Ok(()),
            _ => Err(Fault::Interleaved),
        }
    }

    fn take_handshake(&mut self, mut content: &[u8], out: &mut Space) -> Result<(), Fault> {
        while let Some(event) = message::read(&mut self.state, &mut content)? {
            match event {
                Event::Ticket => {}
                Event::KeyUpdate(value) => self.take_key_update(value, content)?,
                Event::Renegotiation => self.refuse_renegotiation(out)?,
            }
        }
        Ok(())
    }

    /// Goes on with the peer's next key. `behind` is what follows in the same record, where the keys
    /// must not change (RFC 8446 §5.1).
    fn take_key_update(&mut self, value: u8, behind: &[u8]) -> Result<(), Fault> {
        if !behind.is_empty() {
            return Err(Fault::KeyUpdateInside);
        }
        let state = &mut *self.state;
        let left = state.counters.key_updates.checked_sub(1);
        state.counters.key_updates = left.ok_or(Fault::TooManyKeyUpdates)?;
        match value {
            0 => {}
            1 => state.answer_owed = true,
            _ => return Err(Fault::KeyUpdateValue(value)),
        }
        state.receiving.renew(state.suite)?;
        self.opening = None;
        self.renewals = self.renewals.wrapping_add(1);
        Ok(())
    }

    /// Refuses new keys in TLS 1.2, once (RFC 5246 §7.2.2). Behind our own end nothing is said.
    fn refuse_renegotiation(&mut self, out: &mut Space) -> Result<(), Fault> {
        let counters = &mut self.state.counters;
        let left = counters.renegotiations.checked_sub(1);
        counters.renegotiations = left.ok_or(Fault::TooManyRenegotiations)?;
        if self.state.sent_close {
            return Ok(());
        }
        self.seal_alert(Level::Warning, Alert::NO_RENEGOTIATION, out)
    }
}

/// Takes content type and padding off the end of what a record of TLS 1.3 held; returns the type
/// (RFC 8446 §5.2, §5.4).
fn unpad(start: usize, plain: &mut impl Plaintext) -> Result<u8, Fault> {
    let inner = plain.since(start);
    if inner.len() > MAX_PLAIN + 1 {
        return Err(Fault::Overflow);
    }
    let end = inner.iter().rposition(|byte| *byte != 0);
    let end = end.ok_or(Fault::NoContentType)?;
    let kind = inner[end];
    plain.cut(start + end);
    Ok(kind)
}
