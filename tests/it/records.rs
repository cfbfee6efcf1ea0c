//! TLS records after the handshake, with peers that send what no library would.
//!
//! Each test names what a peer does and what the daemon makes of it, on the leg of a client, where the
//! daemon is TLS's server, and on that of a backend, where it is TLS's client. `docs/records.md` says
//! which clause of which RFC each of them stands for.

// A daemon between a peer by hand and a plain one.
mod bench;
// Alerts that a peer sends.
mod alerts;
// Ends of one direction and of both.
mod closing;
// Records without content.
mod empty;
// Records right behind the handshake.
mod first;
// Records that were changed or cut on their way.
mod integrity;
// Changes of keys.
mod key_update;
// Changes of keys by the thousand, and by a peer that does not read.
mod key_update_floods;
// Changes of keys while a client logs in.
mod key_update_logins;
// What follows a handshake and is no change of keys.
mod messages;
// The nonces of TLS 1.2.
mod nonces;
// OpenSSL on both sides.
mod openssl;
// Padding of TLS 1.3.
mod padding;
// A session of which one leg has TLS that is made by hand.
mod pair;
// Python on both sides.
mod python;
// The records that the daemon makes.
mod sent;
// Sessions of all that is allowed, at random.
mod random;
// rustls on either side.
mod rustls_peers;
// How long a record may be.
mod sizes;
// The table of clauses against these tests.
mod table;
// Types of records.
mod types;
// A lot of bytes in every suite.
mod volume;
// Records in pieces and in heaps.
mod wire;
