//! `MariaDB`'s clients from 11.4 on, where they have no authority's file: they let the server prove by the
//! password that the certificate which they see is its own.
//!
//! They trust whoever is at a loopback address, so that the proxy has another here; and they ask for no
//! proof of a certificate whose issuer is not among those shown, so that these signed themselves.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use tempfile::TempDir;

use crate::support::{
    builder::Builder,
    front::{self, Front, listener},
    inside::{ADDRESS, is_in_own_network},
    own_server::OwnServer,
    pki::{Ca, Files, Leaf},
    program::Outcome,
    servers::{self, Server, Tls},
};

/// The accounts' names and passwords.
const LOGINS: [(&str, &str); 3] = [
    ("native", "native-pw"),
    ("by_ed25519", "ed25519-pw"),
    ("by_parsec", "parsec-pw"),
];

const LEGS: [&str; 3] = ["plain", "unix", "require"];

/// Starts a server that shows this certificate.
fn start(known: &Server, leaf: &Leaf) -> OwnServer {
    let folder = TempDir::new().unwrap();
    let open = |path: &Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let files = Files::of(folder.path(), "server");
    files.put(leaf);
    open(&files.key, 0o644);
    open(folder.path(), 0o755);
    let cert = format!("--ssl-cert={}", files.cert.display());
    let key = format!("--ssl-key={}", files.key.display());
    let plugins = "--plugin-load-add=auth_ed25519;auth_parsec";
    let own = OwnServer::start(known, "0.0.0.0", &[&cert, &key, plugins]);
    for plugin in ["ed25519", "parsec"] {
        own.ask(&format!(
            "CREATE USER by_{plugin} IDENTIFIED VIA {plugin} USING PASSWORD('{plugin}-pw'); \
             GRANT ALL ON test.* TO by_{plugin}"
        ));
    }
    own
}

/// Adds a listener on this leg for each identity.
fn with_each(builder: Builder, server: &Server, leg: &str) -> Builder {
    let identities = ["default", "other", "server"].into_iter();
    identities.fold(builder, |it, identity| {
        let mut listener = listener(server, leg).bind(&format!("{ADDRESS}:0"));
        listener.name = format!("{leg}-{identity}");
        it.listener(listener.line(&format!("identities = [\"{identity}\"]")))
    })
}

/// Logs in as a user does who knows of no certificates.
fn log_in(server: &Server, host: &str, port: u16, (user, password): (&str, &str)) -> Outcome {
    let client = server.client().at(host, port).login(user, password);
    // A password from the environment does not count as one.
    let client = client.option(format!("--password={password}"));
    client.tls(Tls::Unsaid).run("SELECT 'let in'")
}

#[test]
fn a_client_without_an_authority_trusts_the_server_s_own_certificate_over_every_leg() {
    let test = "mysql::by_password::\
                a_client_without_an_authority_trusts_the_server_s_own_certificate_over_every_leg";
    let Some(known) = servers::mariadb_newer().filter(|_| is_in_own_network(test)) else {
        return;
    };
    let ca = Ca::new("nobody's");
    let leaf = || ca.request(&["localhost", ADDRESS]).self_signed();
    let (same, other) = (leaf(), leaf());
    let own = start(&known, &same);
    let server = &own.server;
    let front = Front::with(|it| {
        let it = it.identity("server", &same).identity("other", &other);
        LEGS.iter().fold(it, |it, leg| with_each(it, server, leg))
    });
    let issued = front.ca.request(&[ADDRESS]).issue();
    front.daemon.files("default").put(&issued);
    front.daemon.ctl(&["reload-tls"]).answer();
    for login in LOGINS {
        let direct = log_in(server, ADDRESS, server.port, login);
        assert_eq!(direct.answer(), "let in");
        for leg in LEGS {
            let what = format!("{leg} {}", login.0);
            let port = |identity| front.port(&format!("{leg}-{identity}"));
            let outcome = log_in(server, ADDRESS, port("server"), login);
            assert!(outcome.is_success(), "{what}: {outcome:#?}");
            let complaint = log_in(server, ADDRESS, port("other"), login).complaint();
            assert!(complaint.contains("2026"), "{what}: {complaint}");
            // Told whom to trust, it needs no proof.
            let client = server.client().at(ADDRESS, port("default"));
            let client = client.tls(Tls::VerifyFull(front.ca_file.clone()));
            let outcome = client.login(login.0, login.1).run("SELECT 'let in'");
            assert!(outcome.is_success(), "{what}: {outcome:#?}");
        }
    }
}

#[test]
fn a_client_without_an_authority_trusts_whoever_is_at_a_loopback_address() {
    let Some(server) = servers::mariadb_newer() else {
        return;
    };
    let front = Front::new(&server);
    let login = (server.user, server.password);
    for leg in front::LEGS {
        let outcome = log_in(&server, "127.0.0.1", front.port(leg), login);
        assert!(outcome.is_success(), "{leg}: {outcome:#?}");
    }
}
