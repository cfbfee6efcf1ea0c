//! Revocation lists as `openssl` makes them, each judged beside `openssl verify`, and the alerts that
//! refused clients see.

mod authority;

use std::io::Write as _;

use rustls::AlertDescription;

use self::authority::{Authority, POINT};
use crate::support::{
    client::{Client, alert},
    configuration::Listener,
    daemon::TestDaemon,
    fake::TlsFake,
    openssl::{is_there, s_client},
    pki::{Ca, Leaf, replace},
    until,
};

/// A list for all certificates.
const PLAIN: &str = "authorityKeyIdentifier = keyid";

/// A list for a distribution point that no certificate names.
const MOVED: &str = "issuingDistributionPoint = critical, @point
[point]
fullname = URI:http://ca.example/moved.crl";

/// A daemon that requires certificates of an authority that `openssl` runs.
struct Front {
    servers: Ca,
    daemon: TestDaemon,
}

impl Front {
    /// Starts one with this list; `more` are further keys of `client_auth`.
    fn new(clients: &Authority, list: &str, more: &str) -> Self {
        let servers = Ca::new("servers");
        let builder = TestDaemon::builder().identity("default", &servers.leaf("localhost"));
        let builder = builder
            .file("clients.crt", clients.pem())
            .file("clients.crl", list);
        let listener = Listener::tcp("main", &builder.backend().address()).line(&format!(
            "client_auth = {{ mode = \"required\", ca = \"clients.crt\", crl = \"clients.crl\"{more} }}"
        ));
        Self {
            daemon: builder.listener(listener).start(),
            servers,
        }
    }

    /// Puts another list into force; returns what was warned of.
    #[track_caller]
    fn load(&self, list: &str) -> String {
        replace(&self.daemon.path("clients.crl"), list);
        self.daemon.ctl(&["reload-tls"]).answer();
        self.daemon.ctl(&["verify"]).stderr
    }

    /// Returns the alert by which a client is refused, in both versions; `None` if it is let in.
    #[track_caller]
    fn verdict(&self, leaf: &Leaf) -> Option<AlertDescription> {
        let verdicts = [false, true].map(|old| {
            let client = Client::new(&self.servers).present(leaf).old(old);
            let session = client.connect(self.daemon.address());
            let error = session.and_then(|mut it| it.echo("hello")).err()?;
            Some(alert(&error))
        });
        assert_eq!(verdicts[0], verdicts[1], "TLS 1.3 and 1.2");
        verdicts[0]
    }

    fn count(&self, reason: &str) -> u64 {
        let status = self.daemon.status();
        let reasons = &status["listeners"][0]["connections"]["failed_by_reason"];
        reasons[reason].as_u64().unwrap()
    }
}

#[test]
fn a_serial_in_a_list_of_its_own_issuer_is_refused_whatever_the_list_is_for() {
    if !is_there() {
        return;
    }
    let clients = Authority::new("clients");
    let [good, bad] = ["good", "bad"].map(|name| clients.leaf(name));
    let (good_bare, bad_bare) = (clients.bare("goodbare"), clients.bare("badbare"));
    clients.revoke("bad");
    clients.revoke("badbare");
    let front = Front::new(&clients, &clients.list(PLAIN), "");
    let own = format!("issuingDistributionPoint = @point\n[point]\nfullname = URI:{POINT}");
    let only = |what: &str| format!("issuingDistributionPoint = critical, @p\n[p]\n{what}");
    // What is in each list, what openssl says of the revoked and of the good one, and what the
    // warning is about.
    for (list, of_bad, of_good, warning) in [
        ("", "certificate revoked", "OK", None),
        (PLAIN, "certificate revoked", "OK", None),
        (&own, "certificate revoked", "OK", Some(POINT)),
        (
            MOVED,
            "Different CRL scope",
            "Different CRL scope",
            Some("http://ca.example/moved.crl"),
        ),
        (
            &only("onlyuser = TRUE"),
            "certificate revoked",
            "OK",
            Some("no authority's"),
        ),
        (
            &only("onlyCA = TRUE"),
            "Different CRL scope",
            "Different CRL scope",
            Some("certificates of authorities"),
        ),
        (
            &only("onlyAA = TRUE"),
            "Different CRL scope",
            "Different CRL scope",
            Some("attribute certificates"),
        ),
        (
            &only("onlysomereasons = keyCompromise"),
            "unable to get certificate CRL",
            "unable to get certificate CRL",
            Some("some reasons"),
        ),
    ] {
        let warned = front.load(&clients.list(list));
        let is_first = clients.text().contains("Version 1 ");
        assert_eq!(is_first, list.is_empty(), "{list}");
        let told = warned.contains("the list of CN=clients is only for");
        assert_eq!(told, warning.is_some(), "{list}: {warned}");
        assert!(warned.contains(warning.unwrap_or_default()), "{warned}");
        for (name, expected) in [("bad", of_bad), ("good", of_good)] {
            let theirs = clients.verify(name);
            let theirs = theirs.stdout + &theirs.stderr;
            let expected = expected.to_lowercase();
            assert!(
                theirs.to_lowercase().contains(&expected),
                "{list}: {theirs}"
            );
        }
        for leaf in [&bad, &bad_bare] {
            let revoked = Some(AlertDescription::CertificateRevoked);
            assert_eq!(front.verdict(leaf), revoked, "{list}");
        }
        for leaf in [&good, &good_bare] {
            assert_eq!(front.verdict(leaf), None, "{list}");
        }
    }
    assert_eq!(front.count("revocation_unknown"), 0);
}

#[test]
fn lists_that_are_not_for_a_certificate_are_told_apart_from_none() {
    if !is_there() {
        return;
    }
    let clients = Authority::new("clients");
    let leaf = clients.leaf("good");
    let own = format!("issuingDistributionPoint = @point\n[point]\nfullname = URI:{POINT}");
    let unknown = Some(AlertDescription::CertificateUnknown);
    for (more, of_moved) in [
        ("", None),
        (", unscoped_crl = \"refuse\"", unknown),
        (", unknown_revocation = \"refuse\"", unknown),
        (
            ", unknown_revocation = \"refuse\", unscoped_crl = \"accept\"",
            None,
        ),
    ] {
        let front = Front::new(&clients, &clients.list(MOVED), more);
        assert_eq!(front.verdict(&leaf), of_moved, "{more}");
        if of_moved.is_some() {
            until("both are counted", || {
                front.count("revocation_unknown") == 2
            });
            until("the log says why", || {
                let log = front.daemon.log();
                log.contains("none of them is for this certificate, and unscoped_crl refuses that")
            });
        }
        front.load(&clients.list(&own));
        assert_eq!(front.verdict(&leaf), None, "{more}");
    }
}

#[test]
fn a_list_that_is_none_by_itself_is_refused_by_name_and_the_last_stays() {
    if !is_there() {
        return;
    }
    let clients = Authority::new("clients");
    let bad = clients.leaf("bad");
    clients.revoke("bad");
    let front = Front::new(&clients, &clients.list(PLAIN), "");
    let indirect = "issuingDistributionPoint = critical, @p\n[p]\nindirectCRL = TRUE";
    for (list, words) in [
        (
            "2.5.29.27 = critical, DER:020101",
            "is a delta list (deltaCRLIndicator)",
        ),
        (indirect, "is an indirect list (indirectCRL"),
        (
            "1.2.3.4 = critical, DER:0500",
            "has the critical extension 1.2.3.4",
        ),
    ] {
        replace(&front.daemon.path("clients.crl"), clients.list(list));
        let complaint = front.daemon.ctl(&["reload-tls"]).complaint();
        assert!(complaint.contains(words), "{complaint}");
        let revoked = Some(AlertDescription::CertificateRevoked);
        assert_eq!(front.verdict(&bad), revoked, "{list}");
    }
}

#[test]
fn a_list_of_another_key_counts_as_none_and_is_warned_of() {
    if !is_there() {
        return;
    }
    let (clients, namesake) = (Authority::new("clients"), Authority::new("clients"));
    let leaf = clients.leaf("good");
    for (more, expected) in [
        ("", None),
        (
            ", unknown_revocation = \"refuse\"",
            Some(AlertDescription::CertificateUnknown),
        ),
    ] {
        let front = Front::new(&clients, &clients.list(PLAIN), more);
        assert_eq!(front.verdict(&leaf), None);
        let warned = front.load(&namesake.list(PLAIN));
        assert!(warned.contains("is signed by none of the keys"), "{warned}");
        assert_eq!(front.verdict(&leaf), expected);
        let both = [namesake.list(PLAIN), clients.list(PLAIN)].concat();
        front.load(&both);
        assert_eq!(front.verdict(&leaf), None);
    }
}

#[test]
fn a_new_key_of_an_authority_without_a_list_counts_as_without_and_is_warned_of() {
    if !is_there() {
        return;
    }
    let (old, new) = (Authority::new("clients"), Authority::new("clients"));
    let (bad, leaf) = (old.leaf("bad"), new.leaf("good"));
    old.revoke("bad");
    let list = old.list(PLAIN);
    let roots = old.path("roots.crt");
    replace(&roots, old.pem() + &new.pem());
    let theirs = old.verify_file("-crl_check", &roots, &new.path("good.crt"));
    assert!(theirs.stderr.contains("verification failed"), "{theirs:#?}");
    let unknown = Some(AlertDescription::CertificateUnknown);
    for (more, expected) in [("", None), (", unknown_revocation = \"refuse\"", unknown)] {
        let front = Front::new(&old, &list, more);
        replace(&front.daemon.path("clients.crt"), old.pem() + &new.pem());
        let warned = front.load(&list);
        let told = "the authority CN=clients with the serial number";
        assert!(warned.contains(told), "{warned}");
        let revoked = Some(AlertDescription::CertificateRevoked);
        assert_eq!(front.verdict(&bad), revoked, "{more}");
        assert_eq!(front.verdict(&leaf), expected, "{more}");
        let warned = front.load(&(list.clone() + &new.list(PLAIN)));
        assert!(!warned.contains(told), "{warned}");
        assert_eq!(front.verdict(&leaf), None, "{more}");
    }
}

#[test]
fn a_list_whose_issuer_is_written_in_another_string_type_counts() {
    if !is_there() {
        return;
    }
    let clients = Authority::new("clients");
    let (good, bad) = (clients.leaf("good"), clients.leaf("bad"));
    clients.revoke("bad");
    let list = clients.list_of(&clients.printable("clients"), PLAIN);
    for (name, expected) in [("bad", "certificate revoked"), ("good", "OK")] {
        let theirs = clients.verify(name);
        let theirs = theirs.stdout + &theirs.stderr;
        assert!(theirs.contains(expected), "{theirs}");
    }
    let strict = ", unknown_revocation = \"refuse\"";
    let front = Front::new(&clients, &list, strict);
    let revoked = Some(AlertDescription::CertificateRevoked);
    assert_eq!(front.verdict(&bad), revoked);
    assert_eq!(front.verdict(&good), None);
    let warned = front.daemon.ctl(&["verify"]).stderr;
    assert!(!warned.contains("CN=clients"), "{warned}");
}

#[test]
fn a_revoked_intermediate_refuses_whom_it_issued() {
    if !is_there() {
        return;
    }
    let root = Authority::new("root");
    let issuer = root.intermediate("issuer");
    issuer.leaf("client");
    let front = Front::new(&root, &root.list(MOVED), "");
    let path = |name: &str| issuer.path(name).display().to_string();
    let (cert, key) = (path("client.crt"), path("client.key"));
    let says = |chain: &str| {
        let shown = ["-cert", &cert, "-key", &key, "-cert_chain", chain];
        // In TLS 1.3 openssl would leave before it is told.
        let arguments = [&["-tls1_2"], &shown[..]].concat();
        let outcome = s_client(front.daemon.address(), &arguments);
        outcome.stdout + &outcome.stderr
    };
    let link = path("ca.crt");
    assert!(!says(&link).contains("alert"));
    root.revoke_file(&issuer.path("ca.crt"));
    front.load(&root.list(MOVED));
    let told = says(&link);
    assert!(told.contains("alert certificate revoked"), "{told}");
    // Another authority, which vouches for the same key, has not revoked anything.
    let other = Authority::new("other");
    let both = path("both.crt");
    let links = issuer.pem() + &std::fs::read_to_string(other.vouch(&issuer)).unwrap();
    replace(both.as_ref(), links);
    assert!(says(&both).contains("alert certificate revoked"));
    let roots = root.pem() + &other.pem();
    replace(&front.daemon.path("clients.crt"), roots);
    front.daemon.ctl(&["reload-tls"]).answer();
    assert!(!says(&both).contains("alert"));
    assert!(says(&link).contains("alert certificate revoked"));
}

#[test]
fn a_revoked_intermediate_that_is_trusted_itself_lets_nobody_in() {
    if !is_there() {
        return;
    }
    let root = Authority::new("root");
    let issuer = root.intermediate("issuer");
    let leaf = issuer.leaf("client");
    let lists = |name: &str| {
        let text = root.list(PLAIN) + &issuer.list(PLAIN);
        replace(&root.path(name), &text);
        text
    };
    let front = Front::new(&root, &lists("before.crl"), "");
    let roots = root.path("roots.crt");
    replace(&roots, root.pem() + &issuer.pem());
    replace(
        &front.daemon.path("clients.crt"),
        root.pem() + &issuer.pem(),
    );
    let warned = front.load(&lists("before.crl"));
    assert!(!warned.contains("CN=issuer"), "{warned}");
    assert_eq!(front.verdict(&leaf), None);
    root.revoke_file(&issuer.path("ca.crt"));
    let warned = front.load(&lists("list.crl"));
    let theirs = root.verify_file("-crl_check_all", &roots, &issuer.path("client.crt"));
    let theirs = theirs.stdout + &theirs.stderr;
    assert!(theirs.contains("at 1 depth"), "{theirs}");
    assert!(theirs.contains("certificate revoked"), "{theirs}");
    let told = "the authority CN=issuer with the serial number";
    assert!(warned.contains(told), "{warned}");
    let revoked = Some(AlertDescription::CertificateRevoked);
    assert_eq!(front.verdict(&leaf), revoked);
    until("both are counted", || front.count("revoked") == 2);
}

#[test]
fn a_backend_whose_authority_has_moved_its_list_is_refused_if_the_list_names_it() {
    if !is_there() {
        return;
    }
    let databases = Authority::new("databases");
    let leaf = databases.leaf("db");
    let fake = TlsFake::new(&leaf, None);
    let servers = Ca::new("servers");
    let builder = TestDaemon::builder()
        .identity("default", &servers.leaf("localhost"))
        .file("db.crt", databases.pem())
        .file("db.crl", databases.list(MOVED));
    let listener = Listener::tcp("main", &format!("localhost:{}", fake.port()))
        .line("backend_tls = { mode = \"verify-full\", ca = \"db.crt\", crl = \"db.crl\" }");
    let daemon = builder.listener(listener).start();
    let connect = || Client::new(&servers).connect(daemon.address()).unwrap();
    connect().echo("hello").unwrap();
    databases.revoke("db");
    replace(&daemon.path("db.crl"), databases.list(MOVED));
    daemon.ctl(&["reload-tls"]).answer();
    assert_eq!(connect().rest().unwrap(), b"");
    until("the log says why", || daemon.log().contains("Revoked"));
}

#[test]
fn a_revoked_backend_is_refused_though_it_is_trusted_itself() {
    if !is_there() {
        return;
    }
    let databases = Authority::new("databases");
    let leaf = databases.leaf("db");
    let fake = TlsFake::new(&leaf, None);
    let servers = Ca::new("servers");
    let dump = std::fs::read_to_string(databases.path("db.crt")).unwrap() + &databases.pem();
    let builder = TestDaemon::builder()
        .identity("default", &servers.leaf("localhost"))
        .file("db.crt", &dump)
        .file("db.crl", databases.list(PLAIN));
    let listener = Listener::tcp("main", &format!("localhost:{}", fake.port()))
        .line("backend_tls = { mode = \"verify-full\", ca = \"db.crt\", crl = \"db.crl\" }");
    let daemon = builder.listener(listener).start();
    let connect = || Client::new(&servers).connect(daemon.address()).unwrap();
    connect().echo("hello").unwrap();
    databases.revoke("db");
    replace(&daemon.path("db.crl"), databases.list(PLAIN));
    let theirs = databases.verify_file(
        "-crl_check",
        &daemon.path("db.crt"),
        &databases.path("db.crt"),
    );
    let theirs = theirs.stdout + &theirs.stderr;
    assert!(theirs.contains("certificate revoked"), "{theirs}");
    daemon.ctl(&["reload-tls"]).answer();
    assert_eq!(connect().rest().unwrap(), b"");
    until("the log says why", || daemon.log().contains("Revoked"));
    let warned = daemon.ctl(&["verify"]).stderr;
    assert!(
        warned.contains("the authority CN=db with the serial number"),
        "{warned}"
    );
}

#[test]
fn a_backend_whose_authority_has_a_new_key_needs_no_list_of_it() {
    if !is_there() {
        return;
    }
    let (old, new) = (Authority::new("databases"), Authority::new("databases"));
    let fake = TlsFake::new(&new.leaf("db"), None);
    let servers = Ca::new("servers");
    let builder = TestDaemon::builder()
        .identity("default", &servers.leaf("localhost"))
        .file("db.crt", old.pem() + &new.pem())
        .file("db.crl", old.list(PLAIN));
    let listener = Listener::tcp("main", &format!("localhost:{}", fake.port()))
        .line("backend_tls = { mode = \"verify-full\", ca = \"db.crt\", crl = \"db.crl\" }");
    let daemon = builder.listener(listener).start();
    let mut client = Client::new(&servers).connect(daemon.address()).unwrap();
    client.echo("hello").unwrap();
}

#[test]
fn openssl_sees_the_alert_that_fits() {
    if !is_there() {
        return;
    }
    let (clients, strangers) = (Authority::new("clients"), Authority::new("strangers"));
    let [good, bad, stranger] = [
        (&clients, "good"),
        (&clients, "bad"),
        (&strangers, "stranger"),
    ]
    .map(|(ca, name)| {
        ca.leaf(name);
        let path = |end: &str| ca.path(&format!("{name}.{end}")).display().to_string();
        [path("crt"), path("key")]
    });
    clients.revoke("bad");
    let list = clients.list(PLAIN);
    let late = clients.late_list(PLAIN);
    let moved = clients.list(MOVED);
    let strict = ", unscoped_crl = \"refuse\", expired_crl = \"refuse\"";
    for (what, list, more, [cert, key], reason, number) in [
        ("revoked", &list, "", &bad, "revoked", 44),
        (
            "a late list",
            &late,
            strict,
            &good,
            "revocation_unknown",
            46,
        ),
        (
            "a moved list",
            &moved,
            strict,
            &good,
            "revocation_unknown",
            46,
        ),
        ("a stranger", &list, "", &stranger, "unknown_issuer", 48),
        (
            "nobody's holder",
            &list,
            ", allow = [\"cn:other\"]",
            &good,
            "not_allowed",
            49,
        ),
    ] {
        let front = Front::new(&clients, list, more);
        for version in ["-tls1_2", "-tls1_3"] {
            let shown = ["-cert", cert, "-key", key, "-ign_eof", version];
            let outcome = s_client(front.daemon.address(), &shown);
            let told = outcome
                .stderr
                .contains(&format!("SSL alert number {number}"));
            assert!(told, "{what}, {version}: {outcome:#?}");
        }
        until(what, || front.count(reason) == 2);
    }
}

#[test]
fn a_list_of_a_hundred_thousand_is_asked_as_well() {
    if !is_there() {
        return;
    }
    let clients = Authority::new("clients");
    let (good, bad) = (clients.leaf("good"), clients.leaf("bad"));
    clients.revoke("bad");
    let mut books = std::fs::OpenOptions::new()
        .append(true)
        .open(clients.path("index.txt"))
        .unwrap();
    for number in 0..100_000 {
        let line =
            format!("R\t391231235959Z\t200101000000Z\t{number:08X}{number:08X}\tunknown\t/CN=x\n");
        books.write_all(line.as_bytes()).unwrap();
    }
    let front = Front::new(&clients, &clients.list(PLAIN), "");
    let revoked = Some(AlertDescription::CertificateRevoked);
    assert_eq!(front.verdict(&bad), revoked);
    assert_eq!(front.verdict(&good), None);
}
