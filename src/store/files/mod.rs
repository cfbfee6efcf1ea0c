//! Files as the source of pieces: which there are, what they hold, and whether they have changed.

pub(super) mod discover;
pub(super) mod memo;
pub(super) mod mounted;
pub(super) mod named;
pub(super) mod neighbours;
pub(super) mod parallel;
pub(super) mod parts;
pub(super) mod piece;
pub(super) mod promise;
pub(super) mod read;
pub(super) mod source;
pub(super) mod survey;
