//! Sessions that are listed and ended by `proxyctl`.

// What shells complete.
mod completion;
// Databases, and the login names of their clients.
mod databases;
// What ends by it, and what both sides and the operators are told.
mod ending;
// What is shown of a session, and which sessions.
mod listing;
// Sessions of certificates that are revoked.
mod revoked;
// Workers that do not answer.
mod silent;

use serde_json::Value;

use crate::support::{
    PATIENCE,
    builder::Builder,
    client::{Client, Session},
    configuration::Listener,
    daemon::TestDaemon,
    eventually,
    pki::Ca,
};

/// A daemon in front of one listener called `main`, and clients of it.
struct Front {
    ca: Ca,
    client: Client,
    daemon: TestDaemon,
}

impl Front {
    /// Starts a daemon whose listener speaks TLS from the first byte.
    fn new(backend: &str) -> Self {
        Self::with(Listener::tcp("main", backend), |it| it)
    }

    /// Starts a daemon with this listener, after `change` has changed the builder.
    fn with(listener: Listener, change: impl FnOnce(Builder) -> Builder) -> Self {
        let ca = Ca::new("authority");
        let builder = TestDaemon::builder()
            .set("log", "{ file = \"log\", format = \"json\" }")
            .identity("default", &ca.leaf("localhost"))
            .listener(listener);
        Self {
            client: Client::new(&ca),
            daemon: change(builder).start(),
            ca,
        }
    }

    /// Opens a session and lets the backend echo a line through it.
    #[track_caller]
    fn session(&self) -> Session {
        self.session_of(&self.client)
    }

    /// The same by this client.
    #[track_caller]
    fn session_of(&self, client: &Client) -> Session {
        let mut session = client.connect(self.daemon.address()).unwrap();
        session.echo("hello").unwrap();
        session
    }

    /// Returns the sessions that `proxyctl --json sessions` shows with these arguments.
    #[track_caller]
    fn list(&self, arguments: &[&str]) -> Vec<Value> {
        let list = self.daemon.json(&[&["sessions"], arguments].concat());
        list.as_array().unwrap().clone()
    }

    /// Returns the ids of the same sessions.
    #[track_caller]
    fn ids(&self, arguments: &[&str]) -> Vec<String> {
        self.list(arguments).iter().map(id).collect()
    }

    /// Returns the log line about the end of the only session that has ended.
    #[track_caller]
    fn end(&self) -> Value {
        let is_end = |line: &Value| line["reason"].is_string() && line["duration_s"].is_number();
        eventually("a session has ended", PATIENCE, || {
            let log = self.daemon.log();
            let lines = log
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            lines.into_iter().find(is_end)
        })
    }
}

/// Returns the id of a session.
#[track_caller]
fn id(session: &Value) -> String {
    session["id"].as_str().unwrap().to_owned()
}
