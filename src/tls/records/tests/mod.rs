//! Sessions with a living rustls, and with another of ours that sends what no peer should.

mod bytes;
mod conversation;
mod messages;
pub(crate) mod peer;
mod rules;
mod wear;

use super::*;
