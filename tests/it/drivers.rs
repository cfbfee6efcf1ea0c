//! Drivers by which programs reach databases: each through the proxy, by the same steps, to every
//! server and over every kind of connection between the two.
//!
//! The scripts are in `tests/drivers`. What does not work and why is in `tests/drivers/limits.txt`;
//! what is listed there and works nevertheless fails the test too.

// The list of what is known not to work.
mod limits;
// Accounts, one for each authentication plugin of a server.
mod logins;
// One driver's script, and what it says.
mod script;

use std::{ffi::OsString, path::PathBuf};

use self::{
    limits::Limits,
    script::{Script, Target},
};
use crate::support::{
    front::{Front, TLS_LEGS, listener},
    pki::{Ca, Leaf},
    servers::{self, Kind, Server},
};

/// The kinds of connections between the proxy and a server.
const LEGS: [&str; 3] = ["plain", "unix", "verify-full"];

/// The listener whose certificate is for another name.
const OTHER_NAME: &str = "other-name";

/// Where the scripts are.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/drivers");

/// Has a driver take its steps everywhere.
#[track_caller]
fn drive(driver: &str, script: Option<Script>, servers: impl IntoIterator<Item = Server>) {
    let Some(script) = script else { return };
    let limits = Limits::read();
    let mut complaints = Vec::new();
    for server in servers {
        let front = Front::with(|it| {
            let it = it.identity("other", &Ca::new("other").leaf("other.example"));
            let legs = LEGS.into_iter();
            let it = legs.fold(it, |it, leg| it.listener(listener(&server, leg)));
            let mut other = listener(&server, "plain").line("identities = [\"other\"]");
            OTHER_NAME.clone_into(&mut other.name);
            it.listener(other)
        });
        for leg in LEGS {
            let target = Target {
                port: front.port(leg),
                wrong_name_port: front.port(OTHER_NAME),
                ca: front.ca_file.clone(),
                database: server.database,
                user: server.user,
                password: server.password,
                channel_binding: if TLS_LEGS.contains(&leg) {
                    "disable"
                } else {
                    "prefer"
                },
                logins: logins::make(&server),
            };
            let (said, stderr) = script.run(&target, || replace_certificate(&front));
            let place = format!("{driver} | {} | {leg}", server.name);
            let wrong = limits.judge(&place, &target.steps(server.kind), &said);
            if !wrong.is_empty() {
                complaints.extend(wrong);
                complaints.push(format!("--- what the script said there\n{stderr}"));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Brings a new certificate for the same names into service.
fn replace_certificate(front: &Front) {
    let leaf: Leaf = front.ca.request(&["localhost", "127.0.0.1"]).issue();
    front.daemon.files("default").put(&leaf);
    front.daemon.ctl(&["reload-tls"]).answer();
}

fn mysqls() -> impl Iterator<Item = Server> {
    let all = [
        servers::mariadb(),
        servers::mariadb_newer(),
        servers::mysql(),
    ];
    all.into_iter().flatten()
}

fn postgreses() -> impl Iterator<Item = Server> {
    let all = [servers::postgres(), servers::postgres_newer()];
    all.into_iter().flatten()
}

fn python(file: &str, arguments: &[OsString]) -> Option<Script> {
    let python = servers::found("python", "PROXYD_TEST_PYTHON")?;
    let script = PathBuf::from(SCRIPTS).join("python").join(file);
    // Nothing is to be left beside the scripts.
    Some(Script::new(
        python,
        &["-B".into(), script.into()],
        arguments,
    ))
}

fn node(file: &str) -> Option<Script> {
    let modules = servers::found("node", "PROXYD_TEST_NODE_MODULES")?;
    // A module is looked for beside the script that asks for it, wherever that really is.
    let script = PathBuf::from(modules).join("../scripts").join(file);
    Some(Script::new("node".into(), &[script.into()], &[]))
}

fn rust(driver: &str) -> Option<Script> {
    let program = servers::found("rust-drivers", "PROXYD_TEST_RUST_DRIVERS")?;
    Some(Script::new(program, &[driver.into()], &[]))
}

/// A server's own command line client.
fn client(file: &str, server: Option<Server>) -> Option<Script> {
    python(file, &[server?.client.into()])
}

#[test]
fn pymysql() {
    drive("pymysql", python("drive_pymysql.py", &[]), mysqls());
}

#[test]
fn mysql_connector_python() {
    let script = python("drive_mysql_connector.py", &[]);
    drive("mysql-connector-python", script, mysqls());
}

#[test]
fn mysql_connector_python_without_its_c_extension() {
    let script = python("drive_mysql_connector.py", &["pure".into()]);
    drive("mysql-connector-python-pure", script, mysqls());
}

#[test]
fn mysqlclient() {
    drive("mysqlclient", python("drive_mysqlclient.py", &[]), mysqls());
}

#[test]
fn asyncmy() {
    drive("asyncmy", python("drive_asyncmy.py", &[]), mysqls());
}

#[test]
fn mysql2() {
    drive("mysql2", node("drive_mysql2.js"), mysqls());
}

#[test]
fn mysql_async() {
    drive("mysql_async", rust("mysql_async"), mysqls());
}

#[test]
fn sqlx_for_mysql() {
    drive("sqlx-mysql", rust("sqlx-mysql"), mysqls());
}

#[test]
fn mysql_s_client() {
    let script = client("drive_mysql_client.py", servers::mysql());
    drive("mysql-client", script, mysqls());
}

#[test]
fn mariadb_s_client() {
    let script = client("drive_mysql_client.py", servers::mariadb());
    drive("mariadb-client", script, mysqls());
}

#[test]
fn a_newer_mariadb_s_client() {
    let script = client("drive_mysql_client.py", servers::mariadb_newer());
    drive("mariadb-client-newer", script, mysqls());
}

#[test]
fn psycopg() {
    drive("psycopg", python("drive_psycopg.py", &[]), postgreses());
}

#[test]
fn asyncpg() {
    drive("asyncpg", python("drive_asyncpg.py", &[]), postgreses());
}

#[test]
fn pg8000() {
    drive("pg8000", python("drive_pg8000.py", &[]), postgreses());
}

#[test]
fn pg() {
    drive("pg", node("drive_pg.js"), postgreses());
}

#[test]
fn tokio_postgres() {
    drive("tokio-postgres", rust("tokio-postgres"), postgreses());
}

#[test]
fn sqlx_for_postgres() {
    drive("sqlx-postgres", rust("sqlx-postgres"), postgreses());
}

#[test]
fn psql() {
    drive(
        "psql",
        client("drive_psql.py", servers::postgres()),
        postgreses(),
    );
}

#[test]
fn a_newer_psql() {
    let script = client("drive_psql.py", servers::postgres_newer());
    drive("psql-newer", script, postgreses());
}

/// The steps that a script must take for a server of this kind, but for logins.
fn steps(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Mariadb | Kind::Mysql => &[
            "connect",
            "wrong-name",
            "wrong-password",
            "value 1 MB",
            "value 20 MB",
            "prepared",
            "transaction",
            "error",
            "cancel",
            "kill",
            "reset",
            "reload",
        ],
        Kind::Postgres => &[
            "connect",
            "wrong-name",
            "wrong-password",
            "value 1 MB",
            "value 20 MB",
            "prepared",
            "transaction",
            "error",
            "cancel",
            "kill",
            "copy",
            "notify",
            "reload",
        ],
    }
}
