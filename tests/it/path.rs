//! Chains as clients see them: what `verify`, `openssl verify` and a client say about the same one.

use std::{fs, path::Path, process::Command};

use crate::support::{
    PATIENCE,
    client::Client,
    configuration::Listener,
    daemon::TestDaemon,
    desk::{AUTHORITY, Desk, LEAF, P256},
    fake::TlsFake,
    openssl::s_client,
    pki::{Ca, replace},
    program::{Outcome, run},
    until,
};

impl Desk {
    /// Serves a leaf with these certificates behind it.
    fn serve(&self, rest: &[&str]) -> TestDaemon {
        let key = self.key("leaf");
        let chain = self.read(&[&["leaf"], rest].concat());
        TestDaemon::builder()
            .table("[[identity]]\nname = \"default\"\ncert = \"chain.pem\"\nkey = \"key.pem\"")
            .file("chain.pem", chain)
            .file("key.pem", key)
            .start()
    }

    /// Returns what `openssl verify` says of the same chain, as strict as clients of Debian are.
    fn verified(&self, rest: &[&str]) -> Outcome {
        fs::write(self.path("rest"), self.read(rest)).unwrap();
        let mut command = Command::new("openssl");
        command
            .args(["verify", "-purpose", "sslserver", "-auth_level", "2"])
            .args(["-CAfile", "root.pem"])
            .args(["-untrusted", "rest", "leaf.pem"])
            .current_dir(self.folder());
        run(command, PATIENCE)
    }

    /// Asserts that `verify` and OpenSSL find the same fault and that clients refuse the chain.
    #[track_caller]
    fn refused(&self, rest: &[&str], told: &str, by_openssl: &str) -> TestDaemon {
        let daemon = self.faulty(rest, told, by_openssl);
        assert!(!rustls_connects(&daemon, &self.path("root.pem")));
        daemon
    }

    /// Asserts the same, but of OpenSSL's clients alone.
    #[track_caller]
    fn faulty(&self, rest: &[&str], told: &str, by_openssl: &str) -> TestDaemon {
        let outcome = self.verified(rest);
        assert!(!outcome.is_success(), "{outcome:#?}");
        let text = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(text.contains(by_openssl), "{text}");
        let daemon = self.serve(rest);
        let warnings = daemon.json(&["verify"])["warnings"].to_string();
        assert!(warnings.contains(told), "{warnings}");
        assert!(daemon.log().contains(told), "{}", daemon.log());
        assert!(!openssl_connects(&daemon, &self.path("root.pem")));
        daemon
    }
}

/// Whether clients get through that trust these authorities alone: OpenSSL's and one of rustls, which
/// are of one mind.
#[track_caller]
fn connects(daemon: &TestDaemon, roots: &Path) -> bool {
    let (one, other) = (
        openssl_connects(daemon, roots),
        rustls_connects(daemon, roots),
    );
    assert_eq!(one, other, "OpenSSL and rustls");
    one
}

fn openssl_connects(daemon: &TestDaemon, roots: &Path) -> bool {
    let roots = roots.to_str().unwrap();
    let mut arguments = vec!["-verify_return_error", "-CAfile", roots, "-no-CApath"];
    arguments.extend(["-cipher", "DEFAULT:@SECLEVEL=2"]);
    s_client(daemon.address(), &arguments).is_success()
}

fn rustls_connects(daemon: &TestDaemon, roots: &Path) -> bool {
    let client = Client::trusting(&fs::read_to_string(roots).unwrap());
    client.connect(daemon.address()).is_ok()
}

fn check(daemon: &TestDaemon) -> (i32, String) {
    let outcome = daemon.ctl(&["check"]);
    (outcome.code(), outcome.stdout)
}

#[test]
fn a_good_chain_is_taken_without_a_word() {
    let Some(desk) = Desk::new() else { return };
    desk.issue("int", "int", "root", AUTHORITY, (-9, 60));
    desk.issue("leaf", "db", "int", LEAF, (-9, 40));
    let daemon = desk.serve(&["int"]);
    assert_eq!(daemon.json(&["verify"])["warnings"].to_string(), "[]");
    assert!(connects(&daemon, &desk.path("root.pem")));
    assert!(desk.verified(&["int"]).is_success());
}

#[test]
fn dates_of_intermediates_count() {
    let Some(desk) = Desk::new() else { return };
    desk.issue("int", "int", "root", AUTHORITY, (-9, -1));
    desk.issue("leaf", "db", "int", LEAF, (-9, 40));
    let told = "certificate 2 of 2 that are sent, of CN=int, expired at";
    let daemon = desk.refused(&["int"], told, "certificate has expired");
    let (code, line) = check(&daemon);
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("its intermediate CN=int ended at"), "{line}");

    desk.issue("int", "int", "root", AUTHORITY, (2, 60));
    desk.issue("leaf", "db", "int", LEAF, (-9, 40));
    let told = "of CN=int, is not valid before";
    desk.refused(&["int"], told, "certificate is not yet valid");
}

#[test]
fn an_intermediate_that_ends_first_is_the_end_that_counts() {
    let Some(desk) = Desk::new() else { return };
    desk.issue("int", "int", "root", AUTHORITY, (-9, 3));
    desk.issue("leaf", "db", "int", LEAF, (-9, 40));
    let daemon = desk.serve(&["int"]);
    let warnings = daemon.json(&["verify"])["warnings"].to_string();
    assert!(warnings.contains("of CN=int, ends at"), "{warnings}");
    assert!(connects(&daemon, &desk.path("root.pem")));
    // Percentages are of its own lifetime, so that a third is left.
    let (code, line) = check(&daemon);
    assert_eq!(code, 1, "{line}");
    let in_time = daemon.ctl(&["check", "--warn", "14d", "--critical", "7d"]);
    assert_eq!(in_time.code(), 2, "{in_time:#?}");
    let told = "identity \"default\": its intermediate CN=int ends in ";
    assert!(line.contains(told), "{line}");
    let status = daemon.status();
    let identity = &status["tls"]["identities"][0];
    assert_eq!(identity["days_left"], 2);
    assert!(identity["path_not_after"].as_str() < identity["not_after"].as_str());
    let first = &status["tls"]["expiries"][0];
    assert_eq!(first["kind"], "intermediate");
    assert_eq!(first["ends_at"], identity["path_not_after"]);
    assert_eq!(first["effect"], "clients-refuse");
    assert!(daemon.ctl(&["status"]).stdout.contains("ends in 2d"));
}

#[test]
fn the_way_to_the_authority_is_judged() {
    let Some(desk) = Desk::new() else { return };
    desk.issue("first", "first", "root", AUTHORITY, (-9, 60));
    desk.issue("second", "second", "first", AUTHORITY, (-9, 60));
    desk.issue("leaf", "db", "second", LEAF, (-9, 40));
    let missing = "unable to get local issuer certificate";
    let told = "not by that of its issuer CN=second";
    desk.refused(&["first"], told, missing);

    // A namesake of the issuer, by another key.
    desk.issue("namesake", "second", "first", AUTHORITY, (-9, 60));
    let told = "is not signed by the key of certificate 2";
    desk.refused(&["namesake", "first"], told, "error");
}

#[test]
fn what_an_issuer_may_do_is_judged() {
    let Some(desk) = Desk::new() else { return };
    for (extensions, told, by_openssl, is_forgiven) in [
        (
            "basicConstraints=CA:FALSE\n",
            "is marked as no authority",
            "invalid CA certificate",
            false,
        ),
        (
            "basicConstraints=CA:TRUE\nkeyUsage=cRLSign\n",
            "must not sign certificates by its key usage",
            "invalid CA certificate",
            true,
        ),
        (
            "basicConstraints=CA:TRUE\nnameConstraints=permitted;DNS:example.com\n",
            "must not vouch for localhost by its name constraints",
            "permitted subtree violation",
            false,
        ),
    ] {
        desk.issue("int", "int", "root", extensions, (-9, 60));
        desk.issue("leaf", "db", "int", LEAF, (-9, 40));
        let daemon = desk.faulty(&["int"], told, by_openssl);
        // rustls does not look at the key usage.
        assert_eq!(
            rustls_connects(&daemon, &desk.path("root.pem")),
            is_forgiven
        );
    }
}

#[test]
fn a_chain_that_is_longer_than_an_issuer_lets_it_be_is_told() {
    let Some(desk) = Desk::new() else { return };
    let short = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=keyCertSign\n";
    desk.issue("first", "first", "root", short, (-9, 60));
    desk.issue("second", "second", "first", AUTHORITY, (-9, 60));
    desk.issue("leaf", "db", "second", LEAF, (-9, 40));
    let told = "of CN=first, has more authorities below it than it may have (pathlen)";
    desk.refused(
        &["second", "first"],
        told,
        "path length constraint exceeded",
    );
}

#[test]
fn an_intermediate_for_another_use_is_told() {
    let Some(desk) = Desk::new() else { return };
    let mail = format!("{AUTHORITY}extendedKeyUsage=emailProtection\n");
    desk.issue("int", "int", "root", &mail, (-9, 60));
    desk.issue("leaf", "db", "int", LEAF, (-9, 40));
    let told = "its extended key usage lacks serverAuth";
    desk.refused(&["int"], told, "unsuitable certificate purpose");
}

#[test]
fn an_issuer_that_is_easily_forged_is_told() {
    let Some(desk) = Desk::new() else { return };
    desk.request("int", "int", "rsa:1024");
    desk.sign("int", "root", AUTHORITY, (-9, 60), "sha256");
    desk.issue("leaf", "db", "int", LEAF, (-9, 40));
    let told = "of CN=int, has an RSA key of 1024 bits";
    desk.refused(&["int"], told, "CA certificate key too weak");

    desk.request("int", "int", P256);
    desk.sign("int", "root", AUTHORITY, (-9, 60), "sha1");
    desk.issue("leaf", "db", "int", LEAF, (-9, 40));
    let told = "of CN=int, is signed with SHA-1";
    desk.refused(&["int"], told, "CA signature digest algorithm too weak");
}

#[test]
fn a_leaf_that_some_clients_refuse_is_told() {
    let Some(desk) = Desk::new() else { return };
    for (extensions, told) in [
        (
            "basicConstraints=CA:FALSE\n",
            "has no subject alternative name",
        ),
        (
            "basicConstraints=CA:TRUE\nsubjectAltName=DNS:localhost\n",
            "is marked as an authority's",
        ),
    ] {
        desk.issue("leaf", "localhost", "root", extensions, (-9, 40));
        assert!(desk.verified(&["root"]).is_success());
        let daemon = desk.serve(&[]);
        let warnings = daemon.json(&["verify"])["warnings"].to_string();
        assert!(warnings.contains(told), "{warnings}");
        let root = desk.path("root.pem");
        assert!(openssl_connects(&daemon, &root) && !rustls_connects(&daemon, &root));
    }
}

#[test]
fn an_order_that_clients_forgive_is_told() {
    let Some(desk) = Desk::new() else { return };
    desk.issue("first", "first", "root", AUTHORITY, (-9, 60));
    desk.issue("second", "second", "first", AUTHORITY, (-9, 60));
    desk.issue("leaf", "db", "second", LEAF, (-9, 40));
    desk.issue("stray", "stray", "root", AUTHORITY, (-9, 60));
    for (rest, told) in [
        (
            &["first", "second"][..],
            "its certificates are not in order",
        ),
        (
            &["stray", "second", "first"],
            "of CN=stray, issued none of those before it",
        ),
        (
            &["second", "first", "stray"],
            "of CN=stray, issued none of those before it",
        ),
    ] {
        assert!(desk.verified(rest).is_success());
        let daemon = desk.serve(rest);
        let warnings = daemon.json(&["verify"])["warnings"].to_string();
        assert!(warnings.contains(told), "{warnings}");
        assert!(connects(&daemon, &desk.path("root.pem")), "{rest:?}");
        let (code, line) = check(&daemon);
        assert_eq!(code, 0, "{line}");
    }
}

#[test]
fn the_check_of_a_configuration_judges_the_path() {
    let Some(desk) = Desk::new() else { return };
    desk.issue("int", "int", "root", AUTHORITY, (-9, -1));
    desk.issue("leaf", "db", "int", LEAF, (-9, 40));
    let daemon = TestDaemon::builder()
        .table("[[identity]]\nname = \"default\"\ncert = \"chain.pem\"\nkey = \"key.pem\"")
        .file("chain.pem", desk.read(&["leaf", "int"]))
        .file("key.pem", desk.key("leaf"))
        .prepare();
    let outcome = daemon.run(&["--check-config"]);
    assert!(outcome.is_success(), "{outcome:#?}");
    let told = "certificate 2 of 2 that are sent, of CN=int, expired at";
    assert!(outcome.stdout.contains(told), "{outcome:#?}");
}

#[test]
fn chains_of_a_folder_are_judged() {
    let Some(desk) = Desk::new() else { return };
    desk.issue("int", "int", "root", AUTHORITY, (-9, -1));
    desk.issue("leaf", "db", "int", LEAF, (-9, 40));
    let daemon = TestDaemon::builder()
        .identity_dir("live")
        .file(
            "live/one.pem",
            desk.read(&["leaf", "int"]) + &desk.key("leaf"),
        )
        .start();
    let warnings = &daemon.json(&["verify"])["warnings"];
    let told = "of CN=int, expired at";
    assert!(warnings.to_string().contains(told), "{warnings}");
    assert!(
        warnings[0]["file"]
            .as_str()
            .unwrap()
            .ends_with("live/one.pem")
    );
    assert!(daemon.log().contains(told), "{}", daemon.log());
    let (code, line) = check(&daemon);
    assert_eq!(code, 2, "{line}");
    assert!(!connects(&daemon, &desk.path("root.pem")));
}

#[test]
fn the_chain_towards_a_database_is_judged_as_databases_do() {
    let Some(desk) = Desk::new() else { return };
    let databases = Ca::new("databases");
    let backend = TlsFake::new(&databases.leaf("localhost"), None);
    let servers = format!("{AUTHORITY}extendedKeyUsage=serverAuth\n");
    for (extensions, until, told) in [
        (&*servers, 60, "its extended key usage lacks clientAuth"),
        (AUTHORITY, -1, "of CN=int, expired at"),
        (AUTHORITY, -1, "databases refuse it"),
    ] {
        desk.issue("int", "int", "root", extensions, (-9, until));
        desk.issue("leaf", "proxy", "int", LEAF, (-9, 40));
        fs::write(desk.path("rest"), desk.read(&["int"])).unwrap();
        let mut openssl = Command::new("openssl");
        openssl
            .args(["verify", "-purpose", "sslclient", "-CAfile", "root.pem"])
            .args(["-untrusted", "rest", "leaf.pem"])
            .current_dir(desk.folder());
        assert!(!run(openssl, PATIENCE).is_success());
        let tls = "backend_tls = { mode = \"require\", cert = \"own.crt\", key = \"own.key\" }";
        let daemon = TestDaemon::builder()
            .identity("default", &databases.leaf("localhost"))
            .file("own.crt", desk.read(&["leaf", "int"]))
            .file("own.key", desk.key("leaf"))
            .listener(Listener::tcp("main", &backend.address()).line(tls))
            .start();
        let warnings = daemon.json(&["verify"])["warnings"].to_string();
        assert!(warnings.contains(told), "{warnings}");
        assert!(warnings.contains("listener \\\"main\\\""), "{warnings}");
        assert!(daemon.log().contains(told), "{}", daemon.log());
    }
}

#[test]
fn a_certificate_that_never_ends_is_shown_as_it_is() {
    let Some(desk) = Desk::new() else { return };
    desk.issue("leaf", "db", "root", LEAF, (-9, 40));
    desk.openssl(
        "ca -batch -config ca.cnf -cert root.pem -keyfile root.key -in leaf.csr -notext \
         -extfile ext -enddate 99991231235959Z -out leaf.pem",
    );
    let daemon = desk.serve(&[]);
    let end = &daemon.status()["tls"]["identities"][0]["not_after"];
    assert_eq!(end, "9999-12-31T23:59:59Z");
}

#[test]
fn an_end_is_told_when_it_comes() {
    let ca = Ca::new("servers");
    let leaf = ca.request(&["localhost"]).expiring_in(3).issue();
    let daemon = TestDaemon::builder().identity("default", &leaf).start();
    until("the event comes", || {
        daemon.events().iter().any(|it| it["kind"] == "expired")
    });
    assert!(daemon.log().contains("clients refuse the connection"));
    let status = daemon.await_status("a start would fail", |status| {
        status["tls"]["restart_safe"] == false
    });
    assert_eq!(status["tls"]["identities"][0]["sha256"], leaf.sha256);
    assert_eq!(check(&daemon).0, 2);
}

#[test]
fn a_list_whose_end_refuses_clients_is_critical_before_and_after() {
    let Some(desk) = Desk::new() else { return };
    let servers = Ca::new("servers");
    for (policy, hours, expected, told) in [
        ("refuse", 1, 2, "ends in "),
        ("refuse", -1, 2, "ended at"),
        ("accept", -1, 1, "ended at"),
    ] {
        let builder = TestDaemon::builder().identity("default", &servers.leaf("localhost"));
        replace(&builder.folder().join("clients.crt"), desk.read(&["root"]));
        replace(
            &builder.folder().join("clients.crl"),
            desk.list("root", hours),
        );
        let backend = builder.backend().address();
        let line = format!(
            "client_auth = {{ mode = \"required\", ca = \"clients.crt\", crl = \"clients.crl\", \
             expired_crl = \"{policy}\" }}"
        );
        let daemon = builder
            .listener(Listener::tcp("main", &backend).line(&line))
            .start();
        let (code, line) = check(&daemon);
        assert_eq!(code, expected, "{line}");
        let told = format!("listener \"main\" client_auth: its revocation list of CN=root {told}");
        assert!(line.contains(&told), "{line}");
    }
}
