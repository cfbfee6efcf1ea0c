//! Real databases, with TLS and without, themselves and behind a proxy.

use super::Prober;
use crate::support::{
    front::Front,
    inside::{ADDRESS, is_in_own_network},
    own_server::OwnServer,
    servers::{self, Kind, Server, Tls},
};

fn all() -> impl Iterator<Item = Server> {
    let all = [
        servers::mariadb(),
        servers::mariadb_newer(),
        servers::mysql(),
        servers::postgres(),
        servers::postgres_newer(),
    ];
    all.into_iter().flatten()
}

fn protocol(server: &Server) -> &'static str {
    match server.kind {
        Kind::Mariadb | Kind::Mysql => "mysql",
        Kind::Postgres => "postgres",
    }
}

#[test]
fn every_database_shows_its_certificate() {
    for server in all() {
        let prober = Prober::trusting(server.ca.clone());
        let (protocol, address) = (protocol(&server), server.address());
        let told = prober.ok(&format!("--protocol {protocol} {address}"));
        assert_eq!(told["protocol"], protocol);
        assert!(told["tls"]["version"].is_string(), "{told:#}");
        let sha256 = told["sha256"].as_str().unwrap();
        prober.ok(&format!(
            "--protocol {protocol} --expect {sha256} {address}"
        ));
        let arguments = format!("--protocol {protocol} --name db.example {address}");
        prober.critical(&arguments, "not for db.example");
        let other = "00".repeat(32);
        let arguments = format!("--protocol {protocol} --expect {other} {address}");
        prober.critical(&arguments, &sha256[..16]);
        // It still serves clients that log in.
        server.client().run("SELECT 1").answer();
    }
}

#[test]
fn a_database_behind_the_proxy_shows_the_proxys_certificate() {
    for server in all() {
        let front = Front::with_legs(&server, ["plain"]);
        let prober = Prober::new(&front.ca);
        let (protocol, address) = (protocol(&server), front.daemon.address_of("plain"));
        let sha256 = &front.leaf.sha256;
        prober.ok(&format!(
            "--protocol {protocol} --expect {sha256} {address}"
        ));
    }
}

#[test]
fn a_guess_that_is_wrong_says_which_protocol_is_right() {
    for server in all() {
        let prober = Prober::trusting(server.ca.clone());
        let address = server.address();
        match server.kind {
            Kind::Mariadb | Kind::Mysql => {
                for wrong in ["tcp", "postgres"] {
                    let arguments = format!("--protocol {wrong} {address}");
                    prober.critical(&arguments, "use --protocol mysql");
                }
            }
            // Since version 17 it may begin TLS with the first byte.
            Kind::Postgres if server.name == "postgres_newer" => {}
            Kind::Postgres => {
                let arguments = format!("--protocol tcp {address}");
                prober.critical(&arguments, "--protocol postgres");
            }
        }
    }
}

#[test]
fn what_mysql_made_by_itself_is_not_for_its_address() {
    if servers::mysql().is_none() {
        return;
    }
    let (address, ca) = servers::own_certificates_of_mysql();
    let prober = Prober::trusting(ca);
    let arguments = format!("--protocol mysql {address}");
    prober.critical(&arguments, "no subject alternative name");
}

#[test]
fn a_database_without_tls_is_told_so() {
    for (server, off) in [
        (servers::mariadb(), "--skip-ssl"),
        (servers::mysql(), "--tls-version="),
    ] {
        let Some(server) = server else { continue };
        let own = OwnServer::start_over(&server, "127.0.0.1", &[off], &Tls::Off);
        let prober = Prober::trusting(server.ca.clone());
        let arguments = format!("--protocol mysql {}", own.server.address());
        prober.critical(&arguments, "it offers no TLS in its greeting");
    }
}

/// Servers count only what comes from another host, so the server has an address that is not loopback's.
#[test]
fn probes_do_not_get_their_host_blocked() {
    if !is_in_own_network("probe::databases::probes_do_not_get_their_host_blocked") {
        return;
    }
    for server in [
        servers::mariadb(),
        servers::mariadb_newer(),
        servers::mysql(),
    ] {
        let Some(server) = server else { continue };
        let strict = OwnServer::start(&server, ADDRESS, &["--max-connect-errors=3"]);
        let prober = Prober::trusting(server.ca.clone());
        let address = format!("{ADDRESS}:{}", strict.server.port);
        // What waited for the server to start was counted too.
        strict.ask("SET GLOBAL host_cache_size = 0; SET GLOBAL host_cache_size = 128");
        for turn in 1..=10 {
            let told = prober.json(&format!("--protocol mysql {address}"));
            let told = &told["servers"][0];
            assert!(
                told["tls"]["version"].is_string(),
                "{}: {turn}: {told:#}",
                server.name
            );
        }
    }
}
