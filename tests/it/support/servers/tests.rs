//! The servers themselves, reached directly: what the other tests take for granted.

use super::*;
use crate::support::program::End;

fn servers() -> impl Iterator<Item = Server> {
    let all = [
        mariadb(),
        mariadb_newer(),
        mysql(),
        postgres(),
        postgres_newer(),
    ];
    all.into_iter().flatten()
}

#[test]
fn every_server_answers_its_own_client_with_every_kind_of_tls() {
    for server in servers() {
        assert!(!server.version.is_empty());
        assert_eq!(server.address(), format!("127.0.0.1:{}", server.port));
        for tls in [
            Tls::Off,
            Tls::Require,
            Tls::VerifyCa(server.ca.clone()),
            Tls::VerifyFull(server.ca.clone()),
        ] {
            let client = server.client().at("localhost", server.port).tls(tls);
            assert_eq!(client.run("SELECT 1, 'two'").answer(), "1\ttwo");
        }
    }
}

#[test]
fn every_server_answers_on_its_unix_socket() {
    for server in servers() {
        assert!(server.socket_address().starts_with("unix:/"));
        let client = server.client().at_socket(&server.socket);
        assert_eq!(client.run("SELECT 1").answer(), "1");
    }
}

#[test]
fn a_wrong_password_is_refused() {
    for server in servers() {
        let client = server.client().login(server.user, "wrong");
        let complaint = client.run("SELECT 1").complaint();
        assert!(complaint.contains(server.user), "{complaint}");
    }
}

#[test]
fn a_client_without_the_key_of_its_certificate_does_not_connect() {
    for server in servers() {
        let client = server
            .client()
            .identity(&server.ca, Path::new("/nonexistent/key.pem"));
        client.run("SELECT 1").complaint();
    }
}

#[test]
fn a_session_is_one_connection_until_it_is_killed() {
    for server in servers() {
        let (who, kill) = match server.kind {
            Kind::Mariadb | Kind::Mysql => ("SELECT CONNECTION_ID()", "KILL "),
            Kind::Postgres => ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend"),
        };
        let mut session = server.client().open();
        let id = session.ask(who).expect("it connects");
        assert_eq!(session.ask(who).expect("it is still connected"), id);
        server.client().run(&format!("{kill}({id})")).answer();
        assert!(!session.ask(who).expect_err("it was killed").is_success());

        let mut other = server.client().open();
        other.ask(who).expect("it connects");
        assert_eq!(other.close().answer(), "");
    }
}

#[test]
fn a_client_is_killed_at_its_deadline() {
    for server in servers() {
        let sql = match server.kind {
            Kind::Mariadb | Kind::Mysql => "SELECT SLEEP(60)",
            Kind::Postgres => "SELECT pg_sleep(60)",
        };
        let client = server.client().deadline(Duration::from_millis(300));
        assert_eq!(client.run(sql).end, End::Deadline);
    }
}

#[test]
fn a_client_takes_further_options() {
    for server in servers() {
        let client = match server.kind {
            Kind::Mariadb | Kind::Mysql => server.client().option("--column-names"),
            Kind::Postgres => server.client().option("application_name=number"),
        };
        let sql = match server.kind {
            Kind::Mariadb | Kind::Mysql => "SELECT 1 AS number",
            Kind::Postgres => "SHOW application_name",
        };
        assert!(client.run(sql).answer().starts_with("number"));
    }
}

#[test]
fn the_python_drivers_talk_to_every_server() {
    let program = "
import pymysql, psycopg, sys
kind, port, user, password, database, ca = sys.argv[1:]
if kind.startswith('postgres'):
    connection = psycopg.connect(host='127.0.0.1', port=port, user=user, password=password,
                                 dbname=database, sslmode='verify-full', sslrootcert=ca)
else:
    connection = pymysql.connect(host='127.0.0.1', port=int(port), user=user, password=password,
                                 database=database, ssl={'ca': ca, 'check_hostname': True})
cursor = connection.cursor()
cursor.execute('SELECT 42')
print(cursor.fetchone()[0])
";
    for server in servers() {
        let port = server.port.to_string();
        let ca = server.ca.to_str().expect("a plain path");
        let Server {
            name,
            user,
            password,
            database,
            ..
        } = server;
        let arguments = [name, &port, user, password, database, ca];
        if let Some(outcome) = python(program, &arguments) {
            assert_eq!(outcome.answer(), "42");
        }
    }
}
