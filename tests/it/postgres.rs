//! `PostgreSQL` through the proxy.

// Clients and servers by hand, for what the real ones do not do on demand.
mod by_hand;
// Requests to cancel a query, which come on connections of their own.
mod cancel;
// What sessions are used for, beside queries.
mod features;
// The real server, every way to reach it, real clients.
mod matrix;
// Every combination of libpq's settings.
mod modes;
// Sessions whose workers are killed.
mod outlive;
// The driver that programs use.
mod psycopg;
// What goes wrong, and what the client is told.
mod failures;
// A proxy in front of a proxy.
mod two_proxies;

use crate::support::{
    front::{Front, TLS_LEGS},
    servers::{Client, Server},
};

/// Returns `psql`, aimed at a leg, as it must be told to connect there.
fn psql<'server>(front: &Front, server: &'server Server, leg: &str) -> Client<'server> {
    let client = front.client(server, leg);
    if TLS_LEGS.contains(&leg) {
        // The server would hold the proxy's certificate against its own.
        client.option("channel_binding=disable")
    } else {
        client
    }
}
