//! A TLS front for databases that never serves a stale certificate.
//!
//! `proxyd` ends TLS in front of MySQL, MariaDB, PostgreSQL or any TCP service and passes the
//! bytes on; `proxyctl` steers it. Both programs are thin: what they do is here.
//!
//! Where things live:
//!
//! - [`cli`]: what a person can type; [`config`]: text to checked configuration.
//! - [`supervisor`]: the parent process, which owns sockets, TLS material and child processes.
//! - [`children`]: how it starts child processes and hears them; [`worker`]: the child that serves
//!   clients; [`resolver`]: the child that finds backends for workers; [`page`]: the child that serves
//!   the metrics page.
//! - [`session`]: what a session is, and how its bytes are relayed.
//! - [`link`]: what supervisor and children say to each other, and workers to the resolver.
//! - [`store`]: files on disk to checked TLS material; [`tls`]: that material to handshakes. Beside
//!   them `x509`, which reads certificates, names and lists.
//! - [`protocol`]: the databases' openings, as pure parsers.
//! - [`control`]: what `proxyctl` and the daemon say to each other.
//! - [`ctl`]: what `proxyctl` does with the answers.
//! - [`probe`]: what servers show to clients, asked from outside, for `proxyctl probe`.
//! - [`findings`]: what in a status an operator must act on, for `proxyctl check` and the page.
//! - [`facts`]: the words that all of these share, such as what a certificate says.
//! - [`telemetry`]: log lines; [`sys`]: what the kernel is asked for beyond files and sockets.
//!
//! A client's way: [`worker::listener`] accepts, [`worker::opening`] speaks the protocol's opening
//! and ends TLS, [`session::relay`] copies bytes until both sides are done. A certificate's way:
//! [`store::load()`] reads and checks files into a [`link::Generation`], the supervisor hands it to
//! every worker, [`worker::service`] swaps it in for the next handshake.

pub mod children;
pub mod cli;
pub mod config;
pub mod control;
pub mod ctl;
pub mod facts;
pub mod findings;
pub mod link;
pub mod page;
pub mod probe;
pub mod protocol;
pub mod resolver;
pub mod session;
pub mod store;
pub mod supervisor;
pub mod sys;
pub mod telemetry;
pub mod tls;
pub mod worker;
mod x509;
