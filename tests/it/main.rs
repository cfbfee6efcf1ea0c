//! The built programs, driven from outside.
#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

// Every way a worker can die, with every state the disk can be in then.
mod crash;
// Man pages and completions against the programs' definitions.
mod generated;
// The daemon's start and one client, the shortest way through everything.
mod smoke;
// What tests share: a daemon in a folder of its own, certificates, backends, clients.
mod support;
