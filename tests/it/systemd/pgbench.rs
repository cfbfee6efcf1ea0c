//! pgbench at work through a machine's daemon.

use std::{fs, net::SocketAddr, process::Child, thread::JoinHandle};

use tempfile::TempDir;

use crate::{
    load::number_behind,
    support::{
        program::{clean_command, collect, spawn, text_of},
        servers::Server,
    },
};

/// For how many seconds it works, which is longer than an upgrade takes.
const SECONDS: u32 = 20;

/// How many sessions it has.
const SESSIONS: u32 = 6;

/// A pgbench that works.
pub(super) struct Pgbench {
    child: Child,
    said: [JoinHandle<String>; 2],
    /// Has its files.
    _folder: TempDir,
}

impl Pgbench {
    /// Starts it with the authority that it is to trust. It makes and needs no tables, which other tests could disturb.
    pub(super) fn start(server: &Server, address: SocketAddr, ca: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let [script, trusted] = ["script", "ca.pem"].map(|name| folder.path().join(name));
        fs::write(&script, "SELECT count(*) FROM generate_series(1, 100);\n").unwrap();
        fs::write(&trusted, ca).unwrap();
        let mut command = clean_command(server.client.with_file_name("pgbench"));
        command
            .env("PGPASSWORD", server.password)
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", trusted)
            .env("PGHOSTADDR", address.ip().to_string())
            .arg("--host=localhost")
            .arg(format!("--port={}", address.port()))
            .arg(format!("--username={}", server.user))
            .arg(format!("--client={SESSIONS}"))
            .arg(format!("--time={SECONDS}"))
            .arg("--no-vacuum")
            .arg(format!("--file={}", script.display()))
            .arg(server.database);
        let mut child = spawn(&mut command);
        let output = collect(child.stdout.take(), ());
        let errors = collect(child.stderr.take(), ());
        Self {
            child,
            said: [output, errors],
            _folder: folder,
        }
    }

    /// Checks that it has not ended yet.
    #[track_caller]
    pub(super) fn is_at_work(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "it ended too early: {ended:?}");
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When a session was lost, or little was done.
    #[track_caller]
    pub(super) fn lost_nothing(mut self) {
        let said = self.said.map(text_of).join("\n");
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{said}");
        assert!(!said.contains(" aborted in "), "{said}");
        let failed = number_behind(&said, "number of failed transactions:");
        assert_eq!(failed, 0, "{said}");
        let done = number_behind(&said, "number of transactions actually processed:");
        assert!(done > 100, "{said}");
    }
}
