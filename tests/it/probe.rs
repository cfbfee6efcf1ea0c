//! `proxyctl probe`: what servers show, asked from outside.

mod databases;
mod fleet;
mod servers;

use std::{io::Write as _, path::PathBuf, process::Stdio, time::Duration};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    PATIENCE,
    pki::{Ca, replace},
    program::{Outcome, clean_command, collect, run, spawn, text_of},
};

/// A folder with the authority that a probe trusts.
struct Prober {
    folder: TempDir,
    ca: PathBuf,
}

impl Prober {
    fn new(ca: &Ca) -> Self {
        let prober = Self::trusting(PathBuf::new());
        let ca = prober.file("ca.pem", ca.pem());
        Self { ca, ..prober }
    }

    fn trusting(ca: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, ca }
    }

    /// Writes a file; returns its path.
    fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        replace(&path, contents);
        path
    }

    /// Runs the probe; arguments stand between blanks.
    fn run(&self, arguments: &str) -> Outcome {
        probe(&format!("probe --ca {} {arguments}", self.ca.display()))
    }

    /// Does the same and returns the document; its state must fit the exit status.
    #[track_caller]
    fn json(&self, arguments: &str) -> Value {
        let outcome = self.run(&format!("--json {arguments}"));
        let document: Value =
            serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome:#?}"));
        let states = ["ok", "warning", "critical", "unknown"];
        let code = usize::try_from(outcome.code()).unwrap();
        assert_eq!(document["state"], states[code], "{outcome:#?}");
        document
    }

    /// Sees that it is critical for what holds this, and returns the first server.
    #[track_caller]
    fn critical(&self, arguments: &str, because: &str) -> Value {
        let document = self.json(arguments);
        assert_eq!(document["state"], "critical", "{document:#}");
        let server = document["servers"][0].clone();
        let told = server["findings"].to_string();
        assert!(told.contains(because), "{because}: {server:#}");
        server
    }

    /// Sees that all is well, and returns the first server.
    #[track_caller]
    fn ok(&self, arguments: &str) -> Value {
        let document = self.json(arguments);
        assert_eq!(document["state"], "ok", "{document:#}");
        document["servers"][0].clone()
    }
}

fn probe(arguments: &str) -> Outcome {
    let mut command = clean_command(env!("CARGO_BIN_EXE_proxyctl"));
    command.args(arguments.split_whitespace());
    run(command, PATIENCE * 2)
}

/// Runs it with something on standard input.
fn probe_with(input: &str, arguments: &str) -> Outcome {
    let mut command = clean_command(env!("CARGO_BIN_EXE_proxyctl"));
    command
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped());
    let mut child = spawn(&mut command);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (out, err) = (collect(out, ()), collect(err, ()));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    Outcome::ended(child, text_of(out), text_of(err))
}

/// Longer than a server that answers takes, and short enough to wait for one that does not.
const SHORT: Duration = Duration::from_secs(1);
