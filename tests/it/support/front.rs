//! A daemon in front of a real server, with a listener for each kind of connection between the two.

use std::{fs, path::PathBuf};

use super::{
    builder::Builder,
    configuration::Listener,
    daemon::TestDaemon,
    pki::{Ca, Files, Leaf, replace},
    servers::{Client, Kind, Server, Tls},
};

/// The kinds of connections between the proxy and a server, by which their listeners are called.
pub(crate) const LEGS: [&str; 5] = ["plain", "unix", "verify-full", "verify-ca", "require"];

/// Those of them that use TLS.
pub(crate) const TLS_LEGS: [&str; 3] = ["verify-full", "verify-ca", "require"];

/// The legs that a password in clear may take: `allowed` is one on which nobody can know that the
/// plaintext stays within the machine, with a configuration that does not mind.
pub(crate) const OPEN_LEGS: [&str; 6] = [
    "plain",
    "unix",
    "verify-full",
    "verify-ca",
    "require",
    "allowed",
];

/// The listeners of [`Front::with_same_leaf`]: the last shows the server's own certificate.
pub(crate) const SAME_LEAF_LEGS: [&str; 4] = ["plain", "unix", "verify-full", "same-leaf"];

/// Returns the listener of one of [`LEGS`] in front of a server, or of `network`, on which nobody can
/// know that the plaintext stays within the machine, or of `allowed` (see [`OPEN_LEGS`]).
pub(crate) fn listener(server: &Server, leg: &str) -> Listener {
    let protocol = match server.kind {
        Kind::Mariadb | Kind::Mysql => "mysql",
        Kind::Postgres => "postgres",
    };
    let ca = server.ca.display();
    let (backend, tls) = match leg {
        "plain" => (server.address(), None),
        "unix" => (server.socket_address(), None),
        // It reaches the same server, but not by an address that says so.
        "network" | "allowed" => (format!("0.0.0.0:{}", server.port), None),
        "require" => (server.address(), Some("{ mode = \"require\" }".to_owned())),
        mode => (
            server.address(),
            Some(format!("{{ mode = \"{mode}\", ca = \"{ca}\" }}")),
        ),
    };
    let listener = Listener::tcp(leg, &backend).protocol(protocol);
    match tls {
        None if leg == "allowed" => listener.line("allow_cleartext_password = true"),
        None => listener,
        Some(tls) => listener.line(&format!("backend_tls = {tls}")),
    }
}

/// A daemon in front of a real server.
pub(crate) struct Front {
    /// Who issued the proxy's certificate, which is good for `localhost` and `127.0.0.1`.
    pub(crate) ca: Ca,
    /// The proxy's certificate.
    pub(crate) leaf: Leaf,
    /// The file with the authority's certificate.
    pub(crate) ca_file: PathBuf,
    /// The daemon.
    pub(crate) daemon: TestDaemon,
}

impl Front {
    /// Starts one with a listener for each of [`LEGS`].
    pub(crate) fn new(server: &Server) -> Self {
        Self::with_legs(server, LEGS)
    }

    /// Starts one with a listener for each of these.
    pub(crate) fn with_legs<'leg>(
        server: &Server,
        legs: impl IntoIterator<Item = &'leg str>,
    ) -> Self {
        Self::with(|builder| {
            let legs = legs.into_iter();
            legs.fold(builder, |it, leg| it.listener(listener(server, leg)))
        })
    }

    /// Starts one in front of another, with TLS between the two, for each of these listeners.
    pub(crate) fn before<'leg>(
        inner: &Self,
        protocol: &str,
        legs: impl IntoIterator<Item = &'leg str>,
    ) -> Self {
        Self::with(|builder| {
            let ca = inner.ca_file.display();
            let tls = format!("backend_tls = {{ mode = \"verify-full\", ca = \"{ca}\" }}");
            legs.into_iter().fold(builder, |it, leg| {
                let backend = format!("127.0.0.1:{}", inner.port(leg));
                it.listener(Listener::tcp(leg, &backend).protocol(protocol).line(&tls))
            })
        })
    }

    /// Replaces the proxy's certificate by another of the same authority.
    pub(crate) fn renew(&self) {
        let leaf = self.ca.request(&["localhost", "127.0.0.1"]).issue();
        self.daemon.files("default").put(&leaf);
        self.daemon.ctl(&["reload-tls"]).answer();
    }

    /// Starts one with other listeners.
    pub(crate) fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let ca = Ca::new("authority");
        let leaf = ca.request(&["localhost", "127.0.0.1"]).issue();
        let daemon = change(TestDaemon::builder().identity("default", &leaf)).start();
        let ca_file = daemon.path("ca.crt");
        replace(&ca_file, ca.pem());
        Self {
            ca,
            leaf,
            ca_file,
            daemon,
        }
    }

    /// Starts one with a listener for each of [`SAME_LEAF_LEGS`], each with this line.
    pub(crate) fn with_same_leaf(server: &Server, line: &str) -> Self {
        Self::with(|it| {
            let folder = server.socket.parent().unwrap();
            let own = Files::of(it.folder(), "same-leaf");
            for (to, from) in [(own.cert, "server.pem"), (own.key, "server-key.pem")] {
                replace(&to, fs::read(folder.join(from)).unwrap());
            }
            let legs = SAME_LEAF_LEGS[..3].iter();
            let it = legs.fold(it.known_identity("same-leaf"), |it, leg| {
                let listener = listener(server, leg).line("identities = [\"default\"]");
                it.listener(listener.line(line))
            });
            let mut same = listener(server, "verify-full").line("identities = [\"same-leaf\"]");
            SAME_LEAF_LEGS[3].clone_into(&mut same.name);
            it.listener(same.line(line))
        })
    }

    /// Returns the port of a listener.
    pub(crate) fn port(&self, listener: &str) -> u16 {
        self.daemon.address_of(listener).port()
    }

    /// Returns the server's client, aimed at a listener with full verification.
    pub(crate) fn client<'server>(
        &self,
        server: &'server Server,
        listener: &str,
    ) -> Client<'server> {
        server
            .client()
            .at("127.0.0.1", self.port(listener))
            .tls(Tls::VerifyFull(self.ca_file.clone()))
    }
}

/// Returns a server as the other's client knows it.
pub(crate) fn with_client_of(server: &Server, other: &Server) -> Server {
    Server {
        kind: other.kind,
        client: other.client.clone(),
        ..server.clone()
    }
}
