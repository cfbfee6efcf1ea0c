//! What a worker knows of backends, and how it gets a connection to one.
//!
//! Nothing here knows of sessions or services. A [`Dialer`] finds the addresses of a backend's name and
//! connects to the first that answers; a listener's [`Health`] says in which order its backends are tried.

mod addresses;
mod attempts;
mod circuit;
mod dialer;
mod error;
mod health;
mod schedule;

pub use self::{
    circuit::{Attempt, News},
    dialer::{DialError, Dialed, Dialer, Failures, Way},
    error::{BackendError, BackendFailure, ProtocolError},
    health::Health,
};
