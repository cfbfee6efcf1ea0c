//! What a leg has to send and its socket has not taken.

use std::fmt;

use crate::session::scratch::{Scratch, Span};

/// What a leg has to send and its socket has not taken.
#[derive(Default)]
pub(super) enum Unsent {
    /// Nothing.
    #[default]
    Nothing,
    /// What was made in this step, where it was made.
    Scratch(Span),
    /// What was left of earlier steps, of which the first `sent` bytes were sent.
    Own { bytes: Vec<u8>, sent: usize },
}

/// What waits may be secret; only how much it is is shown.
impl fmt::Debug for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl Unsent {
    /// Returns what was left of earlier steps; none if there is nothing.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        if bytes.is_empty() {
            Self::Nothing
        } else {
            Self::Own { bytes, sent: 0 }
        }
    }

    /// Returns how many bytes are to be sent.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Scratch(span) => span.len(),
            Self::Own { bytes, sent } => bytes.len() - sent,
        }
    }

    /// Returns the bytes that are to be sent.
    pub(super) fn bytes<'a>(&'a self, scratch: &'a Scratch) -> &'a [u8] {
        match self {
            Self::Nothing => &[],
            Self::Scratch(span) => scratch.get(*span),
            Self::Own { bytes, sent } => &bytes[*sent..],
        }
    }

    /// Returns the bytes that lie in no scratch space.
    pub(super) fn own(&self) -> &[u8] {
        match self {
            Self::Own { bytes, sent } => &bytes[*sent..],
            Self::Nothing | Self::Scratch(_) => &[],
        }
    }

    /// Adds bytes.
    pub(super) fn add(&mut self, span: Span, scratch: &Scratch) {
        if span.is_empty() {
            return;
        }
        let joined = match self {
            Self::Nothing => Some(span),
            Self::Scratch(before) => before.and(span),
            Self::Own { .. } => None,
        };
        if let Some(joined) = joined {
            *self = Self::Scratch(joined);
            return;
        }
        self.settle(scratch);
        if let Self::Own { bytes, .. } = self {
            bytes.extend_from_slice(scratch.get(span));
        }
    }

    /// Notes that the socket has taken bytes.
    pub(super) fn skip(&mut self, taken: usize) {
        match self {
            Self::Nothing => {}
            Self::Scratch(span) => *span = span.split_at(taken).1,
            Self::Own { bytes, sent } => *sent = (*sent + taken).min(bytes.len()),
        }
    }

    /// Moves what is left out of the scratch space; returns whether anything was there.
    pub(super) fn settle(&mut self, scratch: &Scratch) -> bool {
        let Self::Scratch(span) = self else {
            return false;
        };
        let left = !span.is_empty();
        *self = Self::of(scratch.get(*span).to_vec());
        left
    }
}
