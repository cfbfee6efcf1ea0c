//! OpenSSL: its client, which shows what others hide, and its files.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use super::{
    PATIENCE,
    program::{Outcome, run},
    skip,
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

/// Returns whether OpenSSL is there; if not, the test is to be skipped, and this says so.
pub(crate) fn is_there() -> bool {
    let mut command = Command::new("openssl");
    command.arg("version").stdout(Stdio::null());
    let is_there = command.status().is_ok_and(|status| status.success());
    if !is_there {
        skip("openssl is not installed");
    }
    is_there
}

/// Runs it in a folder; arguments stand between blanks.
#[track_caller]
pub(crate) fn openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    command
        .args(arguments.split_whitespace())
        .current_dir(folder);
    let outcome = run(command, PATIENCE);
    assert!(outcome.is_success(), "{arguments}: {outcome:#?}");
}
