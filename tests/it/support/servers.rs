//! The database servers and the clients that `tests/run` puts beside the tests.
//!
//! `tests/run` starts each server once for a whole run and says where it is by environment variables:
//! `PROXYD_TEST_<SERVER>_PORT`, `_SOCKET`, `_VERSION` and `_CLIENT`, with `MARIADB`, `MYSQL` or
//! `POSTGRES` for the server, and `MARIADB_NEWER` or `POSTGRES_NEWER` for one that is newer than the
//! machine's; `PROXYD_TEST_MYSQL_OWN_PORT` and `_OWN_CA` for where MySQL shows the certificate that
//! it made by itself; `PROXYD_TEST_CA` for the certificate that all of them chain to; and
//! `PROXYD_TEST_PYTHON`. A server that is not there makes a test end early, unless
//! `PROXYD_TEST_REQUIRE` lists it, or is `1` for all: then the test fails.

mod session;

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

pub(crate) use self::session::Session;
use super::program::{Outcome, clean_command, run};

/// How long a client may take unless the test says otherwise.
const DEADLINE: Duration = Duration::from_secs(20);

/// Returns MariaDB, with an account that logs in by `mysql_native_password`.
pub(crate) fn mariadb() -> Option<Server> {
    Server::find(Kind::Mariadb, "mariadb")
}

/// Returns a newer MariaDB, with the same account.
pub(crate) fn mariadb_newer() -> Option<Server> {
    Server::find(Kind::Mariadb, "mariadb_newer")
}

/// Returns a MariaDB with the settings that its own tests want, and with their account.
pub(crate) fn mariadb_suite() -> Option<Server> {
    let server = Server::find(Kind::Mariadb, "mariadb_suite")?;
    Some(Server {
        user: "root",
        password: "",
        ..server
    })
}

/// Returns MySQL 9, with an account that logs in by `caching_sha2_password`.
pub(crate) fn mysql() -> Option<Server> {
    Server::find(Kind::Mysql, "mysql")
}

/// Returns where MySQL shows the certificate that it made by itself, and its authority's file.
pub(crate) fn own_certificates_of_mysql() -> (String, PathBuf) {
    let port = variable("PROXYD_TEST_MYSQL_OWN_PORT");
    let ca = variable("PROXYD_TEST_MYSQL_OWN_CA");
    (format!("127.0.0.1:{port}"), ca.into())
}

/// Returns PostgreSQL, with an account that logs in by `scram-sha-256`.
pub(crate) fn postgres() -> Option<Server> {
    Server::find(Kind::Postgres, "postgres")
}

/// Returns a newer PostgreSQL, with the same account.
pub(crate) fn postgres_newer() -> Option<Server> {
    Server::find(Kind::Postgres, "postgres_newer")
}

/// Runs a Python program that may import `pymysql`, `psycopg` and `cryptography`.
///
/// The program sees `arguments` as `sys.argv[1:]`. Returns `None` where there is no such Python.
pub(crate) fn python(program: &str, arguments: &[&str]) -> Option<Outcome> {
    let mut command = clean_command(found("python", "PROXYD_TEST_PYTHON")?);
    command.arg("-c").arg(program).args(arguments);
    Some(run(command, Duration::from_secs(60)))
}

/// Returns where something is that `tests/run` got, by the variable that says so.
pub(crate) fn found(name: &str, variable: &str) -> Option<OsString> {
    let found = env::var_os(variable);
    if found.is_none() {
        skip(name);
    }
    found
}

/// Which program a server is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// MariaDB.
    Mariadb,
    /// MySQL 9.
    Mysql,
    /// PostgreSQL.
    Postgres,
}

/// A server that runs, and the account to use there.
///
/// Its certificate is good for `localhost` and `127.0.0.1`. The account may do everything.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Which program it is.
    pub(crate) kind: Kind,
    /// The name that `tests/run` uses.
    pub(crate) name: &'static str,
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    /// Where it listens on a Unix socket, which every user may reach.
    pub(crate) socket: PathBuf,
    /// The certificate that its own chains to.
    pub(crate) ca: PathBuf,
    /// Its version, such as `10.11.14`.
    pub(crate) version: String,
    /// Its own command line client.
    pub(crate) client: PathBuf,
    /// The account's name.
    pub(crate) user: &'static str,
    /// The account's password.
    pub(crate) password: &'static str,
    /// An empty database.
    pub(crate) database: &'static str,
}

impl Server {
    fn find(kind: Kind, name: &'static str) -> Option<Self> {
        let prefix = format!("PROXYD_TEST_{}", name.to_uppercase());
        let Some(port) = env::var_os(format!("{prefix}_PORT")) else {
            skip(name);
            return None;
        };
        let (user, password) = match kind {
            Kind::Mariadb => ("native", "native-pw"),
            Kind::Mysql => ("sha2", "sha2-pw"),
            Kind::Postgres => ("scram", "scram-pw"),
        };
        Some(Self {
            kind,
            name,
            port: port
                .to_str()
                .and_then(|port| port.parse().ok())
                .unwrap_or_else(|| panic!("{prefix}_PORT is not a port: {}", port.display())),
            socket: variable(&format!("{prefix}_SOCKET")).into(),
            ca: variable("PROXYD_TEST_CA").into(),
            version: variable(&format!("{prefix}_VERSION")),
            client: variable(&format!("{prefix}_CLIENT")).into(),
            user,
            password,
            database: "test",
        })
    }

    /// Returns where it listens on TCP, as a backend is written.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns where it listens on a Unix socket, as a backend is written.
    pub(crate) fn socket_address(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    /// Returns its client, aimed at the server itself with full verification.
    pub(crate) fn client(&self) -> Client<'_> {
        Client {
            server: self,
            target: Target::Tcp("127.0.0.1".into(), self.port),
            user: self.user.into(),
            password: self.password.into(),
            tls: Tls::VerifyFull(self.ca.clone()),
            options: Vec::new(),
            deadline: DEADLINE,
        }
    }
}

/// What a client asks of TLS.
#[derive(Clone, Debug)]
pub(crate) enum Tls {
    /// It does what it does by itself.
    Unsaid,
    /// It speaks clear text.
    Off,
    /// It insists on TLS and trusts anyone.
    Require,
    /// It wants a certificate that chains to this file's.
    VerifyCa(PathBuf),
    /// It wants that, and the name or address it connects to in the certificate.
    VerifyFull(PathBuf),
}

/// A server's command line client: whom it connects to, as whom, and how.
#[derive(Clone, Debug)]
pub(crate) struct Client<'server> {
    server: &'server Server,
    target: Target,
    user: String,
    password: String,
    tls: Tls,
    options: Vec<String>,
    deadline: Duration,
}

impl Client<'_> {
    /// Connects by TCP to someone else than the server itself.
    pub(crate) fn at(mut self, host: &str, port: u16) -> Self {
        self.target = Target::Tcp(host.into(), port);
        self
    }

    /// Connects by a Unix socket.
    ///
    /// `psql` insists on a socket called `.s.PGSQL.<port>`, and never speaks TLS there.
    pub(crate) fn at_socket(mut self, socket: &Path) -> Self {
        self.target = Target::Unix(socket.into());
        self
    }

    /// Logs in as someone else.
    pub(crate) fn login(mut self, user: &str, password: &str) -> Self {
        self.user = user.into();
        self.password = password.into();
        self
    }

    /// Asks something else of TLS.
    pub(crate) fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Presents a certificate.
    pub(crate) fn identity(self, certificate: &Path, key: &Path) -> Self {
        let (certificate, key) = (certificate.display(), key.display());
        if self.server.kind == Kind::Postgres {
            self.option(format!("sslcert={certificate}"))
                .option(format!("sslkey={key}"))
        } else {
            self.option(format!("--ssl-cert={certificate}"))
                .option(format!("--ssl-key={key}"))
        }
    }

    /// Adds an argument or, for `psql`, a word of the connection string.
    pub(crate) fn option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    /// Changes how long an answer may take.
    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Connects, asks, prints the answer as lines of values between tabs, and ends.
    pub(crate) fn run(&self, sql: &str) -> Outcome {
        let option = match self.server.kind {
            Kind::Mariadb | Kind::Mysql => "-e",
            Kind::Postgres => "-c",
        };
        let mut command = self.command();
        command.args([option, sql]);
        run(command, self.deadline)
    }

    /// Connects and stays connected.
    pub(crate) fn open(&self) -> Session {
        Session::start(self.command(), self.deadline)
    }

    /// Returns the command, which reads statements from its standard input.
    pub(crate) fn command(&self) -> Command {
        match self.server.kind {
            Kind::Mariadb | Kind::Mysql => self.mysql_command(),
            Kind::Postgres => self.postgres_command(),
        }
    }

    fn mysql_command(&self) -> Command {
        let mut command = clean_command(&self.server.client);
        let mariadb = self.server.kind == Kind::Mariadb;
        if mariadb {
            // It must come first. MySQL's is started by a script that says so itself.
            command.arg("--no-defaults");
        }
        command.env("MYSQL_PWD", &self.password).args([
            "--batch",
            "--skip-column-names",
            "--skip-reconnect",
            "--unbuffered",
            &format!("--user={}", self.user),
            &format!("--database={}", self.server.database),
        ]);
        match &self.target {
            Target::Tcp(host, port) => command
                .arg("--protocol=tcp")
                .arg(format!("--host={host}"))
                .arg(format!("--port={port}")),
            Target::Unix(path) => command
                .arg("--protocol=socket")
                .arg(format!("--socket={}", path.display())),
        };
        if mariadb {
            command.args(match &self.tls {
                Tls::Unsaid => Vec::new(),
                Tls::Off => vec!["--skip-ssl".into()],
                Tls::Require => vec!["--ssl".into(), "--ssl-verify-server-cert=0".into()],
                Tls::VerifyCa(ca) => vec![ssl_ca(ca), "--ssl-verify-server-cert=0".into()],
                Tls::VerifyFull(ca) => vec![ssl_ca(ca), "--ssl-verify-server-cert".into()],
            });
        } else {
            command.args(match &self.tls {
                Tls::Unsaid => Vec::new(),
                // Without TLS, the password goes through only if encrypted with the server's key.
                Tls::Off => vec![
                    "--ssl-mode=DISABLED".into(),
                    "--get-server-public-key".into(),
                ],
                Tls::Require => vec!["--ssl-mode=REQUIRED".into()],
                Tls::VerifyCa(ca) => vec!["--ssl-mode=VERIFY_CA".into(), ssl_ca(ca)],
                Tls::VerifyFull(ca) => vec!["--ssl-mode=VERIFY_IDENTITY".into(), ssl_ca(ca)],
            });
        }
        command.args(&self.options);
        command
    }

    fn postgres_command(&self) -> Command {
        let (host, port) = match &self.target {
            Target::Tcp(host, port) => (host.clone(), port.to_string()),
            Target::Unix(path) => {
                let folder = path.parent().unwrap_or(path).display().to_string();
                let port = path.extension().unwrap_or_default().to_string_lossy();
                (folder, port.into_owned())
            }
        };
        let mut words = vec![
            format!("host={host}"),
            format!("port={port}"),
            format!("user={}", self.user),
            format!("dbname={}", self.server.database),
        ];
        match &self.tls {
            Tls::Unsaid => {}
            Tls::Off => words.push("sslmode=disable".into()),
            Tls::Require => words.push("sslmode=require".into()),
            Tls::VerifyCa(ca) => {
                words.extend([
                    "sslmode=verify-ca".into(),
                    format!("sslrootcert={}", ca.display()),
                ]);
            }
            Tls::VerifyFull(ca) => {
                words.extend([
                    "sslmode=verify-full".into(),
                    format!("sslrootcert={}", ca.display()),
                ]);
            }
        }
        words.extend(self.options.iter().cloned());
        let mut command = clean_command(&self.server.client);
        command
            .env("PGPASSWORD", &self.password)
            .args([
                "-X",
                "-A",
                "-t",
                "-q",
                "-w",
                "-F",
                "\t",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
            ])
            .arg(words.join(" "));
        command
    }
}

#[derive(Clone, Debug)]
enum Target {
    Tcp(String, u16),
    Unix(PathBuf),
}

/// Says that a test does nothing for want of `name`, or fails it where it must not.
fn skip(name: &str) {
    let required = env::var("PROXYD_TEST_REQUIRE").unwrap_or_default();
    assert!(
        !required
            .split_whitespace()
            .any(|word| word == "1" || word == name),
        "there is no {name}, and PROXYD_TEST_REQUIRE asks for it: run tests/run"
    );
    super::skip(&format!("there is no {name}, run tests/run"));
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn ssl_ca(ca: &Path) -> String {
    format!("--ssl-ca={}", ca.display())
}

#[cfg(test)]
mod tests;
