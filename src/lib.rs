//! A TLS front for databases that never serves a stale certificate.

pub mod config;
pub mod control;
pub mod protocol;
pub mod supervisor;
pub mod sys;
