//! Accounts and clients that notice what is between the two.

use crate::support::{
    front::{Front, SAME_LEAF_LEGS},
    servers::{self, Server, Tls},
};

fn servers() -> impl Iterator<Item = Server> {
    let all = [
        servers::mariadb(),
        servers::mariadb_newer(),
        servers::mysql(),
    ];
    all.into_iter().flatten()
}

/// Tries to log in over each leg to an account that is created so; returns the legs that it is let in
/// by.
fn legs_for(server: &Server, name: &str, requirement: &str) -> Vec<&'static str> {
    let sql = format!(
        "DROP USER IF EXISTS {name}; CREATE USER {name} IDENTIFIED BY 'pw' REQUIRE {requirement}; \
         GRANT ALL ON test.* TO {name}"
    );
    server.client().run(&sql).answer();
    let front = Front::with_same_leaf(server, "");
    let mut legs = SAME_LEAF_LEGS.to_vec();
    legs.retain(|leg| {
        let ca = match *leg {
            "same-leaf" => server.ca.clone(),
            _ => front.ca_file.clone(),
        };
        let client = front.client(server, leg).login(name, "pw");
        let outcome = client.tls(Tls::VerifyFull(ca)).run("SELECT 1");
        assert!(
            outcome.is_success() || outcome.stderr.contains("1045"),
            "{leg}: {outcome:#?}"
        );
        outcome.is_success()
    });
    legs
}

#[test]
fn an_account_that_requires_tls_is_let_in_where_the_server_sees_tls() {
    for server in servers() {
        let legs = legs_for(&server, "needs_tls", "SSL");
        assert_eq!(legs, ["verify-full", "same-leaf"], "{}", server.name);
    }
}

#[test]
fn an_account_that_requires_a_certificate_is_not_let_in_by_the_client_s() {
    for server in servers() {
        let legs = legs_for(&server, "needs_x509", "X509");
        assert!(legs.is_empty(), "{}: {legs:?}", server.name);
    }
}
