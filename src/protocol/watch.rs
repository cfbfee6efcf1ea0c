//! What watches an established session, and may interrupt its relay.
//!
//! After the login a relay copies bytes. Some protocols have messages behind the login that need more than a copy,
//! as a second login of MySQL does. So the relay shows what it copies to a [`Watch`]. The watch interrupts the
//! copying where it has to, says what each side is sent meanwhile, and lets the relay go on.
//!
//! A watch is plain data and does no I/O, so that it can be kept with its session ([`Watch::encode`]). The relay
//! drives it:
//!
//! 1. While [`Watch::wants`] says [`Wants::Nothing`], the relay shows what a side sends to [`Watch::pass`] and
//!    copies it. The answer [`Pass::Until`] means that the watch interrupts: the relay copies what stands before
//!    that place, and keeps the rest as received and not used. A clock of [`Watch::patience`] begins.
//! 2. As long as the watch wants bytes ([`Wants::Bytes`]), the relay gives it those of the sides that are named, by
//!    [`Watch::take`]: first the bytes that the relay has kept; of two sides the server goes first. The relay keeps
//!    what the watch does not take, and does not read from a side that is not named. A message that the watch wants
//!    sealed ([`Wants::Sealing`]) goes, once it is, to [`Watch::sealed`]. What the two return for a side is sent
//!    before anything else to that side.
//! 3. When the watch wants nothing again, the relay goes on with what it has kept of each side.
//! 4. If the clock runs out, [`Watch::late`] ends the session. If the server fails, the client is told by
//!    [`Watch::last_words`]. A client that fails is told nothing.
//!
//! After each call the state can be kept, with the output of that call and the bytes that were not taken; nothing
//! else is needed to go on.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use thiserror::Error;
use zeroize::Zeroizing;

use super::sealing::{SealError, Sealing};

/// One of the two ends of a session.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    /// Who asked for the session.
    Client,
    /// The backend that serves it.
    Server,
}

impl Side {
    /// Returns the other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// How much of what a side sent is copied to the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Pass {
    /// All of it.
    All,
    /// What stands before this place; there the watch interrupts the copying.
    Until(usize),
}

/// What a watch needs to go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wants<'a> {
    /// Nothing: bytes are to be copied, by way of [`Watch::pass`].
    Nothing,
    /// What one of these sides sends, by way of [`Watch::take`].
    Bytes(Awaited),
    /// A ciphertext, by way of [`Watch::sealed`].
    Sealing(&'a Sealing),
}

impl Wants<'_> {
    /// Tells whether bytes of this side are wanted by [`Watch::take`].
    #[must_use]
    pub fn awaits(self, side: Side) -> bool {
        match (self, side) {
            (Self::Bytes(awaited), Side::Client) => awaited.client,
            (Self::Bytes(awaited), Side::Server) => awaited.server,
            _ => false,
        }
    }
}

/// Which sides a watch waits for; the others are not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Awaited {
    /// The client has something to say, though perhaps not it alone.
    pub client: bool,
    /// The server has.
    pub server: bool,
}

/// What is to be done after a watch was given something.
#[derive(Clone, Default, Eq, PartialEq)]
#[must_use]
pub struct Output {
    /// What to send to the client, in whole messages.
    pub to_client: Vec<u8>,
    /// What to send to the server; over a private leg it may hold a password.
    pub to_server: Zeroizing<Vec<u8>>,
    /// As whom the server knows the client from now on, as the client has sent it, cut at
    /// [`LONGEST_USER`] bytes; `None` if that is as before.
    pub user: Option<Vec<u8>>,
}

/// The most bytes of a user's name that [`Output::user`] holds.
pub const LONGEST_USER: usize = 512;

/// The bytes may be secret; only their lengths are shown.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("to_client", &self.to_client.len())
            .field("to_server", &self.to_server.len())
            .field("user", &self.user.is_some())
            .finish()
    }
}

/// How a watch has ended its session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failed<E> {
    /// What the client is sent before its connection is closed; may be empty.
    pub to_client: Vec<u8>,
    /// Why.
    pub fault: Fault<E>,
}

/// Whose fault it is that a session ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault<E> {
    /// The client's: it broke the protocol, or wants what it cannot have.
    Client(E),
    /// The server's.
    Server(E),
    /// The clock ran out while this side had to say something.
    Late(Side),
}

/// Why a watch cannot be kept now: it holds more than is kept of one.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "what was received of a login is too long to be kept: {length} bytes where {limit} are kept"
)]
pub struct TooLong {
    /// How many bytes one part of it has.
    pub length: usize,
    /// How many are kept of that part.
    pub limit: usize,
}

/// What was kept is not the state of a watch.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("what was kept of a login is damaged")]
pub struct Malformed;

/// Watches an established session, and interrupts its relay where it has to; the module says how it is driven.
///
/// Calls that do not fit [`Watch::wants`] change nothing. A watch that has failed is not to be asked again.
pub trait Watch: Sized {
    /// Why it ends a session.
    type Error: Error + Send + Sync + 'static;

    /// The most bytes that [`Watch::encode`] writes.
    const MAX_ENCODED: usize;

    /// Looks at bytes of a side that are about to be copied, in pieces of any size.
    fn pass(&mut self, from: Side, bytes: &[u8]) -> Pass;

    /// Says what it needs now.
    fn wants(&self) -> Wants<'_>;

    /// Takes bytes of a side that it [wants](Watch::wants); returns how many it took, from the first on, and
    /// what is to be done then. It takes at least one of a side that it wants, and at most up to the end of one
    /// message, because that may change what it wants.
    fn take(&mut self, from: Side, bytes: &[u8]) -> Result<(usize, Output), Failed<Self::Error>>;

    /// Takes what it wanted sealed.
    fn sealed(&mut self, sealed: Result<Vec<u8>, SealError>)
    -> Result<Output, Failed<Self::Error>>;

    /// Returns how long an interruption may last.
    fn patience(&self) -> Duration;

    /// Ends the session because [`Watch::patience`] is over.
    fn late(&mut self) -> Failed<Self::Error>;

    /// Returns what the client is sent when the server fails during an interruption; may be empty.
    fn last_words(&mut self) -> Vec<u8>;

    /// Appends all that it is; on an error nothing was appended.
    ///
    /// This may include a password, so the caller wipes `out` in the end. The caller also reserves
    /// [`Watch::MAX_ENCODED`] bytes before, because memory that `out` has grown out of is not wiped.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong>;

    /// Reads what [`Watch::encode`] wrote from the beginning of `bytes`; returns how many it was.
    ///
    /// Any bytes may be given. Those that are accepted are what `encode` writes of what is returned.
    fn decode(bytes: &[u8]) -> Result<(Self, usize), Malformed>;
}
