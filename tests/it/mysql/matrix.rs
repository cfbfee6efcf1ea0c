//! Real servers, every way to reach them, real clients.

use super::servers_and_clients;
use crate::support::{
    front::{Front, LEGS, listener},
    servers::Tls,
};

#[test]
fn every_client_gets_an_answer_over_every_leg() {
    for (server, clients) in servers_and_clients() {
        let front = Front::new(&server);
        for leg in LEGS {
            for client in &clients {
                let answer = front.client(client, leg).run("SELECT 1, 'two'").answer();
                assert_eq!(answer, "1\ttwo", "{:?} {leg}", client.client);
            }
        }
    }
}

#[test]
fn a_wrong_password_is_answered_by_the_server_over_every_leg() {
    for (server, clients) in servers_and_clients() {
        let front = Front::new(&server);
        for leg in LEGS {
            for client in &clients {
                let wrong = front.client(client, leg).login(server.user, "wrong");
                let complaint = wrong.run("SELECT 1").complaint();
                assert!(complaint.contains("1045"), "{leg}: {complaint}");
                assert!(complaint.contains(server.user), "{leg}: {complaint}");
            }
        }
    }
}

#[test]
fn a_big_result_comes_whole_over_every_leg() {
    for (server, clients) in servers_and_clients() {
        let front = Front::new(&server);
        for leg in LEGS {
            for client in &clients {
                let sql = "SELECT REPEAT('0123456789', 200000)";
                let answer = front.client(client, leg).run(sql).answer();
                assert!(answer == "0123456789".repeat(200_000), "{leg}");
            }
        }
    }
}

#[test]
fn statements_are_prepared_and_executed_in_one_session() {
    for (server, clients) in servers_and_clients() {
        let front = Front::new(&server);
        for client in &clients {
            let mut session = front.client(client, "plain").open();
            session.ask("PREPARE it FROM 'SELECT ? + 1'").unwrap();
            session.ask("SET @number = 41").unwrap();
            assert_eq!(session.ask("EXECUTE it USING @number").unwrap(), "42");
            assert_eq!(session.close().answer(), "");
        }
    }
}

#[test]
fn compression_passes() {
    for (server, clients) in servers_and_clients() {
        let front = Front::new(&server);
        for client in &clients {
            for leg in ["plain", "require"] {
                let client = front.client(client, leg).option("--compress");
                let sql = "SHOW STATUS LIKE 'Compression'";
                assert_eq!(client.run(sql).answer(), "Compression\tON", "{leg}");
                let answer = client.run("SELECT REPEAT('x', 2000000)").answer();
                assert_eq!(answer.len(), 2_000_000, "{leg}");
            }
        }
    }
}

#[test]
fn a_client_that_knows_no_newer_tls_than_1_2_gets_through() {
    for (server, clients) in servers_and_clients() {
        let front = Front::new(&server);
        for client in &clients {
            let old = front
                .client(client, "plain")
                .option("--tls-version=TLSv1.2");
            let version = old.run("SELECT 1").answer();
            assert_eq!(version, "1");
        }
    }
}

#[test]
fn the_server_s_leg_has_tls_where_it_is_configured_and_nowhere_else() {
    for (server, _) in servers_and_clients() {
        let front = Front::new(&server);
        for leg in LEGS {
            let sql = "SHOW SESSION STATUS LIKE 'Ssl_version'";
            let answer = front.client(&server, leg).run(sql).answer();
            let tls = answer.contains("TLSv1.3");
            assert_eq!(tls, !["plain", "unix"].contains(&leg), "{leg}: {answer}");
        }
    }
}

#[test]
fn a_client_may_reach_the_proxy_on_a_unix_socket_with_tls() {
    for (server, clients) in servers_and_clients() {
        let front = Front::with(|it| {
            let path = it.folder().join("front.sock");
            let listener = listener(&server, "plain").bind(&format!("unix:{}", path.display()));
            it.listener(listener)
        });
        for client in &clients {
            let client = client
                .client()
                .at_socket(&front.daemon.path("front.sock"))
                .tls(Tls::VerifyCa(front.ca_file.clone()));
            assert_eq!(client.run("SELECT 1").answer(), "1");
        }
    }
}

#[test]
fn plaintext_passes_where_tls_is_only_preferred() {
    for (server, clients) in servers_and_clients() {
        let front = Front::with(|it| {
            it.listener(listener(&server, "plain").line("tls = { mode = \"preferred\" }"))
        });
        for client in &clients {
            let plain = front.client(client, "plain").tls(Tls::Off);
            assert_eq!(plain.run("SELECT 'plain'").answer(), "plain");
            let secret = front.client(client, "plain");
            assert_eq!(secret.run("SELECT 'secret'").answer(), "secret");
        }
    }
}

#[test]
fn a_client_without_tls_is_refused_where_it_is_required() {
    for (server, clients) in servers_and_clients() {
        let front = Front::new(&server);
        for client in &clients {
            let plain = front.client(client, "plain").tls(Tls::Off);
            let complaint = plain.run("SELECT 1").complaint();
            assert!(complaint.contains("3159"), "{complaint}");
        }
    }
}

#[test]
fn a_client_that_verifies_the_proxy_trusts_nobody_else() {
    for (server, clients) in servers_and_clients() {
        let front = Front::new(&server);
        for client in &clients {
            let stranger = Tls::VerifyFull(server.ca.clone());
            let client = front.client(client, "plain").tls(stranger);
            let complaint = client.run("SELECT 1").complaint();
            assert!(complaint.contains("2026"), "{complaint}");
        }
    }
}
