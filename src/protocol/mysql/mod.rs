//! The connection phase of MySQL and MariaDB.
//!
//! The order of things, when a client uses TLS and the database behind does not:
//!
//! ```text
//! client                     proxyd                      database
//!   |  <-- greeting, TLS offered --  <------- greeting -----  |
//!   |  --- SSLRequest ----------->                            |
//!   |  <========= TLS =========>                              |
//!   |  --- login ---------------->  --- login, no TLS ----->  |
//!   |  <-- more data, OK, ERR ----  <-- more data, OK, ERR -- |
//! ```
//!
//! [`greeting`] and [`login`] read the first packets, [`auth`] carries the login from one leg to
//! the other until the database has said OK or ERR; after that the driver only copies bytes, under
//! the eye of [`second_login`] where that is needed, which finds such a login by [`command`] and
//! carries it by [`auth`]. A login that its client gives up is brought to an end by [`parting`].
//!
//! Layouts are those of the MySQL source documentation, page "Connection Phase", and of MariaDB's
//! "Connecting".

pub mod auth;
pub mod capabilities;
pub mod command;
pub mod error;
pub mod greeting;
mod incoming;
pub mod login;
pub mod packet;
pub mod parting;
pub mod second_login;

pub use capabilities::Capabilities;
pub use error::ErrorPacket;
pub use packet::Packet;

use super::traits::{HalfClose, Traits};

/// What the rest of the program has to know of MySQL and MariaDB.
pub const TRAITS: Traits = Traits {
    name: "mysql",
    server_speaks_first: true,
    half_close: HalfClose::Gone,
    alpn: &[],
    reads_logins: true,
    channel_binding: false,
};
