//! A server of MySQL or MariaDB that a test starts for itself, to have it otherwise than the one that
//! all tests share.

use std::{
    env,
    ffi::OsStr,
    fs::Permissions,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::{
    ports::free_port,
    program::run,
    servers::{Kind, Server, Tls},
    until,
};

/// A server that a test has for itself. It is killed when dropped.
pub(crate) struct OwnServer {
    child: Child,
    pub(crate) server: Server,
    _folder: TempDir,
}

impl OwnServer {
    /// Starts one like `known` that listens at `address`, with more options.
    pub(crate) fn start(known: &Server, address: &str, options: &[&str]) -> Self {
        Self::start_over(known, address, options, &Tls::Require)
    }

    /// Starts one that is waited for over such TLS.
    pub(crate) fn start_over(known: &Server, address: &str, options: &[&str], tls: &Tls) -> Self {
        let prefix = format!("PROXYD_TEST_{}", known.name.to_uppercase());
        let variable = |name: &str| env::var_os(format!("{prefix}_{name}")).unwrap();
        let data = PathBuf::from(variable("DATA"));
        let owner = std::fs::metadata(&data).unwrap();
        let folder = TempDir::with_prefix("proxyd-own-").unwrap();
        let path = |name: &str| folder.path().join(name);
        copy(&data, &path("data"));
        // MySQL's name for itself, of which no two servers that replicate may have the same.
        let _ = std::fs::remove_file(path("data").join("auto.cnf"));
        std::fs::write(path("accounts.sql"), accounts(known)).unwrap();
        std::fs::set_permissions(path("accounts.sql"), Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::chown(folder.path(), Some(owner.uid()), Some(owner.gid())).unwrap();
        let port = free_port();
        let certificates = known.socket.parent().unwrap();
        let mut command = Command::new(variable("SERVER"));
        command
            .args(basics(known))
            .arg(setting("datadir", path("data")))
            .arg(setting("init-file", path("accounts.sql")))
            .arg(setting("socket", path("socket")))
            .arg(setting("pid-file", path("pid")))
            .arg(setting("log-error", path("log")))
            .arg(setting("bind-address", address))
            .arg(setting("port", port.to_string()))
            .arg(setting("ssl-cert", certificates.join("server.pem")))
            .arg(setting("ssl-key", certificates.join("server-key.pem")))
            .arg("--innodb-buffer-pool-size=32M")
            .args(options)
            .uid(owner.uid())
            .gid(owner.gid())
            .stdin(Stdio::null());
        let own = Self {
            child: command.spawn().unwrap(),
            server: Server {
                port,
                socket: path("socket"),
                ..known.clone()
            },
            _folder: folder,
        };
        until("the server of its own answers", || {
            let client = own.server.client().at_socket(&own.server.socket);
            client.tls(tls.clone()).run("SELECT 1").is_success()
        });
        own
    }

    /// Asks it, not through the proxy.
    pub(crate) fn ask(&self, sql: &str) -> String {
        let client = self.server.client().at_socket(&self.server.socket);
        client.tls(Tls::Require).run(sql).answer()
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn copy(from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    command.args(["-a", "--reflink=auto"]).args([from, to]);
    assert!(run(command, Duration::from_secs(60)).is_success());
}

fn setting(name: &str, value: impl AsRef<OsStr>) -> String {
    format!("--{name}={}", value.as_ref().to_str().unwrap())
}

fn basics(known: &Server) -> &'static [&'static str] {
    match known.kind {
        Kind::Mysql => &[
            "--mysqlx=OFF",
            "--skip-log-bin",
            "--performance-schema=OFF",
            "--secure-file-priv=NULL",
        ],
        // Debian's reads the machine's settings unless it is told not to, which has to come first.
        _ if known.name == "mariadb" => &["--no-defaults", "--innodb-log-file-size=8M"],
        _ => &["--innodb-log-file-size=8M"],
    }
}

fn accounts(server: &Server) -> String {
    let (user, password) = (server.user, server.password);
    let how = match server.kind {
        Kind::Mysql => format!("WITH caching_sha2_password BY '{password}'"),
        _ => format!("VIA mysql_native_password USING PASSWORD('{password}')"),
    };
    format!(
        "CREATE DATABASE IF NOT EXISTS test;\n\
         CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED {how};\n\
         GRANT ALL ON *.* TO '{user}'@'%' WITH GRANT OPTION;\n"
    )
}
