//! TLS between the proxy and a backend.

use std::{fs, io::ErrorKind};

use crate::support::{
    client::{Client, Session},
    configuration::Listener,
    daemon::TestDaemon,
    fake::{Fake, TlsFake},
    openssl::{is_there, openssl},
    pki::{Ca, Leaf, replace},
    until,
};

/// A daemon in front of a backend with TLS.
struct Front {
    ca: Ca,
    daemon: TestDaemon,
}

impl Front {
    /// Starts one; `tls` is what stands in `backend_tls`, with files as `(name, contents)`.
    fn new(backend: &str, tls: &str, files: &[(&str, &str)]) -> Self {
        let ca = Ca::new("proxies");
        let builder = TestDaemon::builder().identity("default", &ca.leaf("localhost"));
        for (name, contents) in files {
            replace(&builder.folder().join(name), contents);
        }
        let listener = Listener::tcp("main", backend).line(&format!("backend_tls = {{ {tls} }}"));
        let daemon = builder.listener(listener).start();
        Self { ca, daemon }
    }

    fn connect(&self) -> Session {
        let client = Client::new(&self.ca);
        client.connect(self.daemon.address()).unwrap()
    }

    #[track_caller]
    fn assert_through(&self) {
        self.connect().echo("hello").unwrap();
    }

    /// Sees that the client is turned away, and that the log says why.
    #[track_caller]
    fn assert_refused(&self, cause: &str) {
        let mut session = self.connect();
        assert_eq!(session.rest().unwrap(), b"");
        until("the log says why", || self.daemon.log().contains(cause));
    }
}

/// Starts a backend with this certificate; returns it, and where it is by name.
fn backend(leaf: &Leaf) -> (TlsFake, String) {
    let backend = TlsFake::new(leaf, None);
    let address = format!("localhost:{}", backend.port());
    (backend, address)
}

const FULL: &str = "mode = \"verify-full\", ca = \"db.crt\"";
const CA: &str = "mode = \"verify-ca\", ca = \"db.crt\"";
const REQUIRE: &str = "mode = \"require\"";

#[test]
fn a_good_certificate_passes_in_every_mode() {
    let ca = Ca::new("databases");
    let (backend, address) = backend(&ca.leaf("localhost"));
    for mode in [FULL, CA, REQUIRE] {
        let front = Front::new(&address, mode, &[("db.crt", ca.pem())]);
        front.assert_through();
    }
    assert_eq!(backend.seen().len(), 3);
}

#[test]
fn a_certificate_with_another_name_fails_where_the_name_counts() {
    let ca = Ca::new("databases");
    let (backend, address) = backend(&ca.leaf("elsewhere.example"));
    let files = [("db.crt", ca.pem())];
    Front::new(&address, FULL, &files).assert_refused("not valid for name");
    assert_eq!(backend.seen(), []);
    for mode in [CA, REQUIRE] {
        Front::new(&address, mode, &files).assert_through();
    }
}

#[test]
fn a_certificate_of_another_authority_fails_unless_none_is_asked_for() {
    let (backend, address) = backend(&Ca::new("strangers").leaf("localhost"));
    let ca = Ca::new("databases");
    let files = [("db.crt", ca.pem())];
    for mode in [FULL, CA] {
        Front::new(&address, mode, &files).assert_refused("UnknownIssuer");
    }
    assert_eq!(backend.seen(), []);
    Front::new(&address, REQUIRE, &files).assert_through();
}

#[test]
fn a_certificate_that_has_expired_fails_unless_none_is_asked_for() {
    let ca = Ca::new("databases");
    let leaf = ca.request(&["localhost"]).valid(-20, -10).issue();
    let (_backend, address) = backend(&leaf);
    let files = [("db.crt", ca.pem())];
    for mode in [FULL, CA] {
        Front::new(&address, mode, &files).assert_refused("expired");
    }
    Front::new(&address, REQUIRE, &files).assert_through();
}

#[test]
fn a_certificate_that_signed_itself_passes_if_it_is_the_one_that_is_trusted() {
    let ca = Ca::new("databases");
    let leaf = ca.request(&["localhost"]).self_signed();
    let (_backend, address) = backend(&leaf);
    for mode in [FULL, CA] {
        Front::new(&address, mode, &[("db.crt", &leaf.cert)]).assert_through();
        let other = ca.request(&["localhost"]).self_signed();
        let front = Front::new(&address, mode, &[("db.crt", &other.cert)]);
        front.assert_refused("invalid peer certificate");
    }
    Front::new(&address, REQUIRE, &[]).assert_through();
}

#[test]
fn a_trusted_certificate_still_needs_the_name_where_it_counts() {
    let leaf = Ca::new("any").request(&["elsewhere.example"]).self_signed();
    let (_backend, address) = backend(&leaf);
    let files = [("db.crt", &leaf.cert[..])];
    Front::new(&address, FULL, &files).assert_refused("not valid for name");
    Front::new(&address, CA, &files).assert_through();
}

#[test]
fn an_authority_of_the_system_is_not_that_of_the_backend() {
    let (_backend, address) = backend(&Ca::new("strangers").leaf("localhost"));
    let front = Front::new(&address, "mode = \"verify-full\"", &[]);
    front.assert_refused("UnknownIssuer");
}

#[test]
fn the_configured_name_is_sent_and_checked_instead_of_the_address() {
    let ca = Ca::new("databases");
    let backend = TlsFake::new(&ca.leaf("db1.example"), None);
    let files = [("db.crt", ca.pem())];
    let tls = format!("{FULL}, server_name = \"db1.example\"");
    Front::new(&backend.address(), &tls, &files).assert_through();
    assert_eq!(backend.seen()[0].name.as_deref(), Some("db1.example"));
    let tls = format!("{FULL}, server_name = \"db2.example\"");
    Front::new(&backend.address(), &tls, &files).assert_refused("not valid for name");
}

#[test]
fn an_address_is_checked_as_such() {
    let ca = Ca::new("databases");
    let files = [("db.crt", ca.pem())];
    let good = TlsFake::new(&ca.leaf("127.0.0.1"), None);
    Front::new(&good.address(), FULL, &files).assert_through();
    assert_eq!(good.seen()[0].name, None);
    let named = TlsFake::new(&ca.leaf("localhost"), None);
    Front::new(&named.address(), FULL, &files).assert_refused("not valid for name");
}

#[test]
fn the_proxy_shows_its_own_certificate_to_the_backend() {
    let (databases, clients) = (Ca::new("databases"), Ca::new("clients"));
    let backend = TlsFake::new(&databases.leaf("127.0.0.1"), Some(&clients));
    let own = clients.leaf("proxy");
    let tls = format!("{FULL}, cert = \"own.crt\", key = \"own-key.pem\"");
    let files = [
        ("db.crt", databases.pem()),
        ("own.crt", &own.cert),
        ("own-key.pem", &own.key),
    ];
    Front::new(&backend.address(), &tls, &files).assert_through();
    assert_eq!(
        backend.seen()[0].certificate.as_deref(),
        Some(&own.sha256[..])
    );
}

#[test]
fn the_certificate_for_the_backend_may_be_in_one_file_with_an_encrypted_key() {
    if !is_there() {
        return;
    }
    let (databases, clients) = (Ca::new("databases"), Ca::new("clients"));
    let backend = TlsFake::new(&databases.leaf("127.0.0.1"), Some(&clients));
    let own = clients.leaf("proxy");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("k"), &own.key).unwrap();
    openssl(
        folder.path(),
        "pkcs8 -topk8 -in k -passout pass:s3cret -out e",
    );
    let key = fs::read_to_string(folder.path().join("e")).unwrap();
    let tls = format!("{FULL}, cert = \"own.pem\", passphrase_file = \"word\"");
    let files = [
        ("db.crt", databases.pem()),
        ("own.pem", &(key + &own.cert)),
        ("word", "s3cret\n"),
    ];
    Front::new(&backend.address(), &tls, &files).assert_through();
    assert_eq!(
        backend.seen()[0].certificate.as_deref(),
        Some(&own.sha256[..])
    );
}

#[test]
fn a_backend_that_wants_a_certificate_turns_the_proxy_away_without_one() {
    let (databases, clients) = (Ca::new("databases"), Ca::new("clients"));
    let backend = TlsFake::new(&databases.leaf("127.0.0.1"), Some(&clients));
    let front = Front::new(&backend.address(), FULL, &[("db.crt", databases.pem())]);
    let mut session = front.connect();
    // The refusal comes after the handshake, as it is in TLS 1.3.
    assert_eq!(session.rest().unwrap(), b"");
    assert_eq!(backend.seen(), []);
}

#[test]
fn a_new_certificate_for_the_backend_counts_from_the_next_session_on() {
    let (databases, clients) = (Ca::new("databases"), Ca::new("clients"));
    let backend = TlsFake::new(&databases.leaf("127.0.0.1"), Some(&clients));
    let (old, new) = (clients.leaf("proxy"), clients.leaf("proxy"));
    let tls = format!("{FULL}, cert = \"own.crt\", key = \"own-key.pem\"");
    let files = [
        ("db.crt", databases.pem()),
        ("own.crt", &old.cert),
        ("own-key.pem", &old.key),
    ];
    let front = Front::new(&backend.address(), &tls, &files);
    let mut session = front.connect();
    session.echo("before").unwrap();
    replace(&front.daemon.path("own-key.pem"), &new.key);
    replace(&front.daemon.path("own.crt"), &new.cert);
    front.daemon.ctl(&["reload-tls"]).answer();
    session.echo("after").unwrap();
    front.assert_through();
    let shown: Vec<_> = backend
        .seen()
        .into_iter()
        .map(|it| it.certificate)
        .collect();
    assert_eq!(shown, [Some(old.sha256), Some(new.sha256)]);
}

#[test]
fn another_authority_for_the_backend_counts_from_the_next_session_on() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let backend = TlsFake::new(&new.leaf("127.0.0.1"), None);
    let front = Front::new(&backend.address(), FULL, &[("db.crt", old.pem())]);
    front.assert_refused("UnknownIssuer");
    replace(&front.daemon.path("db.crt"), new.pem());
    front.daemon.ctl(&["reload-tls"]).answer();
    front.assert_through();
}

#[test]
fn a_certificate_of_the_first_version_passes_where_nothing_is_checked_or_it_is_the_one_trusted() {
    let leaf = Leaf::first_version("MariaDB");
    let (_backend, address) = backend(&leaf);
    Front::new(&address, REQUIRE, &[]).assert_through();
    Front::new(&address, CA, &[("db.crt", &leaf.cert)]).assert_through();
    let other = Ca::new("databases");
    for (mode, trusted) in [(CA, other.pem()), (FULL, &leaf.cert)] {
        let front = Front::new(&address, mode, &[("db.crt", trusted)]);
        front.assert_refused("X.509 version 1");
    }
}

#[test]
fn a_certificate_without_a_name_fails_where_the_name_counts_and_the_log_says_what_to_do() {
    let ca = Ca::new("databases");
    let (_backend, address) = backend(&ca.request(&[]).issue());
    let files = [("db.crt", ca.pem())];
    Front::new(&address, FULL, &files)
        .assert_refused("use verify-ca, or issue one with \"localhost\" in it");
    Front::new(&address, CA, &files).assert_through();
}

#[test]
fn a_revoked_certificate_fails_from_the_next_session_on() {
    let ca = Ca::new("databases");
    let leaf = ca.leaf("localhost");
    let (_backend, address) = backend(&leaf);
    for mode in [FULL, CA] {
        let list = ca.revoke(&[]);
        let files = [("db.crt", ca.pem()), ("db.crl", &list)];
        let front = Front::new(&address, &format!("{mode}, crl = [\"db.crl\"]"), &files);
        front.assert_through();
        replace(&front.daemon.path("db.crl"), ca.revoke(&[&leaf]));
        front.daemon.ctl(&["reload-tls"]).answer();
        front.assert_refused("Revoked");
    }
}

#[test]
fn each_backend_has_its_own_authorities_and_a_broken_file_holds_back_only_one() {
    let (left, right) = (Ca::new("left"), Ca::new("right"));
    let backends = [&left, &right].map(|ca| backend(&ca.leaf("localhost")));
    let servers = Ca::new("proxies");
    let mut builder = TestDaemon::builder().identity("default", &servers.leaf("localhost"));
    for ((name, ca), (_, address)) in [("left", &right), ("right", &left)].iter().zip(&backends) {
        replace(&builder.folder().join(format!("{name}.crt")), ca.pem());
        let line = format!("backend_tls = {{ mode = \"verify-full\", ca = \"{name}.crt\" }}");
        builder = builder.listener(Listener::tcp(name, address).line(&line));
    }
    let daemon = builder.start();
    let passes = |name| {
        let mut session = Client::new(&servers)
            .connect(daemon.address_of(name))
            .unwrap();
        session.echo("hello").is_ok()
    };
    assert_eq!([passes("left"), passes("right")], [false, false]);
    replace(&daemon.path("left.crt"), left.pem());
    replace(&daemon.path("right.crt"), "no certificate");
    let complaint = daemon.ctl(&["reload-tls"]).complaint();
    assert!(complaint.contains("right.crt"), "{complaint}");
    assert_eq!([passes("left"), passes("right")], [true, false]);
    replace(&daemon.path("right.crt"), right.pem());
    daemon.ctl(&["reload-tls"]).answer();
    assert_eq!([passes("left"), passes("right")], [true, true]);
}

#[test]
fn a_backend_without_tls_ends_the_session() {
    let backend = Fake::saying(b"what do you want?\n");
    let front = Front::new(&backend.address(), REQUIRE, &[]);
    front.assert_refused("TLS");
}

#[test]
fn a_client_is_told_of_a_proper_end_only_where_there_was_one() {
    let ca = Ca::new("databases");
    let (_backend, address) = backend(&ca.leaf("localhost"));
    let front = Front::new(&address, FULL, &[("db.crt", ca.pem())]);
    let mut session = front.connect();
    session.echo("goodbye").unwrap();
    assert_eq!(session.rest().unwrap(), b"");
    let mut session = front.connect();
    session.echo("hello").unwrap();
    session.finish().unwrap();
    let error = session.rest().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}
