//! Which certificate clients are shown, and how.

use std::io::Write as _;

use crate::support::{
    client::Client,
    configuration::Listener,
    daemon::TestDaemon,
    fake::Fake,
    openssl::s_client,
    pki::{Ca, Leaf, replace},
    until,
};

/// Starts a daemon with identities that are called as in this list.
fn front(identities: &[(&str, &Leaf)]) -> TestDaemon {
    let builder = TestDaemon::builder();
    let identities = identities.iter();
    identities
        .fold(builder, |it, (name, leaf)| it.identity(name, leaf))
        .start()
}

/// Returns what a client that asks for `name`, and trusts `ca` alone, is shown.
fn shown(daemon: &TestDaemon, ca: &Ca, name: &str) -> String {
    let client = Client::new(ca).name(name);
    let mut session = client.connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
    session.shown().sha256
}

/// Returns the certificate that OpenSSL's client is shown.
fn shown_to_openssl(daemon: &TestDaemon, arguments: &[&str]) -> String {
    let outcome = s_client(daemon.address(), &[arguments, &["-showcerts"]].concat());
    assert!(outcome.stdout.contains("BEGIN CERTIFICATE"), "{outcome:#?}");
    outcome.stdout
}

#[test]
fn the_server_name_chooses_the_identity() {
    let ca = Ca::new("authority");
    let (one, two) = (ca.leaf("one.example"), ca.leaf("two.example"));
    let daemon = front(&[("one", &one), ("two", &two)]);
    assert_eq!(shown(&daemon, &ca, "one.example"), one.sha256);
    assert_eq!(shown(&daemon, &ca, "two.example"), two.sha256);
    assert_eq!(shown(&daemon, &ca, "TWO.example"), two.sha256);
}

#[test]
fn every_name_of_a_certificate_chooses_it() {
    let ca = Ca::new("authority");
    let one = ca.leaf("one.example");
    let more = ca.request(&["two.example", "three.example"]).issue();
    let daemon = front(&[("one", &one), ("more", &more)]);
    assert_eq!(shown(&daemon, &ca, "three.example"), more.sha256);
}

#[test]
fn a_wildcard_stands_for_one_label_and_gives_way_to_the_name_itself() {
    let ca = Ca::new("authority");
    let other = ca.request(&["other.test", "deep.a.db.example"]).issue();
    let wild = ca.leaf("*.db.example");
    let exact = ca.leaf("exact.db.example");
    let daemon = front(&[("other", &other), ("wild", &wild), ("exact", &exact)]);
    assert_eq!(shown(&daemon, &ca, "any.db.example"), wild.sha256);
    assert_eq!(shown(&daemon, &ca, "exact.db.example"), exact.sha256);
    assert_eq!(shown(&daemon, &ca, "deep.a.db.example"), other.sha256);
}

#[test]
fn the_first_identity_is_for_everybody_else() {
    let ca = Ca::new("authority");
    let (one, two) = (ca.leaf("one.example"), ca.leaf("two.example"));
    let daemon = front(&[("one", &one), ("two", &two)]);
    for arguments in [
        &["-noservername"][..],
        &["-servername", "unknown.example"],
        &["-servername", "deep.two.example"],
    ] {
        let text = shown_to_openssl(&daemon, arguments);
        assert!(text.contains(one.cert.trim()), "{arguments:?} {text}");
        assert!(!text.contains(two.cert.trim()), "{arguments:?} {text}");
    }
}

#[test]
fn a_listener_presents_only_the_identities_that_it_names() {
    let ca = Ca::new("authority");
    let (one, two) = (ca.leaf("one.example"), ca.leaf("two.example"));
    let builder = TestDaemon::builder()
        .identity("one", &one)
        .identity("two", &two);
    let backend = builder.backend().address();
    let daemon = builder
        .listener(Listener::tcp("main", &backend).line("identities = [\"two\"]"))
        .start();
    assert_eq!(shown(&daemon, &ca, "two.example"), two.sha256);
    let text = shown_to_openssl(&daemon, &["-servername", "one.example"]);
    assert!(text.contains(two.cert.trim()), "{text}");
}

#[test]
fn the_whole_chain_is_sent() {
    let root = Ca::new("root");
    let intermediate = root.intermediate("intermediate");
    let mut leaf = intermediate.leaf("localhost");
    leaf.cert.push_str(intermediate.pem());
    let daemon = front(&[("default", &leaf)]);
    let file = daemon.path("root.crt");
    replace(&file, root.pem());
    let arguments = [
        "-verify_return_error",
        "-verify_hostname",
        "localhost",
        "-CAfile",
        file.to_str().unwrap(),
    ];
    for version in ["-tls1_2", "-tls1_3"] {
        let text = shown_to_openssl(&daemon, &[&[version], &arguments[..]].concat());
        assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
        assert!(text.contains(intermediate.pem().trim()), "{text}");
        assert!(!text.contains(root.pem().trim()), "{text}");
    }
    assert_eq!(shown(&daemon, &root, "localhost"), leaf.sha256);
}

#[test]
fn a_client_gets_the_kind_of_key_that_it_knows_and_the_cheaper_of_two() {
    let ca = Ca::new("authority");
    let algorithm = &rcgen::PKCS_RSA_SHA256;
    let rsa = ca.request(&["localhost"]).algorithm(algorithm).issue();
    let ecdsa = ca.leaf("localhost");
    let daemon = front(&[("rsa", &rsa), ("ecdsa", &ecdsa)]);
    assert_eq!(shown(&daemon, &ca, "localhost"), ecdsa.sha256);
    for (arguments, expected) in [
        (&["-tls1_3"][..], &ecdsa),
        (&["-tls1_3", "-sigalgs", "RSA-PSS+SHA256"], &rsa),
        (&["-tls1_3", "-sigalgs", "ECDSA+SHA256"], &ecdsa),
        (&["-tls1_2"], &ecdsa),
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], &rsa),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
            &ecdsa,
        ),
    ] {
        let name = ["-servername", "localhost"];
        let text = shown_to_openssl(&daemon, &[arguments, &name].concat());
        assert!(text.contains(expected.cert.trim()), "{arguments:?} {text}");
    }
}

#[test]
fn keys_of_every_kind_are_served() {
    let ca = Ca::new("authority");
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let leaf = ca.request(&["localhost"]).algorithm(algorithm).issue();
        let daemon = front(&[("default", &leaf)]);
        assert_eq!(shown(&daemon, &ca, "localhost"), leaf.sha256);
    }
}

/// A session that is resumed would go on showing a certificate that was replaced.
#[test]
fn no_session_is_resumed() {
    let ca = Ca::new("authority");
    let daemon = front(&[("default", &ca.leaf("localhost"))]);
    for client in [Client::new(&ca), Client::new(&ca).tls12()] {
        let client = client.resuming();
        for _ in 0..3 {
            let mut session = client.connect(daemon.address()).unwrap();
            session.echo("a ticket would come before this").unwrap();
            assert!(!session.is_resumed());
        }
    }
}

#[test]
fn neither_a_ticket_nor_the_name_of_a_session_is_offered() {
    let ca = Ca::new("authority");
    let daemon = front(&[("default", &ca.leaf("localhost"))]);
    let text = shown_to_openssl(&daemon, &["-tls1_2"]);
    assert!(!text.contains("session ticket"), "{text}");
    let mut lines = text.lines().map(str::trim);
    assert!(lines.any(|it| it == "Session-ID:"), "{text}");
}

#[test]
fn nothing_older_than_tls_1_2_is_spoken() {
    let ca = Ca::new("authority");
    let daemon = front(&[("default", &ca.leaf("localhost"))]);
    let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let outcome = s_client(daemon.address(), &old);
    assert!(!outcome.is_success(), "{outcome:#?}");
    let complaint = outcome.stderr;
    assert!(complaint.contains("SSL alert number"), "{complaint}");
}

#[test]
fn the_certificates_that_the_daemon_made_itself_convince_those_who_trust_its_authority() {
    let daemon = TestDaemon::builder().start();
    let ca = std::fs::read_to_string(daemon.path("state/tls/ca.pem")).unwrap();
    let mut session = Client::trusting(&ca).connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
}

/// Probes do so: they want to see the certificate, or what the service says first.
#[test]
fn a_client_that_ends_as_soon_as_tls_is_there_is_served() {
    let ca = Ca::new("authority");
    let backend = Fake::new(|connection| {
        connection.write_all(b"I speak first\n")?;
        connection.listen()
    });
    let daemon = TestDaemon::builder()
        .identity("default", &ca.leaf("localhost"))
        .listener(Listener::tcp("main", &backend.address()))
        .start();
    let version = ["-tls1_3"];
    for number in 1..=3 {
        s_client(daemon.address(), &version);
        until("the backend was asked", || backend.heard().len() == number);
    }
    let status = daemon.status();
    let connections = &status["listeners"][0]["connections"];
    assert_eq!(connections["failed_handshakes"], 0, "{connections}");
}
