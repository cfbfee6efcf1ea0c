//! A daemon whose workers are killed, with a listener for each pair of legs.

use std::{
    net::TcpStream,
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
};

use nix::sys::signal::Signal;
use rustls::SupportedCipherSuite;
use serde_json::Value;
use socket2::SockRef;

use super::{
    end::{End, as_tcp},
    kind::{Kind, Medium},
    talk::Talk,
};
use crate::support::{
    PATIENCE,
    builder::Builder,
    client::connect,
    configuration::Listener,
    daemon::TestDaemon,
    pki::Ca,
    process,
    raw_tls::{RawTls, Server},
    until,
};

/// A daemon, its backends, and how many sessions were opened.
pub(super) struct Stage {
    /// Who issued its certificate.
    pub(super) ca: Ca,
    /// The daemon.
    pub(super) daemon: TestDaemon,
    plain: Server,
    secure: Server,
    unix_plain: UnixListener,
    unix_secure: UnixListener,
    opened: usize,
}

impl Stage {
    /// Starts a daemon with one worker.
    pub(super) fn new() -> Self {
        Self::with(&[], |it| it)
    }

    /// Starts a daemon whose listeners have these further lines, after `change` has changed the builder.
    pub(super) fn with(lines: &[&str], change: impl FnOnce(Builder) -> Builder) -> Self {
        let mut stage = Self::prepare(lines, change);
        stage.daemon.start();
        stage
    }

    /// Does the same, and does not start it.
    pub(super) fn prepare(lines: &[&str], change: impl FnOnce(Builder) -> Builder) -> Self {
        let ca = Ca::new("authority");
        let rsa = ca
            .request(&["localhost"])
            .algorithm(&rcgen::PKCS_RSA_SHA256)
            .issue();
        let builder = TestDaemon::builder()
            .identity("default", &ca.leaf("localhost"))
            .identity("rsa", &rsa);
        let (plain, secure) = (Server::new(&ca, false), Server::new(&ca, true));
        let listen = |name: &str| {
            let path = builder.folder().join(name);
            let listener = UnixListener::bind(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
            SockRef::from(&listener)
                .set_read_timeout(Some(PATIENCE))
                .unwrap();
            (listener, format!("unix:{}", path.display()))
        };
        let (unix_plain, at_plain) = listen("plain.sock");
        let (unix_secure, at_secure) = listen("secure.sock");
        let address_of = |medium, has_tls| match (medium, has_tls) {
            (Medium::Tcp, false) => plain.address().to_string(),
            (Medium::Tcp, true) => secure.address().to_string(),
            (Medium::Unix, false) => at_plain.clone(),
            (Medium::Unix, true) => at_secure.clone(),
        };
        let folder = builder.folder().to_owned();
        let listeners = Kind::every_listener().map(|(client, backend, has_tls)| {
            let name = Kind::listener_name(client, backend, has_tls);
            let mut listener = Listener::tcp(&name, &address_of(backend, has_tls))
                .line("tls = { mode = \"preferred\" }");
            if client == Medium::Unix {
                let path = folder.join(format!("{name}.sock"));
                listener = listener.bind(&format!("unix:{}", path.display()));
            }
            if has_tls {
                listener = listener.line("backend_tls = { mode = \"require\" }");
            }
            lines.iter().fold(listener, |it, line| it.line(line))
        });
        let builder = listeners.fold(builder, Builder::listener);
        Self {
            daemon: change(builder).prepare(),
            ca,
            plain,
            secure,
            unix_plain,
            unix_secure,
            opened: 0,
        }
    }

    /// Opens a session of this kind, behind a header if there is one.
    #[track_caller]
    pub(super) fn open(&mut self, kind: &Kind) -> Talk {
        let name = kind.listener();
        let near = match kind.client.medium {
            Medium::Tcp => {
                let socket = connect(self.daemon.address_of(&name)).unwrap();
                socket.set_nodelay(true).unwrap();
                socket
            }
            Medium::Unix => {
                let path = self.daemon.path(&format!("{name}.sock"));
                as_tcp(UnixStream::connect(path).unwrap())
            }
        };
        self.open_over(near, kind)
    }

    /// Opens a session over a connection that is there already.
    #[track_caller]
    pub(super) fn open_over(&mut self, near: TcpStream, kind: &Kind) -> Talk {
        let mut client = near_end(near, kind.client.tls);
        // Without TLS, the daemon cannot know before the first byte that there will be none.
        client.say(&[HELLO]).unwrap();
        let mut backend = self.accept(kind);
        let heard = backend.hear().unwrap();
        assert_eq!(heard, [HELLO], "{kind}");
        self.opened += 1;
        Talk::new(kind.to_string(), self.opened, client, backend)
    }

    /// Opens a session of each of these kinds.
    #[track_caller]
    pub(super) fn open_all(&mut self, kinds: &[Kind]) -> Vec<Talk> {
        kinds.iter().map(|kind| self.open(kind)).collect()
    }

    /// Takes the next connection to a backend.
    #[track_caller]
    fn accept(&self, kind: &Kind) -> End {
        let unix = |listener: &UnixListener| as_tcp(listener.accept().unwrap().0);
        let far = match (kind.backend.medium, kind.backend.tls) {
            (Medium::Tcp, None) => self.plain.accept().unwrap(),
            (Medium::Tcp, Some(_)) => self.secure.accept().unwrap(),
            (Medium::Unix, None) => unix(&self.unix_plain),
            (Medium::Unix, Some(_)) => unix(&self.unix_secure),
        };
        match kind.backend.tls {
            None => End::Plain(far),
            Some(suite) => End::Tls(Box::new(self.secure.begin_tls(far, suite).unwrap())),
        }
    }

    /// Waits until so many sessions outlive their worker.
    #[track_caller]
    pub(super) fn await_kept(&self, number: usize) {
        self.daemon.await_status("the sessions are kept", |status| {
            status["sessions"]["kept"] == number
        });
    }

    /// Waits until so many times a worker has taken a session over.
    #[track_caller]
    pub(super) fn await_taken_over(&self, total: usize) {
        self.daemon
            .await_status("the sessions are taken over", |status| {
                status["sessions"]["taken_over_total"] == total
            });
    }

    /// Waits until so many sessions are counted as lost.
    #[track_caller]
    pub(super) fn await_lost(&self, total: usize) {
        self.daemon.await_status("the sessions are lost", |status| {
            status["sessions"]["lost_total"] == total
        });
    }

    /// Ends all workers by this signal; returns their process ids.
    #[track_caller]
    pub(super) fn strike(&self, signal: Signal) -> Vec<u32> {
        let mut workers = Vec::new();
        until("there is a worker", || {
            workers = process::workers(self.daemon.pid());
            !workers.is_empty()
        });
        for worker in &workers {
            process::send(*worker, signal);
        }
        until("they are dead", || {
            !workers.iter().any(|pid| process::is_alive(*pid))
        });
        workers
    }

    /// Kills all workers.
    #[track_caller]
    pub(super) fn kill(&self) {
        self.strike(Signal::SIGKILL);
    }

    /// Kills this worker.
    #[track_caller]
    pub(super) fn kill_one(worker: u32) {
        process::send(worker, Signal::SIGKILL);
        until("it is dead", || !process::is_alive(worker));
    }

    /// Stops the first worker, which is killed by [`Self::kill_one`] later; returns its process id.
    #[track_caller]
    pub(super) fn stop_one(&self) -> u32 {
        let worker = self.daemon.workers()[0];
        process::send(worker, Signal::SIGSTOP);
        until("it is stopped", || process::state(worker) == Some('T'));
        worker
    }

    /// Returns what `proxyctl --json sessions` shows with these arguments.
    #[track_caller]
    pub(super) fn list(&self, arguments: &[&str]) -> Vec<Value> {
        let list = self.daemon.json(&[&["sessions"], arguments].concat());
        list.as_array().unwrap().clone()
    }

    /// Sees that no session was lost so far.
    #[track_caller]
    pub(super) fn lost_none(&self) {
        let status = self.daemon.status();
        assert_eq!(
            status["sessions"]["lost_total"], 0,
            "{}",
            status["sessions"]
        );
        assert_eq!(
            status["sandbox"]["denied_calls"], 0,
            "{}",
            status["sandbox"]
        );
    }
}

/// The first byte of each session.
const HELLO: u8 = b'h';

#[track_caller]
fn near_end(socket: TcpStream, tls: Option<SupportedCipherSuite>) -> End {
    match tls {
        None => End::Plain(socket),
        Some(suite) => End::Tls(Box::new(RawTls::connect(socket, suite).unwrap())),
    }
}
