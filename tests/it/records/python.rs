//! Python on both sides of the daemon, which is OpenSSL's library.

use std::{process::Command, time::Duration};

use super::openssl::{Front, Told, spawn};
use crate::support::{PATIENCE, pki::Ca, skip};

/// How long a suite may take on a machine with much else to do.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn python_says_and_hears_four_mebibytes_at_once_and_both_ends_in_each_suite() {
    let mut command = Command::new("python3");
    command.args(["-c", "import ssl"]);
    if !command.output().is_ok_and(|it| it.status.success()) {
        skip("python3 with ssl is not installed");
        return;
    }
    let ca = Ca::new("authority");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let rsa = ca.request(&["localhost"]);
    let rsa = rsa.algorithm(&rcgen::PKCS_RSA_SHA256).issue();
    for (leaf, kind) in [(ca.leaf("localhost"), "ec"), (rsa, "rsa")] {
        std::fs::write(path(&format!("cert.{kind}")), &leaf.cert).unwrap();
        std::fs::write(path(&format!("key.{kind}")), &leaf.key).unwrap();
    }
    let mut command = Command::new("python3");
    command
        .args(["-c", include_str!("peer.py")])
        .args([path("cert"), path("key")])
        .arg((4 << 20).to_string());
    let mut python = Told::from(spawn(&mut command));
    let port = python.stdout.recv_timeout(PATIENCE).unwrap();
    let front = Front::new(port.parse().unwrap());
    python.tell(&front.daemon.address().to_string());
    let lines: Vec<String> = std::iter::from_fn(|| python.stdout.recv_timeout(LONG).ok()).collect();
    let complaint: Vec<String> = python.stderr.try_iter().collect();
    assert_eq!(
        lines.last().map(String::as_str),
        Some("all came whole"),
        "{lines:#?} {complaint:#?}"
    );
    front.counts("client_closed", 7);
}
