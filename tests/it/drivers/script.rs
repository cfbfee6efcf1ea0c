//! One driver's script, and what it says.

use std::{
    collections::HashMap,
    ffi::OsString,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use super::{logins::Login, steps};
use crate::support::{
    program::{clean_command, collect, spawn, text_of},
    servers::Kind,
    stream::lines_of,
};

/// How long a script may take for all its steps.
const DEADLINE: Duration = Duration::from_secs(100);

/// A program, and the arguments before and behind the target.
pub(super) struct Script {
    program: OsString,
    before: Vec<OsString>,
    behind: Vec<OsString>,
}

/// Where a script is to go.
pub(super) struct Target {
    /// The port of the listener.
    pub(super) port: u16,
    /// The port of a listener whose certificate is for another name.
    pub(super) wrong_name_port: u16,
    /// The file with the authority's certificate.
    pub(super) ca: PathBuf,
    /// The database.
    pub(super) database: &'static str,
    /// The account that may do everything.
    pub(super) user: &'static str,
    /// Its password.
    pub(super) password: &'static str,
    /// Whether a client may bind its login to TLS.
    pub(super) channel_binding: &'static str,
    /// An account for each authentication plugin.
    pub(super) logins: Vec<Login>,
}

/// What a script said of a step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Said {
    /// It went well.
    Ok,
    /// It did not, or the driver has no call for it.
    Failed(String),
}

impl Target {
    /// Returns the names of all steps.
    pub(super) fn steps(&self, kind: Kind) -> Vec<String> {
        let mut all: Vec<_> = steps(kind).iter().map(ToString::to_string).collect();
        for login in &self.logins {
            all.push(format!("login {}", login.plugin));
            if login.cache {
                all.push(format!("login {} again", login.plugin));
            }
            if kind != Kind::Postgres {
                all.push(format!("change-user {}", login.plugin));
            }
        }
        all
    }

    fn json(&self) -> Value {
        let login = |it: &Login| {
            json!({
                "plugin": it.plugin, "user": it.user, "password": it.password, "cache": it.cache,
                "changed_to": it.changed_to,
            })
        };
        json!({
            "port": self.port,
            "wrong_name_port": self.wrong_name_port,
            "ca": self.ca,
            "database": self.database,
            "user": self.user,
            "password": self.password,
            "channel_binding": self.channel_binding,
            "logins": self.logins.iter().map(login).collect::<Vec<_>>(),
        })
    }
}

impl Script {
    pub(super) fn new(program: OsString, before: &[OsString], behind: &[OsString]) -> Self {
        Self {
            program,
            before: before.to_vec(),
            behind: behind.to_vec(),
        }
    }

    /// Runs it, and calls `reload` when it asks for that; returns what it said of each step, and what
    /// it complained of.
    pub(super) fn run(
        &self,
        target: &Target,
        reload: impl Fn(),
    ) -> (HashMap<String, Said>, String) {
        let mut child = spawn(self.command(target).stdin(Stdio::piped()));
        let mut input = child.stdin.take().unwrap();
        let stderr = collect(child.stderr.take(), ());
        let mut said = HashMap::new();
        for line in lines_of(child.stdout.take().unwrap(), DEADLINE) {
            let Ok(word) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            let step = word["step"].as_str().unwrap_or_default().to_owned();
            match word["result"].as_str() {
                Some("waiting") => {
                    reload();
                    // A script that has ended says nothing more, which tells enough.
                    let _ = input.write_all(b"done\n");
                }
                Some("ok") => drop(said.insert(step, Said::Ok)),
                _ => drop(said.insert(step, Said::Failed(word["reason"].to_string()))),
            }
        }
        // It has closed its output, or is late.
        let _ = child.kill();
        let _ = child.wait();
        (said, text_of(stderr))
    }

    fn command(&self, target: &Target) -> Command {
        let mut command = clean_command(&self.program);
        command
            .args(&self.before)
            .arg(target.json().to_string())
            .args(&self.behind);
        command
    }
}
