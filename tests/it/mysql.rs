//! `MySQL` and `MariaDB` through the proxy.

// Accounts and clients that notice what is between the two.
mod accounts;
// Clients and servers by hand, for what the real ones do not do on demand.
mod by_hand;
// A second login within a session.
mod change_user;
// A second login that does not wait for the answer to what was sent before.
mod pipelined;
// Accounts of `caching_sha2_password`, of which the server remembers what it saw once.
mod caching_sha2;
// What goes wrong, and what the client is told.
mod failures;
// Real servers, every way to reach them, real clients.
mod matrix;
// Every authentication plugin that the servers have.
mod plugins;
// The driver that needs nothing but Python.
mod pymysql;
// Passwords that are asked for by PAM.
mod pam;
// Plugins that ask more than one question.
mod questions;
// Accounts of several plugins, and plugins that look at the peer.
mod factors;
// Clients of `MariaDB` that verify a server by the password.
mod by_password;
// A proxy in front of a proxy.
mod two_proxies;
// Clients that give up, which is not to be held against the proxy.
mod give_up;
// What sessions are used for, beside queries.
mod features;
// Replicas and backups.
mod replication;
// The certificates that `MySQL` makes by itself.
mod own_certificates;
// Sessions whose workers are killed.
mod outlive;
// Sessions that outlive what happens to the daemon.
mod sessions;

use crate::support::{
    front::with_client_of,
    servers::{self, Server},
};

/// Returns the servers, and each as every command line client sees it.
fn servers_and_clients() -> Vec<(Server, Vec<Server>)> {
    let all: Vec<_> = [servers::mariadb(), servers::mysql()]
        .into_iter()
        .flatten()
        .collect();
    all.iter()
        .map(|server| {
            let clients = all.iter().map(|other| with_client_of(server, other));
            (server.clone(), clients.collect())
        })
        .collect()
}
