//! The list of what ends when: each kind in `status`, in `check`, in metrics and in `verify`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    metrics::scrape,
    support::{
        builder::Builder,
        client::Client,
        configuration::Listener,
        daemon::TestDaemon,
        desk::{AUTHORITY, Desk, LEAF},
        fake::TlsFake,
        pki::{Ca, Leaf},
        until,
    },
};

/// What is expected of one thing that ends.
#[derive(Clone, Copy)]
struct Expected {
    kind: &'static str,
    owner: &'static str,
    name: &'static str,
    effect: &'static str,
    days_left: i64,
    /// The exit status of `check`.
    code: i32,
    /// What `check` says of it.
    words: &'static str,
}

/// What stands for a listener's use of certificates.
const CLIENTS: &str = "listener \"main\" client_auth";
const BACKEND: &str = "listener \"main\" backend_tls";

/// A daemon whose own certificate outlasts the test, and what its clients trust.
struct Front {
    servers: Ca,
    daemon: TestDaemon,
}

impl Front {
    /// Starts one in front of `backend` with these lines of its listener and files.
    fn new(backend: Option<&str>, line: &str, files: &[(&str, &str)]) -> Self {
        let servers = Ca::new("servers");
        let builder = measured().identity("default", &servers.leaf("localhost"));
        let builder = files
            .iter()
            .fold(builder, |it, (name, text)| it.file(name, text));
        let backend = backend.map_or_else(|| builder.backend().address(), str::to_owned);
        let daemon = builder
            .listener(Listener::tcp("main", &backend).line(line))
            .start();
        Self { servers, daemon }
    }

    /// Sees that a session comes through, with this certificate of a client.
    #[track_caller]
    fn passes(&self, leaf: Option<&Leaf>) {
        let client = Client::new(&self.servers);
        let client = leaf.map_or(client.clone(), |leaf| client.present(leaf));
        let mut session = client.connect(self.daemon.address()).unwrap();
        session.echo("hello").unwrap();
    }

    /// Sees that something is listed as expected everywhere.
    #[track_caller]
    fn lists(&self, expected: Expected) {
        listed(&self.daemon, expected);
        let verified = self.daemon.json(&["verify"]);
        found(&verified["expiries"], expected);
    }
}

fn measured() -> Builder {
    TestDaemon::builder().set("metrics", "{ bind = \"127.0.0.1:0\" }")
}

/// Returns the only entry of a list that is of this kind, owner and name.
#[track_caller]
fn found(list: &Value, expected: Expected) -> &Value {
    let all = list.as_array().unwrap();
    let is_it = |it: &&Value| {
        it["kind"] == expected.kind && it["owner"] == expected.owner && it["name"] == expected.name
    };
    let mut found = all.iter().filter(is_it);
    let one = found.next().unwrap_or_else(|| panic!("{list:#}"));
    assert!(found.next().is_none(), "{list:#}");
    assert_eq!(one["effect"], expected.effect, "{one:#}");
    assert_eq!(one["days_left"], expected.days_left, "{one:#}");
    one
}

/// Sees that something is listed as expected by `status`, `check` and metrics.
#[track_caller]
fn listed(daemon: &TestDaemon, expected: Expected) {
    let status = daemon.status();
    let entry = found(&status["tls"]["expiries"], expected);
    let ends: jiff::Timestamp = entry["ends_at"].as_str().unwrap().parse().unwrap();
    let owner = expected.owner.replace('"', "\\\"");
    let series = format!(
        "proxyd_expiry_timestamp_seconds{{kind=\"{}\",owner=\"{owner}\",name=\"{}\",effect=\"{}\"}}",
        expected.kind, expected.name, expected.effect
    );
    let metrics = scrape(daemon);
    assert_eq!(metrics[&series].to_string(), ends.as_second().to_string());
    let check = daemon.ctl(&["check", "--warn", "14d", "--critical", "7d"]);
    assert_eq!(check.code(), expected.code, "{check:#?}");
    assert!(check.stdout.contains(expected.words), "{}", check.stdout);
}

fn leaf_of(desk: &Desk, name: &str) -> Leaf {
    Leaf::of_pem(&desk.read(&[name]), &desk.key(name))
}

/// Makes an authority that signed itself, valid between these days from now.
fn root(desk: &Desk, name: &str, days: (i64, i64)) {
    desk.request(name, name, crate::support::desk::P256);
    desk.sign(name, name, AUTHORITY, days, "sha256");
}

#[test]
fn an_authority_of_clients_ends_without_effect() {
    let Some(desk) = Desk::new() else { return };
    for (until, days_left, words) in [
        (3, 2, "client_auth: its client authority CN=ca ends in 2d"),
        (-1, -2, "client_auth: its client authority CN=ca ended at"),
    ] {
        root(&desk, "ca", (-9, until));
        desk.issue(
            "client",
            "client",
            "ca",
            "basicConstraints=CA:FALSE\n",
            (-8, 40),
        );
        let line = "client_auth = { mode = \"required\", ca = \"clients.crt\" }";
        let front = Front::new(None, line, &[("clients.crt", &desk.read(&["ca"]))]);
        front.passes(Some(&leaf_of(&desk, "client")));
        front.lists(Expected {
            kind: "client-authority",
            owner: CLIENTS,
            name: "CN=ca",
            effect: "accepted-anyway",
            days_left,
            code: 1,
            words,
        });
    }
}

#[test]
fn a_list_of_clients_ends_as_the_policy_says() {
    let Some(desk) = Desk::new() else { return };
    desk.issue(
        "client",
        "client",
        "root",
        "basicConstraints=CA:FALSE\n",
        (-8, 40),
    );
    let client = leaf_of(&desk, "client");
    for (policy, effect, hours, code, words) in [
        (
            "refuse",
            "refuses-clients",
            60,
            2,
            "clients of that authority are refused",
        ),
        (
            "refuse",
            "refuses-clients",
            -60,
            2,
            "clients of that authority are refused",
        ),
        (
            "accept",
            "accepted-anyway",
            60,
            1,
            "it is accepted all the same",
        ),
        (
            "accept",
            "accepted-anyway",
            -60,
            1,
            "it is accepted all the same",
        ),
    ] {
        let line = format!(
            "client_auth = {{ mode = \"required\", ca = \"clients.crt\", crl = \"clients.crl\", \
             expired_crl = \"{policy}\" }}"
        );
        let list = desk.list("root", hours);
        let files = [
            ("clients.crt", &*desk.read(&["root"])),
            ("clients.crl", &list),
        ];
        let front = Front::new(None, &line, &files);
        if policy == "accept" || hours > 0 {
            front.passes(Some(&client));
        } else {
            let session = Client::new(&front.servers).present(&client);
            let session = session.connect(front.daemon.address());
            assert!(session.and_then(|mut it| it.echo("hello")).is_err());
        }
        front.lists(Expected {
            kind: "revocation-list",
            owner: CLIENTS,
            name: "CN=root",
            effect,
            days_left: if hours > 0 { 2 } else { -3 },
            code,
            words,
        });
    }
}

#[test]
fn an_authority_and_a_list_of_databases_end_without_effect() {
    let Some(desk) = Desk::new() else { return };
    for (until, hours, days_left) in [(3, 60, 2), (-2, -30, -2)] {
        root(&desk, "ca", (-9, until));
        desk.issue("db", "db", "ca", LEAF, (-8, 40));
        let backend = TlsFake::new(&leaf_of(&desk, "db"), None);
        let line = "backend_tls = { mode = \"verify-ca\", ca = \"db.crt\", crl = \"db.crl\" }";
        let list = desk.list("ca", hours);
        let files = [("db.crt", &*desk.read(&["ca"])), ("db.crl", &list)];
        let front = Front::new(Some(&backend.address()), line, &files);
        front.passes(None);
        let authority = Expected {
            kind: "backend-authority",
            owner: BACKEND,
            name: "CN=ca",
            effect: "accepted-anyway",
            days_left: if days_left < 0 { -3 } else { 2 },
            code: 1,
            words: "backend_tls: its backend authority CN=ca end",
        };
        front.lists(authority);
        front.lists(Expected {
            kind: "revocation-list",
            days_left,
            words: "backend_tls: its revocation list of CN=ca end",
            ..authority
        });
    }
}

#[test]
fn the_certificate_towards_a_database_and_its_path_end_critically() {
    let Some(desk) = Desk::new() else { return };
    let databases = Ca::new("databases");
    let backend = TlsFake::new(&databases.leaf("localhost"), None);
    let line = "backend_tls = { mode = \"require\", cert = \"own.crt\", key = \"own.key\" }";
    let end = |name, days_left, words| Expected {
        kind: "backend-client-certificate",
        owner: BACKEND,
        name,
        effect: "backends-refuse",
        days_left,
        code: 2,
        words,
    };
    for (int, leaf, expected) in [
        (
            40,
            3,
            end(
                "CN=proxy",
                2,
                "its certificate towards the backend CN=proxy ends in 2d",
            ),
        ),
        (
            3,
            40,
            end(
                "CN=int",
                2,
                "its certificate towards the backend CN=int ends in 2d",
            ),
        ),
        (
            -1,
            40,
            end(
                "CN=int",
                -2,
                "its certificate towards the backend CN=int ended at",
            ),
        ),
    ] {
        desk.issue("int", "int", "root", AUTHORITY, (-9, int));
        desk.issue(
            "own",
            "proxy",
            "int",
            "basicConstraints=CA:FALSE\n",
            (-9, leaf),
        );
        let chain = desk.read(&["own", "int"]);
        let files = [("own.crt", &*chain), ("own.key", &desk.key("own"))];
        let front = Front::new(Some(&backend.address()), line, &files);
        front.lists(expected);
        assert!(
            front
                .daemon
                .ctl(&["check"])
                .stdout
                .contains("backends refuse the proxy")
        );
    }
}

#[test]
fn the_certificate_that_a_database_shows_ends_as_it_is_verified() {
    let databases = Ca::new("databases");
    let leaf = databases.request(&["localhost"]).valid(-9, 3);
    let leaf = leaf.expiring_in(60 * 60 * 60).issue();
    let backend = TlsFake::new(&leaf, None);
    let address = format!("localhost:{}", backend.port());
    let ca = ", ca = \"db.crt\"";
    for (mode, ca, effect, code, words) in [
        (
            "verify-full",
            ca,
            "refuses-backend",
            2,
            "then the backend is refused",
        ),
        (
            "verify-ca",
            ca,
            "refuses-backend",
            2,
            "then the backend is refused",
        ),
        (
            "require",
            "",
            "accepted-anyway",
            1,
            "then it is accepted all the same",
        ),
    ] {
        let line = format!("backend_tls = {{ mode = \"{mode}\"{ca} }}");
        let front = Front::new(Some(&address), &line, &[("db.crt", databases.pem())]);
        front.passes(None);
        front.daemon.await_status("it is known", |status| {
            status["listeners"][0]["backends"][0]["certificate"].is_object()
        });
        let owner = format!("listener \"main\" backend {address}");
        listed(
            &front.daemon,
            Expected {
                kind: "backend-certificate",
                owner: owner.leak(),
                name: "CN=localhost",
                effect,
                days_left: 2,
                code,
                words,
            },
        );
    }
}

#[test]
fn a_certificate_that_a_database_goes_on_to_show_is_critical_once_it_has_ended() {
    let databases = Ca::new("databases");
    let leaf = databases.request(&["localhost"]).expiring_in(5).issue();
    let backend = TlsFake::new(&leaf, None);
    let address = format!("localhost:{}", backend.port());
    let line = "backend_tls = { mode = \"verify-full\", ca = \"db.crt\" }";
    let front = Front::new(Some(&address), line, &[("db.crt", databases.pem())]);
    front.passes(None);
    until("check says that it has ended", || {
        let check = front.daemon.ctl(&["check"]);
        let told = "its backend's certificate CN=localhost ended at";
        check.code() == 2 && check.stdout.contains(told)
    });
    let mut session = Client::new(&front.servers)
        .connect(front.daemon.address())
        .unwrap();
    assert!(session.echo("hello").is_err());
}

#[test]
fn the_metric_of_an_identity_means_the_end_of_its_path() {
    let Some(desk) = Desk::new() else { return };
    desk.issue("int", "int", "root", AUTHORITY, (-9, 3));
    desk.issue("leaf", "db", "int", LEAF, (-9, 40));
    let chain = desk.read(&["leaf", "int"]);
    let daemon = measured()
        .table("[[identity]]\nname = \"default\"\ncert = \"chain.pem\"\nkey = \"key.pem\"")
        .file("chain.pem", chain)
        .file("key.pem", desk.key("leaf"))
        .start();
    listed(
        &daemon,
        Expected {
            kind: "intermediate",
            owner: "identity \"default\"",
            name: "CN=int",
            effect: "clients-refuse",
            days_left: 2,
            code: 2,
            words: "identity \"default\": its intermediate CN=int ends in 2d",
        },
    );
    let metrics = scrape(&daemon);
    let one = |family: &str| only(&metrics, family);
    let path = one("proxyd_tls_not_after_timestamp_seconds{");
    let intermediate = one("proxyd_expiry_timestamp_seconds{");
    assert_eq!(path.to_string(), intermediate.to_string());
    let verified = daemon.ctl(&["verify"]).stdout;
    let told = "identity \"default\": its intermediate CN=int";
    assert!(
        verified.contains("What ends next:") && verified.contains(told),
        "{verified}"
    );
}

#[track_caller]
fn only(metrics: &BTreeMap<String, f64>, family: &str) -> f64 {
    let mut found = metrics.iter().filter(|(name, _)| name.starts_with(family));
    let (_, value) = found.next().unwrap();
    assert!(found.next().is_none(), "{metrics:#?}");
    *value
}

#[test]
fn verify_lists_what_ends_of_the_good_where_something_is_broken() {
    let servers = Ca::new("servers");
    let daemon = TestDaemon::builder()
        .identity("good", &servers.leaf("localhost"))
        .identity("bad", &servers.leaf("other"))
        .start();
    std::fs::write(daemon.files("bad").cert, "rubbish").unwrap();
    let report = daemon.json(&["verify"]);
    assert!(report["problems"].to_string().contains("bad"), "{report:#}");
    let expiries = report["expiries"].as_array().unwrap();
    assert_eq!(expiries.len(), 1, "{report:#}");
    assert_eq!(expiries[0]["owner"], "identity \"good\"");
}
