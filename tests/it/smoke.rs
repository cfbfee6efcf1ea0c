//! The shortest way through everything.

use crate::support::{client, daemon::TestDaemon, pki::Ca};

#[test]
fn a_client_is_shown_the_certificate_and_reaches_the_backend() {
    let ca = Ca::new("authority");
    let leaf = ca.leaf("localhost");
    let daemon = TestDaemon::builder().identity("default", &leaf).start();
    let shown = client::handshake(daemon.address(), "localhost", &ca).unwrap();
    assert_eq!(shown.sha256, leaf.sha256);
    assert_eq!(shown.serial, leaf.serial());
    assert_eq!(daemon.backend.accepted(), 1);
}
