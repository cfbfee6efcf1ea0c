//! The line that each session leaves in the log, and the counts of how they ended.

// Counts: over deaths of workers, and on the metrics page.
mod counts;
// Sessions that a drain cuts.
mod drains;
// The ends of sessions that were relayed.
mod ends;
// The users of logins.
mod logins;
// Sessions that were never relayed.
mod openings;

use serde_json::Value;

use crate::support::{
    PATIENCE,
    builder::Builder,
    client::{Client, Session},
    configuration::Listener,
    daemon::TestDaemon,
    eventually,
    pki::Ca,
    until,
};

/// The setting that makes log lines readable for these tests.
const JSON: &str = "{ file = \"log\", format = \"json\" }";

/// A daemon whose log can be read, in front of one listener called `main`.
struct Front {
    ca: Ca,
    client: Client,
    daemon: TestDaemon,
}

impl Front {
    /// Starts a daemon whose listener speaks TLS from the first byte and has these further lines.
    fn new(backend: &str, lines: &[&str]) -> Self {
        Self::with(Listener::tcp("main", backend), lines, |it| it)
    }

    /// Starts a daemon with this listener and these further lines, after `change` has changed the builder.
    fn with(listener: Listener, lines: &[&str], change: impl FnOnce(Builder) -> Builder) -> Self {
        let ca = Ca::new("authority");
        let listener = lines.iter().fold(listener, |it, line| it.line(line));
        let builder = TestDaemon::builder()
            .set("log", JSON)
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
        let mut session = self.client.connect(self.daemon.address()).unwrap();
        session.echo("hello").unwrap();
        session
    }

    /// Returns the log lines about ends of sessions so far.
    fn ends(&self) -> Vec<Value> {
        ends(&self.daemon)
    }

    /// Waits until one session has ended, for this reason; returns its line.
    #[track_caller]
    fn end(&self, reason: &str) -> Value {
        let end = eventually("a session has ended", PATIENCE, || self.ends().pop());
        assert_eq!(end["reason"], reason, "{end}");
        assert_eq!(self.ends().len(), 1, "one line for one session");
        self.counts(reason, 1);
        end
    }

    /// Waits until the status counts so many sessions that ended for this reason.
    #[track_caller]
    fn counts(&self, reason: &str, number: u64) {
        until("the end is counted", || {
            ended(&self.daemon.status(), reason) == number
        });
    }
}

/// Returns the lines of a daemon's log, which must all be JSON.
fn lines(daemon: &TestDaemon) -> Vec<Value> {
    let log = daemon.log();
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect()
}

/// Returns the log lines about ends of sessions.
fn ends(daemon: &TestDaemon) -> Vec<Value> {
    let mut lines = lines(daemon);
    lines.retain(|line| line["reason"].is_string() && line["duration_s"].is_number());
    lines
}

/// Returns how many sessions of the first listener have ended for a reason.
#[track_caller]
fn ended(status: &Value, reason: &str) -> u64 {
    let ended = &status["listeners"][0]["connections"]["ended"][reason];
    ended
        .as_u64()
        .unwrap_or_else(|| panic!("{reason}: {status}"))
}
