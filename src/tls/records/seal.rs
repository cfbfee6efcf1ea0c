//! Sealing records.

use aws_lc_rs::{
    aead::{Aad, LessSafeKey, Nonce},
    error::Unspecified,
};

use super::{
    Alert, Fault, MAX_OVERHEAD, MAX_PLAIN, Records,
    alert::Level,
    key, limits,
    message::{HEAD_LEN, KEY_UPDATE},
    open::{Additional, TAG_LEN, kind},
    state::{Counters, NONCE_LEN, State},
    suite::{Aead, Version},
};
use crate::tls::{record_header::HEADER_LEN, space::Space};

/// `KeyUpdate` that asks for none in return (RFC 8446 §4.6.3).
const UPDATE_NOT_REQUESTED: [u8; HEAD_LEN + 1] = [KEY_UPDATE, 0, 0, 1, 0];

impl Records {
    /// Seals data, renewing the key in front of each record that needs it.
    pub(super) fn seal_data(&mut self, plain: &[u8], out: &mut Space) -> Result<(), Fault> {
        let records = plain.len().div_ceil(MAX_PLAIN);
        out.reserve(plain.len() + records * MAX_OVERHEAD);
        for piece in plain.chunks(MAX_PLAIN) {
            self.renew_if_needed(piece.len(), out)?;
            self.seal(kind::DATA, piece, out)?;
        }
        // A peer that only reads, such as a replica, may ask for new keys for what it reads.
        self.state.counters.key_updates = Counters::FULL.key_updates;
        Ok(())
    }

    /// Sends a `KeyUpdate` if the peer has asked for one or the key is used up.
    fn renew_if_needed(&mut self, length: usize, out: &mut Space) -> Result<(), Fault> {
        let blocks = limits::blocks(length + 1) + limits::blocks(UPDATE_NOT_REQUESTED.len() + 1);
        if !self.limits.before_sealing(&self.state, blocks)? && !self.state.answer_owed {
            return Ok(());
        }
        self.seal(kind::HANDSHAKE, &UPDATE_NOT_REQUESTED, out)?;
        self.state.answer_owed = false;
        let state = &mut *self.state;
        state.sending.renew(state.suite)?;
        self.sealing = None;
        self.renewals = self.renewals.wrapping_add(1);
        Ok(())
    }

    /// Seals an alert behind which nothing is sent any more, once.
    pub(super) fn seal_last_alert(&mut self, level: Level, alert: Alert, out: &mut Space) {
        if !std::mem::replace(&mut self.state.sent_close, true) {
            // What fails here is told to the peer by the socket's end instead.
            let _ = self.seal_alert(level, alert, out);
        }
    }

    pub(super) fn seal_alert(
        &mut self,
        level: Level,
        alert: Alert,
        out: &mut Space,
    ) -> Result<(), Fault> {
        self.seal(kind::ALERT, &[level as u8, alert.0], out)
    }

    /// Seals one record.
    pub(super) fn seal(&mut self, kind: u8, content: &[u8], out: &mut Space) -> Result<(), Fault> {
        let state = &mut *self.state;
        if self.sealing.is_none() {
            self.sealing = Some(state.sending.cipher(state.suite)?);
        }
        let cipher = self.sealing.as_ref().ok_or(Fault::Cryptography)?;
        out.extend(sealed_len(state, content.len()), |space| {
            write(cipher, state, kind, content, space)
        })?;
        let protected = content.len() + usize::from(state.version() == Version::Tls13);
        state.sending.count(limits::blocks(protected));
        Ok(())
    }
}

/// Returns how long the record of so many bytes is.
fn sealed_len(state: &State, content: usize) -> usize {
    let inner_type = usize::from(state.version() == Version::Tls13);
    HEADER_LEN + state.suite.explicit_nonce_len() + content + inner_type + TAG_LEN
}

/// Writes a record into `space`, which is as long as it.
fn write(
    cipher: &LessSafeKey,
    state: &State,
    kind: u8,
    content: &[u8],
    space: &mut [u8],
) -> Result<(), Fault> {
    // The last number stays unused, so that none comes twice.
    if state.sending.sequence == u64::MAX {
        return Err(Fault::Cryptography);
    }
    let version = state.version();
    let outer = match version {
        Version::Tls13 => kind::DATA,
        Version::Tls12 => kind,
    };
    let length = u16::try_from(space.len() - HEADER_LEN).map_err(|_| Fault::Cryptography)?;
    let [high, low] = length.to_be_bytes();
    // Both versions write the number of TLS 1.2 (RFC 8446 §5.2).
    let header = [outer, 3, 3, high, low];
    let additional = Additional::new(version, state.sending.sequence, header, content.len())?;
    let nonce = state.sending.nonce();

    let (head, body) = space.split_at_mut(HEADER_LEN);
    head.copy_from_slice(&header);
    let explicit = state.suite.explicit_nonce_len();
    let (shown, body) = body.split_at_mut(explicit);
    shown.copy_from_slice(&nonce[NONCE_LEN - explicit..]);
    let nonce = key::unique(nonce);
    let sealed = match (version, state.suite.aead) {
        (Version::Tls12, _) => in_one_pass(cipher, nonce, additional, content, &[], body),
        (Version::Tls13, Aead::ChaCha20Poly1305) => {
            in_place(cipher, nonce, additional, content, kind, body)
        }
        (Version::Tls13, _) => in_one_pass(cipher, nonce, additional, content, &[kind], body),
    };
    sealed.map_err(|_| Fault::Cryptography)
}

/// Seals content on its way into `space`, and behind it the type of TLS 1.3 (RFC 8446 §5.2).
fn in_one_pass(
    cipher: &LessSafeKey,
    nonce: Nonce,
    additional: Additional,
    content: &[u8],
    inner: &[u8],
    space: &mut [u8],
) -> Result<(), Unspecified> {
    let (protected, end) = space.split_at_mut(content.len());
    let additional = Aad::from(additional);
    cipher.seal_out_of_place_scatter(nonce, additional, content, protected, inner, end)
}

/// Seals content and its type where they will be sent from.
///
/// With `ChaCha20`, aws-lc takes the type by itself in a second pass, which costs more than a copy.
fn in_place(
    cipher: &LessSafeKey,
    nonce: Nonce,
    additional: Additional,
    content: &[u8],
    kind: u8,
    space: &mut [u8],
) -> Result<(), Unspecified> {
    let (protected, tag) = space.split_at_mut(content.len() + 1);
    protected[..content.len()].copy_from_slice(content);
    protected[content.len()] = kind;
    let made = cipher.seal_in_place_separate_tag(nonce, Aad::from(additional), protected)?;
    tag.copy_from_slice(made.as_ref());
    Ok(())
}
