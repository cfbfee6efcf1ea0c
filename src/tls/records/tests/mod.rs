//! Sessions with a living rustls, and with another of ours that sends what no peer should.

mod conversation;
mod peer;

use super::*;
