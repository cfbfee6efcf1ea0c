//! Sessions that are gone on with, and what they must not outlive.
//!
//! Every row is tried with TLS 1.2 and 1.3, at listeners that ask nobody, everybody who likes, and
//! everybody for a certificate.

use nix::sys::signal::Signal;
use rustls::AlertDescription;

use crate::support::{
    PATIENCE,
    builder::Builder,
    client::{Client, Session, alert},
    configuration::Listener,
    daemon::TestDaemon,
    openssl::s_client,
    pki::{Ca, Leaf, replace},
    process, until,
};

/// The listeners, by what they ask.
const MODES: [&str; 3] = ["off", "optional", "required"];

const TICKETS: &str = "tls = { resumption = \"tickets\" }";

/// A daemon, whom its clients trust, who issues theirs, and one of them.
struct Front {
    servers: Ca,
    clients: Ca,
    leaf: Leaf,
    daemon: TestDaemon,
}

/// A client of one listener that keeps its tickets.
struct Guest {
    mode: &'static str,
    tls12: bool,
    client: Client,
}

impl Front {
    fn new() -> Self {
        Self::with(|it| it)
    }

    fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let (servers, clients) = (Ca::new("servers"), Ca::new("clients"));
        let builder = TestDaemon::builder().identity("default", &servers.leaf("localhost"));
        replace(&builder.folder().join("clients.crt"), clients.pem());
        replace(&builder.folder().join("clients.crl"), clients.revoke(&[]));
        let backend = builder.backend().address();
        let builder = MODES.into_iter().fold(builder, |it, mode| {
            it.listener(
                Listener::tcp(mode, &backend)
                    .line(TICKETS)
                    .line(&asking(mode, "")),
            )
        });
        Self {
            daemon: change(builder).start(),
            leaf: clients.leaf("app.example"),
            servers,
            clients,
        }
    }

    /// Returns a client of each listener for each version, all with a session to go on with.
    #[track_caller]
    fn guests(&self) -> Vec<Guest> {
        let guests: Vec<_> = MODES
            .into_iter()
            .flat_map(|mode| [false, true].map(|tls12| self.guest(mode, tls12, &self.leaf)))
            .collect();
        for guest in &guests {
            assert!(!self.comes_back(guest), "{guest:?}");
            assert!(self.comes_back(guest), "{guest:?}");
        }
        guests
    }

    fn guest(&self, mode: &'static str, tls12: bool, leaf: &Leaf) -> Guest {
        let client = Client::new(&self.servers).present(leaf).old(tls12);
        Guest {
            mode,
            tls12,
            client: client.resuming(),
        }
    }

    fn try_session(&self, guest: &Guest) -> std::io::Result<Session> {
        let mut session = guest.client.connect(self.daemon.address_of(guest.mode))?;
        // Here the tickets come too.
        session.echo("hello")?;
        Ok(session)
    }

    /// Lets a client connect; returns whether it went on with its session.
    #[track_caller]
    fn comes_back(&self, guest: &Guest) -> bool {
        self.try_session(guest).unwrap().is_resumed()
    }

    /// Sees that a client makes a full handshake, and goes on with that session afterwards.
    #[track_caller]
    fn begins_anew(&self, guest: &Guest) {
        assert!(!self.comes_back(guest), "{guest:?}");
        assert!(self.comes_back(guest), "{guest:?}");
    }

    /// Sees that a client that had a session is refused.
    #[track_caller]
    fn is_refused(&self, guest: &Guest, expected: AlertDescription) {
        let error = self.try_session(guest).unwrap_err();
        assert_eq!(alert(&error), expected, "{guest:?}");
    }

    /// Lets in nobody but those who fit a rule, wherever certificates are asked for.
    fn let_in_only(&mut self, rule: &str) {
        self.daemon.reconfigure(|it| {
            for mode in MODES {
                let asks = asking(mode, &format!(", allow = [\"{rule}\"]"));
                it.listener(mode).lines = vec![TICKETS.to_owned(), asks];
            }
        });
        self.reload();
    }

    #[track_caller]
    fn reload(&self) {
        self.daemon.ctl(&["reload"]).answer();
    }
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let version = if self.tls12 { "1.2" } else { "1.3" };
        write!(f, "{} with TLS {version}", self.mode)
    }
}

/// Returns the line by which a listener asks for certificates, with more keys.
fn asking(mode: &str, keys: &str) -> String {
    match mode {
        "off" => String::new(),
        _ => format!(
            "client_auth = {{ mode = \"{mode}\", ca = \"clients.crt\", crl = \"clients.crl\"{keys} }}"
        ),
    }
}

#[test]
fn nothing_is_resumed_unless_it_is_asked_for() {
    let ca = Ca::new("servers");
    let daemon = TestDaemon::builder()
        .identity("default", &ca.leaf("localhost"))
        .start();
    for tls12 in [false, true] {
        let client = Client::new(&ca).old(tls12).resuming();
        for _ in 0..3 {
            let mut session = client.connect(daemon.address()).unwrap();
            session.echo("hello").unwrap();
            assert!(!session.is_resumed());
        }
    }
    assert_eq!(daemon.status()["listeners"][0]["resumption"], "off");
}

#[test]
fn a_session_is_gone_on_with_at_any_worker() {
    let front = Front::with(|it| it.workers(2));
    for guest in front.guests() {
        let busy = |pid: u64| {
            let status = front.daemon.status();
            let workers = status["workers"].as_array().unwrap();
            let it = workers.iter().find(|it| it["pid"] == pid).unwrap();
            it["connections"].as_u64().unwrap() > 0
        };
        let mut open = Vec::new();
        let workers = front.daemon.workers();
        until("both workers have a session", || {
            let session = front.try_session(&guest).unwrap();
            assert!(session.is_resumed(), "{guest:?}");
            open.push(session);
            workers.iter().all(|pid| busy(u64::from(*pid)))
        });
    }
    assert_eq!(
        front.daemon.status()["listeners"][0]["resumption"],
        "tickets"
    );
}

#[test]
fn openssl_goes_on_with_a_session() {
    let front = Front::new();
    let file = front.daemon.path("session");
    let file = file.to_str().unwrap();
    let address = front.daemon.address_of("off");
    let first = s_client(address, &["-tls1_2", "-sess_out", file]);
    assert!(first.stdout.contains("New, TLSv1.2"), "{first:?}");
    let second = s_client(address, &["-tls1_2", "-sess_in", file]);
    assert!(second.stdout.contains("Reused, TLSv1.2"), "{second:?}");
}

#[test]
fn a_session_outlives_the_worker() {
    let front = Front::new();
    let guests = front.guests();
    process::send(front.daemon.workers()[0], Signal::SIGKILL);
    front
        .daemon
        .await_status("another worker serves", |status| {
            status["restarts"]["total"] == 1 && status["workers"][0]["state"] == "serving"
        });
    for guest in guests {
        assert!(front.comes_back(&guest), "{guest:?}");
    }
}

#[test]
fn a_session_outlives_the_supervisor() {
    let mut front = Front::new();
    let guests = front.guests();
    front.daemon.signal(Signal::SIGKILL);
    front.daemon.wait_exit(PATIENCE);
    front.daemon.start();
    for guest in guests {
        assert!(front.comes_back(&guest), "{guest:?}");
    }
}

#[test]
fn a_reload_that_changes_nothing_ends_no_session() {
    let front = Front::new();
    let guests = front.guests();
    front.reload();
    for guest in guests {
        assert!(front.comes_back(&guest), "{guest:?}");
    }
}

#[test]
fn a_session_outlives_a_generation_that_does_not_concern_its_listener() {
    let mut front = Front::new();
    let guests = front.guests();
    let backend = front.daemon.backend.address();
    front.daemon.reconfigure(|it| {
        it.listeners.push(Listener::tcp("another", &backend));
    });
    front.reload();
    assert_eq!(front.daemon.status()["tls"]["generation"], 2);
    for guest in guests {
        assert!(front.comes_back(&guest), "{guest:?}");
    }
}

#[test]
fn no_session_outlives_the_certificate_that_it_was_begun_with() {
    let front = Front::new();
    let guests = front.guests();
    let files = front.daemon.files("default");
    files.put(&front.servers.leaf("localhost"));
    front.reload();
    for guest in guests {
        front.begins_anew(&guest);
    }
}

#[test]
fn no_session_outlives_a_change_of_authorities() {
    let front = Front::new();
    let guests = front.guests();
    let other = Ca::new("others");
    let path = front.daemon.path("clients.crt");
    replace(&path, [front.clients.pem(), other.pem()].concat());
    front.reload();
    for guest in &guests {
        match guest.mode {
            "off" => assert!(front.comes_back(guest), "{guest:?}"),
            _ => front.begins_anew(guest),
        }
    }
    replace(&path, other.pem());
    front.reload();
    for guest in &guests {
        match guest.mode {
            "off" => assert!(front.comes_back(guest), "{guest:?}"),
            _ => front.is_refused(guest, AlertDescription::UnknownCA),
        }
    }
}

#[test]
fn no_session_outlives_a_revocation() {
    let front = Front::new();
    let guests = front.guests();
    let path = front.daemon.path("clients.crl");
    let another = front.clients.leaf("another");
    replace(&path, front.clients.revoke(&[&another]));
    front.reload();
    for guest in guests.iter().filter(|it| it.mode != "off") {
        front.begins_anew(guest);
    }
    replace(&path, front.clients.revoke(&[&another, &front.leaf]));
    front.reload();
    for guest in guests {
        match guest.mode {
            "off" => assert!(front.comes_back(&guest), "{guest:?}"),
            _ => front.is_refused(&guest, AlertDescription::CertificateRevoked),
        }
    }
}

#[test]
fn no_session_outlives_a_change_of_who_is_let_in() {
    let mut front = Front::new();
    let guests = front.guests();
    let asked = || guests.iter().filter(|it| it.mode != "off");
    front.let_in_only("dns:*.example");
    for guest in asked() {
        front.begins_anew(guest);
    }
    front.let_in_only("cn:another");
    for guest in asked() {
        front.is_refused(guest, AlertDescription::AccessDenied);
    }
}

#[test]
fn no_session_outlives_a_change_of_policy() {
    let mut front = Front::new();
    let guests = front.guests();
    front.daemon.reconfigure(|it| {
        for mode in MODES {
            let asks = if mode == "optional" { "required" } else { mode };
            let tls =
                "tls = { resumption = \"tickets\", mode = \"required\", min_version = \"1.3\" }";
            it.listener(mode).lines = vec![tls.to_owned(), asking(asks, "")];
        }
    });
    front.reload();
    for guest in guests {
        if guest.tls12 {
            front.is_refused(&guest, AlertDescription::ProtocolVersion);
        } else {
            front.begins_anew(&guest);
        }
    }
}

#[test]
fn no_session_outlives_the_client_s_certificate() {
    let front = Front::new();
    let soon = front
        .clients
        .request(&["app.example"])
        .expiring_in(3)
        .issue();
    let guests: Vec<_> = ["optional", "required"]
        .into_iter()
        .flat_map(|mode| [false, true].map(|tls12| front.guest(mode, tls12, &soon)))
        .collect();
    for guest in &guests {
        // Unless the machine was too slow for that, they go on with their sessions first.
        let _ = front.try_session(guest);
    }
    for guest in &guests {
        let mut end = None;
        until("the certificate has expired", || {
            end = front.try_session(guest).err();
            end.is_some()
        });
        let end = alert(&end.unwrap());
        assert_eq!(end, AlertDescription::CertificateExpired, "{guest:?}");
    }
}

#[test]
fn a_session_of_one_listener_opens_no_other() {
    let front = Front::new();
    for tls12 in [false, true] {
        let anybody = Guest {
            client: Client::new(&front.servers).old(tls12).resuming(),
            mode: "off",
            tls12,
        };
        assert!(!front.comes_back(&anybody));
        assert!(front.comes_back(&anybody));
        let at_optional = Guest {
            mode: "optional",
            ..anybody
        };
        assert!(!front.comes_back(&at_optional), "{at_optional:?}");
        assert!(front.comes_back(&at_optional), "{at_optional:?}");
        let at_required = Guest {
            mode: "required",
            ..at_optional
        };
        front.is_refused(&at_required, AlertDescription::CertificateRequired);
    }
}

#[test]
fn tickets_of_a_daemon_that_has_ended_open_nothing() {
    let mut front = Front::new();
    let guests = front.guests();
    front.daemon.ctl(&["stop"]).answer();
    front.daemon.wait_exit(PATIENCE);
    front.daemon.start();
    for guest in guests {
        front.begins_anew(&guest);
    }
}
