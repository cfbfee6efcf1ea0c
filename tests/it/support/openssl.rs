//! OpenSSL's client, which shows what others hide.

use std::{net::SocketAddr, process::Command};

use super::{
    PATIENCE,
    program::{Outcome, run},
};

/// Connects, completes the handshake and leaves.
pub(crate) fn s_client(address: SocketAddr, arguments: &[&str]) -> Outcome {
    let address = address.to_string();
    handshake(&[&["-connect", &address], arguments].concat())
}

/// The same without an address.
pub(crate) fn handshake(arguments: &[&str]) -> Outcome {
    let mut command = Command::new("openssl");
    command.arg("s_client").args(arguments);
    run(command, PATIENCE)
}
