//! A daemon in front of one listener, whose log can be read by a test.

use serde_json::Value;

use super::{
    PATIENCE,
    builder::Builder,
    client::{Client, Session, connect},
    configuration::Listener,
    daemon::TestDaemon,
    eventually,
    fake::Fake,
    pki::Ca,
    until,
    wire::{login, mysql_ssl_request, read_packet},
};

/// The setting that makes log lines readable for these tests.
pub(crate) const JSON: &str = "{ file = \"log\", format = \"json\" }";

/// A daemon whose log can be read, in front of one listener called `main`.
pub(crate) struct Front {
    pub(crate) ca: Ca,
    pub(crate) client: Client,
    pub(crate) daemon: TestDaemon,
}

impl Front {
    /// Starts a daemon whose listener speaks TLS from the first byte and has these further lines.
    pub(crate) fn new(backend: &str, lines: &[&str]) -> Self {
        Self::with(Listener::tcp("main", backend), lines, |it| it)
    }

    /// Starts a daemon with this listener and these further lines, after `change` has changed the builder.
    pub(crate) fn with(
        listener: Listener,
        lines: &[&str],
        change: impl FnOnce(Builder) -> Builder,
    ) -> Self {
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

    /// Starts a daemon in front of a server of MySQL.
    pub(crate) fn mysql(backend: &Fake) -> Self {
        let listener = Listener::tcp("main", &backend.address()).protocol("mysql");
        Self::with(listener, &[], |it| it)
    }

    /// Opens a session and lets the backend echo a line through it.
    #[track_caller]
    pub(crate) fn session(&self) -> Session {
        self.session_of(&self.client)
    }

    /// The same by this client.
    #[track_caller]
    pub(crate) fn session_of(&self, client: &Client) -> Session {
        let mut session = client.connect(self.daemon.address()).unwrap();
        session.echo("hello").unwrap();
        session
    }

    /// Logs in to MySQL as this user, with TLS; the answer has not been read.
    #[track_caller]
    pub(crate) fn log_in(&self, user: &str) -> Session {
        let mut socket = connect(self.daemon.address()).unwrap();
        read_packet(&mut socket).unwrap();
        let client = Client::new(&self.ca);
        let session = client.behind(&mysql_ssl_request(), usize::MAX, socket);
        let mut session = session.unwrap();
        session.send(&login(true, user)).unwrap();
        session
    }

    /// Returns the log lines about ends of sessions so far.
    pub(crate) fn ends(&self) -> Vec<Value> {
        ends(&self.daemon)
    }

    /// Waits until one session has ended, for this reason; returns its line.
    #[track_caller]
    pub(crate) fn end(&self, reason: &str) -> Value {
        let end = eventually("a session has ended", PATIENCE, || self.ends().pop());
        assert_eq!(end["reason"], reason, "{end}");
        assert_eq!(self.ends().len(), 1, "one line for one session");
        self.counts(reason, 1);
        end
    }

    /// Waits until the status counts so many sessions that ended for this reason.
    #[track_caller]
    pub(crate) fn counts(&self, reason: &str, number: u64) {
        until("the end is counted", || {
            ended(&self.daemon.status(), reason) == number
        });
    }
}

/// Returns the lines of a daemon's log, which must all be JSON.
pub(crate) fn lines(daemon: &TestDaemon) -> Vec<Value> {
    let log = daemon.log();
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect()
}

/// Returns the log lines about ends of sessions.
pub(crate) fn ends(daemon: &TestDaemon) -> Vec<Value> {
    let mut lines = lines(daemon);
    lines.retain(|line| line["reason"].is_string() && line["duration_s"].is_number());
    lines
}

/// Returns how many sessions of the first listener have ended for a reason.
#[track_caller]
pub(crate) fn ended(status: &Value, reason: &str) -> u64 {
    let ended = &status["listeners"][0]["connections"]["ended"][reason];
    ended
        .as_u64()
        .unwrap_or_else(|| panic!("{reason}: {status}"))
}
