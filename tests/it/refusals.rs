//! Clients that are refused: what they are told, and what is counted and logged.

use std::io::Write as _;

use rustls::AlertDescription;
use serde_json::Value;

use crate::support::{
    client::{Client, alert, connect, exchange},
    configuration::Listener,
    daemon::TestDaemon,
    openssl::{is_there, s_client},
    pki::{Ca, Leaf, replace},
    until,
};

/// A daemon, whom its clients trust, and who issues theirs.
struct Front {
    servers: Ca,
    clients: Ca,
    daemon: TestDaemon,
}

impl Front {
    /// Starts one that requires certificates; `more` are further keys of `client_auth`.
    fn new(more: &str) -> Self {
        Self::with(Ca::new("clients"), more, &[], &[])
    }

    /// Starts one with these files beside its configuration, and these lines of its listener.
    fn with(clients: Ca, more: &str, files: &[(&str, &str)], lines: &[&str]) -> Self {
        let servers = Ca::new("servers");
        let builder = TestDaemon::builder().identity("default", &servers.leaf("localhost"));
        replace(&builder.folder().join("clients.crt"), clients.pem());
        for (name, contents) in files {
            replace(&builder.folder().join(name), contents);
        }
        let listener = Listener::tcp("main", &builder.backend().address()).line(&format!(
            "client_auth = {{ mode = \"required\", ca = \"clients.crt\"{more} }}"
        ));
        let listener = lines.iter().fold(listener, |it, line| it.line(line));
        Self {
            daemon: builder.listener(listener).start(),
            servers,
            clients,
        }
    }

    /// Sees that a client is refused by this alert in both versions, and counted by this reason.
    #[track_caller]
    fn refuses(&self, leaf: Option<&Leaf>, expected: AlertDescription, reason: &str) {
        let before = self.count(reason);
        for tls12 in [false, true] {
            let client = Client::new(&self.servers).old(tls12);
            let client = leaf.map_or(client.clone(), |leaf| client.present(leaf));
            let session = client.connect(self.daemon.address());
            let error = session.and_then(|mut it| it.echo("hello")).unwrap_err();
            assert_eq!(alert(&error), expected, "TLS 1.2: {tls12}");
        }
        until("both are counted", || self.count(reason) == before + 2);
        self.adds_up();
        if let Some(leaf) = leaf {
            until("the log says who it was", || {
                let log = self.daemon.log();
                log.contains(&leaf.sha256) && log.contains(&leaf.serial())
            });
        }
    }

    #[track_caller]
    fn lets_in(&self, leaf: &Leaf) {
        for tls12 in [false, true] {
            let client = Client::new(&self.servers).present(leaf).old(tls12);
            let session = client.connect(self.daemon.address());
            session.and_then(|mut it| it.echo("hello")).unwrap();
        }
    }

    fn connections(&self) -> Value {
        self.daemon.status()["listeners"][0]["connections"].clone()
    }

    fn count(&self, reason: &str) -> u64 {
        let connections = self.connections();
        connections["failed_by_reason"][reason].as_u64().unwrap()
    }

    /// Sees that what is counted by reason is what is counted at all.
    #[track_caller]
    fn adds_up(&self) {
        let connections = self.connections();
        let reasons = connections["failed_by_reason"].as_object().unwrap();
        let sum: u64 = reasons.values().map(|it| it.as_u64().unwrap()).sum();
        assert_eq!(connections["failed_handshakes"], sum);
    }
}

#[test]
fn a_client_without_a_certificate_is_told_that_one_is_required() {
    let front = Front::new("");
    front.refuses(
        None,
        AlertDescription::CertificateRequired,
        "no_certificate",
    );
}

#[test]
fn a_client_of_a_stranger_is_told_that_its_authority_is_unknown() {
    let front = Front::new("");
    let leaf = Ca::new("strangers").leaf("client");
    front.refuses(Some(&leaf), AlertDescription::UnknownCA, "unknown_issuer");
    let namesake = Ca::new("clients").leaf("client");
    front.refuses(
        Some(&namesake),
        AlertDescription::UnknownCA,
        "unknown_issuer",
    );
}

#[test]
fn a_client_out_of_time_is_told_so() {
    let front = Front::new("");
    let expired = AlertDescription::CertificateExpired;
    let late = front.clients.request(&["client"]).valid(-20, -10).issue();
    front.refuses(Some(&late), expired, "expired");
    let early = front.clients.request(&["client"]).valid(10, 20).issue();
    front.refuses(Some(&early), expired, "not_yet_valid");
}

#[test]
fn a_client_with_a_certificate_for_servers_is_told_that_it_is_unsupported() {
    let front = Front::new("");
    let request = front.clients.request(&["client"]);
    let usages = [rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = request.usages(&usages).issue();
    let alert = AlertDescription::UnsupportedCertificate;
    front.refuses(Some(&leaf), alert, "bad_certificate");
}

#[test]
fn a_client_with_another_key_than_its_certificate_s_is_told_that_its_signature_fails() {
    let front = Front::new("");
    let mut leaf = front.clients.leaf("client");
    leaf.key_der = front.clients.leaf("other").key_der;
    let alert = AlertDescription::DecryptError;
    front.refuses(Some(&leaf), alert, "bad_certificate");
}

#[test]
fn a_client_of_another_protocol_is_told_so() {
    if !is_there() {
        return;
    }
    let servers = Ca::new("servers");
    let builder = TestDaemon::builder().identity("default", &servers.leaf("localhost"));
    let listener = Listener::tcp("main", &builder.backend().address()).protocol("postgres");
    let daemon = builder.listener(listener).start();
    for (version, counted) in [("-tls1_2", 1), ("-tls1_3", 2)] {
        let outcome = s_client(daemon.address(), &["-alpn", "http/1.1", version]);
        let told = outcome.stderr.contains("SSL alert number 120");
        assert!(told, "{outcome:#?}");
        daemon.await_status("it is counted", |status| {
            let connections = &status["listeners"][0]["connections"];
            connections["failed_by_reason"]["wrong_protocol"] == counted
        });
    }
}

#[test]
fn who_is_not_let_in_is_told_that_access_is_denied() {
    let front =
        Front::new(", allow = [\"dns:*.app.example\", \"uri:spiffe://prod/db/*\", \"cn:backup\"]");
    let request = |name| front.clients.request(&[name]);
    for good in [
        request("one.app.example").issue(),
        request("backup").issue(),
        request("x").uri("spiffe://prod/db/reports").issue(),
    ] {
        front.lets_in(&good);
    }
    for bad in [
        request("app.example").issue(),
        request("x").uri("spiffe://prod/web").issue(),
    ] {
        front.refuses(Some(&bad), AlertDescription::AccessDenied, "not_allowed");
    }
    until("it is logged with its reason", || {
        let log = front.daemon.log();
        log.contains("no rule of client_auth.allow lets the holder")
            && log.contains("reason=\"not_allowed\"")
    });
}

#[test]
fn a_fingerprint_lets_in_one_certificate_alone() {
    let mut front = Front::new("");
    let (good, other) = (front.clients.leaf("client"), front.clients.leaf("client"));
    front.lets_in(&other);
    let line = format!(
        "client_auth = {{ mode = \"required\", ca = \"clients.crt\", allow = [\"sha256:{}\"] }}",
        good.sha256
    );
    front
        .daemon
        .reconfigure(|it| it.listener("main").lines = vec![line]);
    front.daemon.ctl(&["reload"]).answer();
    front.lets_in(&good);
    front.refuses(Some(&other), AlertDescription::AccessDenied, "not_allowed");
}

#[test]
fn a_client_whose_list_is_late_is_refused_where_that_is_wanted() {
    let clients = Ca::new("clients");
    let late = clients.revoke_until(&[], -2);
    let files = [("clients.crl", &*late)];
    let more = ", crl = \"clients.crl\", expired_crl = \"refuse\"";
    let front = Front::with(clients, more, &files, &[]);
    let leaf = front.clients.leaf("client");
    front.refuses(
        Some(&leaf),
        AlertDescription::CertificateUnknown,
        "revocation_unknown",
    );
    let warnings = front.daemon.ctl(&["verify"]);
    assert!(
        warnings
            .stderr
            .contains("clients of that authority are refused"),
        "{warnings:?}"
    );
    replace(&front.daemon.path("clients.crl"), front.clients.revoke(&[]));
    front.daemon.ctl(&["reload-tls"]).answer();
    front.lets_in(&leaf);
}

#[test]
fn a_client_whose_authority_has_no_list_is_refused_where_that_is_wanted() {
    let (clients, others) = (Ca::new("clients"), Ca::new("others"));
    let list = clients.revoke(&[]);
    let both = [clients.pem(), others.pem()].concat();
    let more = ", crl = \"clients.crl\", unknown_revocation = \"refuse\"";
    let files = [("clients.crl", &*list), ("clients.crt", &both)];
    let front = Front::with(clients, more, &files, &[]);
    front.lets_in(&front.clients.leaf("client"));
    let leaf = others.leaf("client");
    front.refuses(
        Some(&leaf),
        AlertDescription::CertificateUnknown,
        "revocation_unknown",
    );
}

#[test]
fn lists_in_several_files_all_count_and_of_one_authority_the_newest() {
    let (clients, others) = (Ca::new("clients"), Ca::new("others"));
    let (bad, worse) = (clients.leaf("bad"), others.leaf("worse"));
    let both = [clients.pem(), others.pem()].concat();
    let old = clients.revoke(&[]);
    let lists = [clients.revoke(&[&bad]), others.revoke(&[&worse])].concat();
    let files = [("clients.crt", &*both), ("a.crl", &lists), ("b.crl", &old)];
    let front = Front::with(clients, ", crl = [\"b.crl\", \"a.crl\"]", &files, &[]);
    front.lets_in(&front.clients.leaf("good"));
    front.lets_in(&others.leaf("good"));
    for leaf in [bad, worse] {
        front.refuses(Some(&leaf), AlertDescription::CertificateRevoked, "revoked");
    }
    let warnings = front.daemon.ctl(&["verify"]).stderr;
    assert!(
        warnings.contains("b.crl: one of its lists is older"),
        "{warnings}"
    );
}

#[test]
fn what_is_no_certificate_s_fault_is_counted_by_its_reason() {
    let tls = "tls = { min_version = \"1.3\" }\nlimits = { handshake_timeout = \"300ms\" }";
    let front = Front::with(Ca::new("clients"), "", &[], &[tls]);
    let address = front.daemon.address();
    let client = Client::new(&front.servers).tls12();
    let error = client.connect(address).unwrap_err();
    assert_eq!(alert(&error), AlertDescription::ProtocolVersion);
    exchange(address, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    connect(address).unwrap().write_all(&[22, 3, 1]).unwrap();
    let mut late = connect(address).unwrap();
    late.write_all(&[22]).unwrap();
    // It trusts nobody who is here, and says so.
    let error = Client::new(&Ca::new("others"))
        .connect(address)
        .unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    s_client(address, &["-ciphersuites", "TLS_AES_128_CCM_SHA256"]);
    for reason in [
        "unsupported_version",
        "not_tls",
        "client_left",
        "timeout",
        "client_alert",
        "nothing_shared",
    ] {
        until(&format!("{reason} is counted"), || front.count(reason) == 1);
    }
    front.adds_up();
}

#[test]
fn a_client_that_knows_no_newer_tls_than_1_1_is_told_that_its_version_is_the_reason() {
    if !is_there() {
        return;
    }
    let front = Front::new("");
    for (before, version) in ["-tls1", "-tls1_1"].into_iter().enumerate() {
        let old = [version, "-cipher", "DEFAULT:@SECLEVEL=0"];
        let outcome = s_client(front.daemon.address(), &old);
        let told = outcome.stderr.contains("alert protocol version");
        assert!(told, "{outcome:#?}");
        let counted = u64::try_from(before).unwrap() + 1;
        until("it is counted", || {
            front.count("unsupported_version") == counted
        });
    }
    front.adds_up();
    until("both are logged", || {
        let log = front.daemon.log();
        let lines = log.matches("the client offers nothing newer than TLS 1.1");
        lines.count() == 2
    });
}

#[test]
fn a_client_of_tls_1_2_without_an_extension_is_not_called_old() {
    let front = Front::new("");
    // One suite, no compression, and no extension.
    let hello = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, 0x2b, 1, 0]].concat();
    let length = u8::try_from(hello.len()).unwrap();
    let record = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length], &*hello].concat();
    let answer = exchange(front.daemon.address(), &record).unwrap();
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 40]);
    until("it is counted", || front.count("protocol") == 1);
    front.adds_up();
}

#[test]
fn who_shares_nothing_with_a_listener_is_told_so() {
    if !is_there() {
        return;
    }
    let servers = Ca::new("servers");
    let request = servers.request(&["localhost"]);
    let leaf = request.algorithm(&rcgen::PKCS_ECDSA_P384_SHA384).issue();
    let daemon = TestDaemon::builder().identity("default", &leaf);
    let listener = Listener::tcp("main", &daemon.backend().address());
    let daemon = daemon.listener(listener).start();
    let cases = [
        "-tls1_2 -sigalgs ECDSA+SHA256",
        "-tls1_3 -sigalgs ECDSA+SHA256",
        "-tls1_2 -sigalgs RSA+SHA256",
        "-tls1_3 -sigalgs RSA-PSS+SHA256",
        "-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256",
        "-tls1_2 -groups X448",
        "-tls1_3 -groups X448",
    ];
    for (before, case) in cases.into_iter().enumerate() {
        let arguments: Vec<_> = case.split(' ').collect();
        let outcome = s_client(daemon.address(), &arguments);
        let told = outcome.stderr.contains("SSL alert number 40");
        assert!(told, "{case}: {outcome:#?}");
        let counted = u64::try_from(before).unwrap() + 1;
        daemon.await_status(case, |status| {
            let connections = &status["listeners"][0]["connections"];
            connections["failed_by_reason"]["nothing_shared"] == counted
        });
    }
    let log = daemon.log();
    for words in [
        "the client accepts no signature that the key of this listener's certificate makes",
        "no cipher suite that fits the certificate's key in common",
        "no group for the key exchange in common",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
    assert!(!log.contains("incompatible"), "{log}");
}

#[test]
fn a_server_name_that_is_no_host_name_is_quoted_in_the_log() {
    if !is_there() {
        return;
    }
    let servers = Ca::new("servers");
    let daemon = TestDaemon::builder().identity("default", &servers.leaf("localhost"));
    let listener = Listener::tcp("main", &daemon.backend().address());
    let daemon = daemon.listener(listener).start();
    let long = "a".repeat(64);
    for name in ["db.example.com:3306", "[::1]", "a b", "-", &long] {
        for version in ["-tls1_2", "-tls1_3"] {
            let outcome = s_client(daemon.address(), &["-servername", name, version]);
            let told = outcome.stderr.contains("SSL alert number 47");
            assert!(told, "{name}, {version}: {outcome:#?}");
        }
        until("the log says which", || {
            let said = format!("the client asks for the server name \"{name}\"");
            daemon.log().matches(&said).count() == 2
        });
    }
    // What clients send though they should not, and what says well enough what they want.
    for name in ["127.0.0.1", "localhost.", "a_b.example"] {
        let outcome = s_client(daemon.address(), &["-servername", name]);
        assert!(outcome.is_success(), "{name}: {outcome:#?}");
    }
    assert!(!daemon.log().contains("ServerNameMustContain"));
}

#[test]
fn a_server_name_that_openssl_would_not_send_is_told_as_well() {
    let front = Front::new("");
    let u16_of = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
    let endless = "a".repeat(300);
    for (counted, name, alert) in [(1, "", 50), (2, &*endless, 47)] {
        let name = [&[0], &u16_of(name.len())[..], name.as_bytes()].concat();
        let list = [&u16_of(name.len())[..], &name].concat();
        let extension = [&[0, 0], &u16_of(list.len())[..], &list].concat();
        let extensions = [&u16_of(extension.len())[..], &extension].concat();
        let suites = [0, 0, 2, 0xc0, 0x2b, 1, 0];
        let hello = [&[3, 3][..], &[7; 32], &suites, &extensions].concat();
        let message = [&[1, 0], &u16_of(hello.len())[..], &hello].concat();
        let record = [&[22, 3, 1], &u16_of(message.len())[..], &message].concat();
        let answer = exchange(front.daemon.address(), &record).unwrap();
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, alert]);
        until("it is counted", || front.count("protocol") == counted);
    }
    until("both are logged", || {
        let log = front.daemon.log();
        log.contains("the server name \"\", which is no host name")
            && log.contains("aaaa...\", which is no host name")
    });
    front.adds_up();
}

#[test]
fn a_health_check_that_says_nothing_is_no_failure() {
    let front = Front::new("");
    drop(connect(front.daemon.address()).unwrap());
    front.daemon.await_status("it came and went", |status| {
        let connections = &status["listeners"][0]["connections"];
        connections["total"] == 1 && connections["open"] == 0
    });
    assert_eq!(front.connections()["failed_handshakes"], 0);
    front.adds_up();
}

#[test]
fn a_flood_of_refused_clients_does_not_flood_the_log() {
    let front = Front::new("");
    for _ in 0..60 {
        exchange(front.daemon.address(), b"GET / HTTP/1.1\r\n\r\n").unwrap();
    }
    until("all are counted", || front.count("not_tls") == 60);
    let lines = front.daemon.log().matches("not_tls").count();
    assert!((20..60).contains(&lines), "{lines} lines");
}

#[test]
fn a_name_in_a_certificate_cannot_forge_lines_of_the_log() {
    let front = Front::new("");
    let leaf = Ca::new("strangers").leaf("evil\x1b[31m\nINFO forged");
    front.refuses(Some(&leaf), AlertDescription::UnknownCA, "unknown_issuer");
    let log = front.daemon.log();
    assert!(!log.contains("\x1b[31m"), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("INFO forged")));
}
