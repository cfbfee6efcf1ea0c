//! Hello, frame, size limit: the only room that knows bincode.

/// The version of the messages in [`super`].
pub const PROTOCOL: u16 = 1;
