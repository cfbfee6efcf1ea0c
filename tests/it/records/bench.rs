//! A daemon between a peer that makes its records by hand and one without TLS.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    io::{self, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
};

use rustls::{AlertDescription, SupportedCipherSuite};

pub(super) use super::pair::{BOTH, LEGS, Leg, ONLY_12, ONLY_13, Pair};
use crate::support::{
    client::{Client, Session, connect},
    configuration::Listener,
    daemon::TestDaemon,
    pki::Ca,
    raw_tls::{FATAL, How, RawTls, Server, WARNING},
    until,
};

/// A daemon with a listener for each [`Leg`], and a session beside those of the test, which has to
/// outlive them.
pub(super) struct Bench {
    daemon: TestDaemon,
    addresses: HashMap<&'static str, SocketAddr>,
    plain: Server,
    secure: Server,
    bystander: RefCell<Session>,
    ended: RefCell<HashMap<(Leg, String), u64>>,
    refused: Cell<u64>,
}

impl Bench {
    /// Starts one.
    pub(super) fn new() -> Self {
        Self::start(false, "tcp")
    }

    /// Starts one that has certificates for every suite of TLS 1.2.
    pub(super) fn for_every_suite() -> Self {
        Self::start(true, "tcp")
    }

    /// Starts one whose listeners speak this protocol.
    pub(super) fn speaking(protocol: &str) -> Self {
        Self::start(false, protocol)
    }

    fn start(every_suite: bool, protocol: &str) -> Self {
        let ca = Ca::new("authority");
        let plain = Server::new(&ca, false);
        let secure = Server::new(&ca, every_suite);
        let mut builder = TestDaemon::builder().identity("default", &ca.leaf("localhost"));
        if every_suite {
            let rsa = ca.request(&["localhost"]);
            let rsa = rsa.algorithm(&rcgen::PKCS_RSA_SHA256).issue();
            builder = builder.identity("rsa", &rsa);
        }
        let echo = builder.backend().address();
        let listener = |leg: Leg, server: &Server| {
            Listener::tcp(leg.name(), &server.address().to_string()).protocol(protocol)
        };
        let daemon = builder
            .listener(listener(Leg::Client, &plain))
            .listener(
                listener(Leg::Backend, &secure)
                    .line("tls = { mode = \"preferred\" }")
                    .line("backend_tls = { mode = \"require\" }"),
            )
            .listener(Listener::tcp("bystander", &echo))
            .start();
        let names = ["client", "backend", "bystander"];
        let addresses = HashMap::from(names.map(|it| (it, daemon.address_of(it))));
        let bystander = Client::new(&ca).connect(addresses["bystander"]).unwrap();
        Self {
            daemon,
            addresses,
            plain,
            secure,
            bystander: RefCell::new(bystander),
            ended: RefCell::default(),
            refused: Cell::new(0),
        }
    }

    /// Returns the daemon.
    pub(super) fn daemon(&self) -> &TestDaemon {
        &self.daemon
    }

    /// Connects to the listener of a leg, without saying anything.
    pub(super) fn dial(&self, leg: Leg) -> TcpStream {
        let socket = connect(self.addresses[leg.name()]).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// Returns what takes the daemon's connections to the backend of a leg.
    pub(super) fn server(&self, leg: Leg) -> &Server {
        match leg {
            Leg::Client => &self.plain,
            Leg::Backend => &self.secure,
        }
    }

    /// Opens a session with TLS in this suite on one leg.
    pub(super) fn open(&self, leg: Leg, suite: SupportedCipherSuite) -> Pair {
        const HELLO: &[u8] = b"hello";
        // It is shown when the test fails.
        let _ = writeln!(io::stderr(), "{leg:?} {:?}", suite.suite());
        let mut near = self.dial(leg);
        let mut pair = match leg {
            Leg::Client => {
                let raw = RawTls::connect(near, suite).unwrap();
                let far = self.plain.accept().unwrap();
                Pair { raw, far, leg }
            }
            Leg::Backend => {
                near.write_all(HELLO).unwrap();
                let socket = self.secure.accept().unwrap();
                let raw = self.secure.begin_tls(socket, suite).unwrap();
                Pair {
                    raw,
                    far: near,
                    leg,
                }
            }
        };
        match leg {
            Leg::Client => pair.up(HELLO),
            Leg::Backend => assert_eq!(pair.raw.hear_data(HELLO.len()).unwrap(), HELLO),
        }
        pair
    }

    /// Does something on both legs in each of these suites, after which the session goes on as before.
    #[track_caller]
    pub(super) fn lives(&self, suites: &[SupportedCipherSuite], act: impl Fn(&mut Pair)) {
        for leg in LEGS {
            for suite in suites {
                let mut pair = self.open(leg, *suite);
                act(&mut pair);
                self.finish(pair);
            }
        }
    }

    /// Sees that a session works, and ends it as it should be ended.
    #[track_caller]
    pub(super) fn finish(&self, mut pair: Pair) {
        pair.up(b"it goes on");
        pair.down(b"in both directions");
        pair.raw.close().unwrap();
        pair.raw.shut_down().unwrap();
        self.ends_well(pair);
    }

    /// Sees that a session ends as it should whose end with TLS was the first to close.
    #[track_caller]
    pub(super) fn ends_well(&self, mut pair: Pair) {
        pair.far_ends();
        drop(pair.far);
        let end = pair.raw.end().unwrap();
        let goodbye = (WARNING, AlertDescription::CloseNotify);
        assert_eq!((&end.alerts[..], end.how), (&[goodbye][..], How::Closed));
        assert_eq!(end.data, b"");
        self.counts(pair.leg, &pair.leg.reason("closed"));
    }

    /// Does something on both legs in each of these suites that ends the session, and for which the
    /// daemon sends this alert.
    #[track_caller]
    pub(super) fn dies(
        &self,
        suites: &[SupportedCipherSuite],
        alert: AlertDescription,
        act: impl Fn(&mut Pair),
    ) {
        for leg in LEGS {
            for suite in suites {
                let mut pair = self.open(leg, *suite);
                act(&mut pair);
                self.is_ended(pair, &[alert]);
            }
        }
    }

    /// Sees that the daemon ended a session because of what came by TLS, with these fatal alerts.
    #[track_caller]
    pub(super) fn is_ended(&self, mut pair: Pair, alerts: &[AlertDescription]) {
        let alerts: Vec<_> = alerts.iter().map(|alert| (FATAL, *alert)).collect();
        let end = pair.raw.end().unwrap();
        assert_eq!((end.alerts, end.how), (alerts, How::Closed));
        assert_eq!(end.data, b"");
        pair.far_ends();
        self.counts(pair.leg, &pair.leg.reason("tls"));
    }

    /// Sees that the daemon ended a session because of what came by TLS, with at most one alert, which is
    /// fatal.
    #[track_caller]
    pub(super) fn is_ended_somehow(&self, mut pair: Pair) {
        let end = pair.raw.end().unwrap();
        assert!(end.alerts.len() <= 1, "{end:?}");
        assert!(
            end.alerts.iter().all(|(level, _)| *level == FATAL),
            "{end:?}"
        );
        assert_eq!(end.data, b"");
        pair.far_ends();
        self.counts(pair.leg, &pair.leg.reason("tls"));
    }

    /// Notes that one more client was not let in.
    pub(super) fn refuses(&self) {
        self.refused.set(self.refused.get() + 1);
    }

    /// Waits until one more session is counted that ended for this reason.
    #[track_caller]
    pub(super) fn counts(&self, leg: Leg, reason: &str) {
        let mut ended = self.ended.borrow_mut();
        let expected = ended.entry((leg, reason.to_owned())).or_default();
        *expected += 1;
        until(&format!("{leg:?}: {reason} is counted"), || {
            let status = self.daemon.status();
            let mut listeners = status["listeners"].as_array().unwrap().iter();
            let listener = listeners.find(|it| it["name"] == leg.name()).unwrap();
            listener["connections"]["ended"][reason] == *expected
        });
    }
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench").finish_non_exhaustive()
    }
}

/// Whatever a test has sent, nothing else may have come to harm.
impl Drop for Bench {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let mut bystander = self.bystander.borrow_mut();
        bystander.echo("I was not involved").unwrap();
        let status = self.daemon.status();
        assert_eq!(status["restarts"]["total"], 0, "{status}");
        let listeners = status["listeners"].as_array().unwrap().iter();
        let refused = listeners.map(|it| it["connections"]["failed_handshakes"].as_u64().unwrap());
        assert_eq!(refused.sum::<u64>(), self.refused.get(), "{status}");
    }
}
