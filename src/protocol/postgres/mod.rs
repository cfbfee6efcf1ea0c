//! The opening of PostgreSQL: who starts TLS, and how.
//!
//! A client asks for TLS and waits for one byte of answer; or, from version 17 on, starts with TLS
//! at once. The request has the form of a start-up message with a version number that no protocol
//! has. Behind the start-up message every [`login`] is watched; once it is over, the driver only
//! copies bytes.
//!
//! Source: "Message Flow", section "SSL Session Encryption", and "Message Formats" in the
//! PostgreSQL manual.

pub mod backend;
pub mod error;
pub mod login;
pub mod negotiation;
pub mod opening;

pub use error::ErrorResponse;
pub use negotiation::{Negotiation, Next};
pub use opening::Opening;

use super::traits::{HalfClose, Traits};

/// The protocol name in ALPN: a must where TLS starts at once, allowed where it was asked for.
pub const ALPN: &[u8] = b"postgresql";

/// What the rest of the program has to know of PostgreSQL.
pub const TRAITS: Traits = Traits {
    name: "postgres",
    server_speaks_first: false,
    half_close: HalfClose::Gone,
    alpn: &[ALPN],
    reads_logins: true,
    channel_binding: true,
};
