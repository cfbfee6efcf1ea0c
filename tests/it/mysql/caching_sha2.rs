//! Accounts of `caching_sha2_password`: until the server has seen the password once, it wants the
//! password itself, and afterwards only a proof of it.

use super::servers_and_clients;
use crate::support::{
    front::{Front, LEGS, TLS_LEGS, listener},
    servers::{self, Kind, Server, Tls},
};

/// An account that nobody has logged in to.
struct Account<'server> {
    server: &'server Server,
    name: String,
}

impl<'server> Account<'server> {
    fn new(server: &'server Server, name: &str) -> Self {
        let name = format!("c_{name}").replace('-', "_");
        let sql = format!(
            "DROP USER IF EXISTS {name}; \
             CREATE USER {name} IDENTIFIED WITH caching_sha2_password BY 'pw'; \
             GRANT ALL ON test.* TO {name}"
        );
        server.client().run(&sql).answer();
        Self { server, name }
    }

    /// Whether the server has seen the password: otherwise it lets nobody in who has neither TLS
    /// nor its public key.
    fn is_warm(&self) -> bool {
        let client = self.server.client().login(&self.name, "pw").tls(Tls::Off);
        let outcome = client
            .option("--skip-get-server-public-key")
            .run("SELECT 1");
        assert!(outcome.is_success() || outcome.stderr.contains("2061"));
        outcome.is_success()
    }
}

fn mysql_and_clients() -> Option<(Server, Vec<Server>)> {
    let mut all = servers_and_clients().into_iter();
    all.find(|(server, _)| server.kind == Kind::Mysql)
}

#[test]
fn the_first_login_to_an_account_succeeds_over_every_leg() {
    let Some((server, clients)) = mysql_and_clients() else {
        return;
    };
    let front = Front::new(&server);
    for leg in LEGS {
        for client in &clients {
            let account = Account::new(&server, &format!("{leg}_{:?}", client.kind));
            assert!(!account.is_warm());
            let client = front.client(client, leg).login(&account.name, "pw");
            assert_eq!(client.run("SELECT 1").answer(), "1", "{leg}");
            assert!(account.is_warm(), "{leg}");
            assert_eq!(client.run("SELECT 2").answer(), "2", "{leg}");
        }
    }
}

#[test]
fn the_first_login_with_a_wrong_password_is_refused_by_the_server() {
    let Some((server, clients)) = mysql_and_clients() else {
        return;
    };
    let front = Front::new(&server);
    for leg in LEGS {
        for client in &clients {
            let account = Account::new(&server, &format!("wrong_{leg}_{:?}", client.kind));
            let client = front.client(client, leg).login(&account.name, "wrong");
            let complaint = client.run("SELECT 1").complaint();
            assert!(complaint.contains("1045"), "{leg}: {complaint}");
            assert!(!account.is_warm(), "{leg}");
        }
    }
}

#[test]
fn pymysql_s_first_login_succeeds_over_every_leg() {
    let Some(server) = servers::mysql() else {
        return;
    };
    let front = Front::new(&server);
    let program = "
import pymysql, sys
port, user, ca = sys.argv[1:]
for _ in range(2):
    connection = pymysql.connect(host='127.0.0.1', port=int(port), user=user, password='pw',
                                 database='test', ssl={'ca': ca, 'check_hostname': True})
    cursor = connection.cursor()
    cursor.execute('SELECT 42')
    print(cursor.fetchone()[0])
";
    for leg in LEGS {
        let account = Account::new(&server, &format!("pymysql_{leg}"));
        assert!(!account.is_warm());
        let port = front.port(leg).to_string();
        let ca = front.ca_file.to_str().unwrap();
        if let Some(outcome) = servers::python(program, &[&port, &account.name, ca]) {
            assert_eq!(outcome.answer(), "42\n42", "{leg}");
            assert!(account.is_warm(), "{leg}");
        }
    }
}

#[test]
fn a_first_login_without_any_tls_is_the_client_s_and_the_server_s_own_business() {
    let Some((server, clients)) = mysql_and_clients() else {
        return;
    };
    let front = Front::with(|it| {
        it.listener(listener(&server, "plain").line("tls = { mode = \"preferred\" }"))
    });
    for client in &clients {
        let account = Account::new(&server, &format!("no_tls_{:?}", client.kind));
        let client = front.client(client, "plain").login(&account.name, "pw");
        assert_eq!(client.tls(Tls::Off).run("SELECT 1").answer(), "1");
        assert!(account.is_warm());
    }
}

#[test]
fn a_password_that_the_server_wants_over_tls_is_not_taken_from_a_client_without() {
    let Some((server, clients)) = mysql_and_clients() else {
        return;
    };
    let front = Front::with(|it| {
        let preferred = "tls = { mode = \"preferred\" }";
        let legs = TLS_LEGS.into_iter();
        legs.fold(it, |it, leg| {
            it.listener(listener(&server, leg).line(preferred))
        })
    });
    for leg in TLS_LEGS {
        for client in &clients {
            let account = Account::new(&server, &format!("half_{leg}_{:?}", client.kind));
            let client = front.client(client, leg).login(&account.name, "pw");
            let complaint = client.tls(Tls::Off).run("SELECT 1").complaint();
            assert!(complaint.contains("3159"), "{leg}: {complaint}");
            assert!(!account.is_warm(), "{leg}");
        }
    }
}
