//! What a session is: a client, a backend, the two connections between them and proxyd, and what is known of
//! it from accept to close.
//!
//! How a session comes to be is the business of the worker's opening; from then on it is relayed here.

pub mod chains;
pub mod conversation;
pub mod counters;
pub mod ending;
pub mod fuzzing;
pub mod journal;
pub(crate) mod keep;
pub mod keeper;
pub mod leg;
pub mod lingering_close;
pub mod live;
pub mod peers;
pub mod points;
pub mod record;
pub mod registry;
pub mod relay;
pub mod scratch;
pub mod socket;
pub mod standing;
pub mod stop;
pub mod table;
pub mod takeover;
