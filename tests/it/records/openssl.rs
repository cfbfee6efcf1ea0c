//! OpenSSL's command on both sides of the daemon.

use std::{
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::Receiver,
    thread::{self, JoinHandle},
};

use super::bench::Leg;
use crate::support::{
    PATIENCE,
    configuration::Listener,
    daemon::TestDaemon,
    openssl::is_there,
    pki::{Ca, Files},
    ports::free_port,
    stream, until,
};

/// Every suite that the daemon knows, as OpenSSL calls them.
const SUITES: [&str; 9] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// A daemon with TLS on both legs.
pub(super) struct Front {
    pub(super) daemon: TestDaemon,
    port: u16,
}

impl Front {
    /// Starts one in front of a port where there may be nobody yet.
    pub(super) fn new(port: u16) -> Self {
        let ca = Ca::new("authority");
        let rsa = ca.request(&["localhost"]);
        let rsa = rsa.algorithm(&rcgen::PKCS_RSA_SHA256).issue();
        let listener = Listener::tcp("main", &format!("127.0.0.1:{port}"))
            .line("backend_tls = { mode = \"require\" }");
        let daemon = TestDaemon::builder()
            .identity("ec", &ca.leaf("localhost"))
            .identity("rsa", &rsa)
            .listener(listener)
            .start();
        Self { daemon, port }
    }

    /// Starts OpenSSL's server with this suite.
    fn server(&self, suite: &str, arguments: &[&str]) -> Child {
        let name = if suite.contains("RSA") && !suite.contains("ECDSA") {
            "rsa"
        } else {
            "ec"
        };
        let Files { cert, key } = self.daemon.files(name);
        let mut command = Command::new("openssl");
        command
            .args(["s_server", "-accept", &format!("127.0.0.1:{}", self.port)])
            .args(["-naccept", "1", "-cert"])
            .arg(cert)
            .arg("-key")
            .arg(key)
            .args(only(suite))
            .args(arguments);
        let child = spawn(&mut command);
        // To connect would take its only turn; so the kernel is asked.
        let port = format!(":{:04X} ", self.port);
        until("the server listens", || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let mut lines = table.lines();
            lines.any(|line| line.contains(&port) && line.contains(" 0A "))
        });
        child
    }

    /// Starts OpenSSL's client with this suite.
    fn client(&self, suite: &str, arguments: &[&str]) -> Child {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-connect", &self.daemon.address().to_string()])
            .args(["-servername", "localhost"])
            .args(only(suite))
            .args(arguments);
        spawn(&mut command)
    }

    /// Waits until so many sessions have ended for a reason, and none of a worker's faults.
    pub(super) fn counts(&self, reason: &str, number: u64) {
        let status = self.daemon.await_status("the end is counted", |status| {
            status["listeners"][0]["connections"]["ended"][reason] == number
        });
        assert_eq!(status["restarts"]["total"], 0, "{status}");
    }
}

/// The arguments that leave one suite.
fn only(suite: &str) -> Vec<&str> {
    if suite.starts_with("TLS_") {
        vec!["-tls1_3", "-ciphersuites", suite]
    } else {
        vec!["-tls1_2", "-cipher", suite]
    }
}

pub(super) fn spawn(command: &mut Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A program that is killed with its test.
pub(super) struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pattern(length: usize) -> Vec<u8> {
    let mut bytes = (0..=250).collect::<Vec<u8>>().repeat(length / 251 + 1);
    bytes.truncate(length);
    bytes
}

fn pour(child: &mut Child, length: usize) -> JoinHandle<ChildStdin> {
    let mut stdin = child.stdin.take().unwrap();
    thread::spawn(move || {
        stdin.write_all(&pattern(length)).unwrap();
        stdin
    })
}

fn take(child: &mut Child, length: usize) -> JoinHandle<()> {
    let mut stdout = child.stdout.take().unwrap();
    thread::spawn(move || {
        let mut heard = vec![0; length];
        stdout.read_exact(&mut heard).unwrap();
        assert!(heard == pattern(length), "it came changed");
    })
}

#[test]
fn four_mebibytes_come_whole_both_ways_between_s_client_and_s_server_in_every_suite() {
    const ALL: usize = 4 << 20;
    if !is_there() {
        return;
    }
    let front = Front::new(free_port());
    for suite in SUITES {
        let mut server = Killed(front.server(suite, &["-quiet"]));
        let mut client = Killed(front.client(suite, &["-quiet"]));
        let poured = [pour(&mut client.0, ALL), pour(&mut server.0, ALL)];
        let taken = [take(&mut client.0, ALL), take(&mut server.0, ALL)];
        for taken in taken {
            taken.join().expect(suite);
        }
        for poured in poured {
            poured.join().expect(suite);
        }
    }
}

/// A program of OpenSSL's that is told what to do line by line.
pub(super) struct Told {
    _child: Killed,
    stdin: ChildStdin,
    pub(super) stdout: Receiver<String>,
    pub(super) stderr: Receiver<String>,
}

impl From<Child> for Told {
    fn from(mut child: Child) -> Self {
        Self {
            stdin: child.stdin.take().unwrap(),
            stdout: stream::receive(child.stdout.take().unwrap()),
            stderr: stream::receive(child.stderr.take().unwrap()),
            _child: Killed(child),
        }
    }
}

impl Told {
    /// Gives it a line in one piece: what it reads at once is either a command or something to be said.
    pub(super) fn tell(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.stdin.write_all(line.as_bytes()).unwrap();
    }

    /// Waits for a line on standard output.
    #[track_caller]
    fn says(&self, text: &str) {
        await_line(&self.stdout, text);
    }

    /// Waits for a line on standard error.
    #[track_caller]
    fn complains(&self, text: &str) {
        await_line(&self.stderr, text);
    }
}

#[track_caller]
fn await_line(lines: &Receiver<String>, text: &str) {
    let mut before = Vec::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if line.contains(text) => return,
            Ok(line) => before.push(line),
            Err(error) => panic!("no {text:?} ({error}) but {before:#?}"),
        }
    }
}

/// Starts both, which tell of the messages of TLS, and has them say something.
fn both(front: &Front, suite: &str) -> (Told, Told) {
    let mut server = Told::from(front.server(suite, &["-msg"]));
    let mut client = Told::from(front.client(suite, &["-msg"]));
    talk(&mut client, &mut server);
    (client, server)
}

#[track_caller]
fn talk(one: &mut Told, other: &mut Told) {
    one.tell("a question");
    other.says("a question");
    other.tell("an answer");
    one.says("an answer");
}

/// Has one of them change its keys, with a request for the same of the daemon or without, and both say
/// something.
#[track_caller]
fn change_keys(asking: &mut Told, other: &mut Told, command: &str) {
    asking.tell(command);
    asking.says(">>> TLS 1.3, Handshake [length 0005], KeyUpdate");
    asking.tell("a question");
    other.says("a question");
    other.tell("an answer");
    if command == "K" {
        asking.says("<<< TLS 1.3, Handshake [length 0005], KeyUpdate");
    }
    asking.says("an answer");
}

#[test]
fn openssl_changes_keys_on_either_side_in_every_suite() {
    if !is_there() {
        return;
    }
    let front = Front::new(free_port());
    for suite in &SUITES[..3] {
        let (mut client, mut server) = both(&front, suite);
        for _ in 0..3 {
            for command in ["k", "K"] {
                change_keys(&mut client, &mut server, command);
                change_keys(&mut server, &mut client, command);
            }
        }
    }
}

/// The client's first group is one that the daemon does not have, and the server's only one is not the
/// daemon's first.
#[test]
fn a_session_behind_a_hello_retry_request_goes_on() {
    if !is_there() {
        return;
    }
    let front = Front::new(free_port());
    let groups = ["-msg", "-groups", "P-521:P-384"];
    let mut server = Told::from(front.server(SUITES[1], &["-msg", "-groups", "P-384"]));
    let mut client = Told::from(front.client(SUITES[1], &groups));
    for hello in ["ClientHello", "ServerHello", "ClientHello", "ServerHello"] {
        client.says(hello);
    }
    talk(&mut client, &mut server);
    for command in ["k", "K"] {
        change_keys(&mut client, &mut server, command);
        change_keys(&mut server, &mut client, command);
    }
}

/// OpenSSL takes the refusal for the end.
#[test]
fn openssl_is_refused_a_renegotiation_on_either_side() {
    if !is_there() {
        return;
    }
    for leg in [Leg::Client, Leg::Backend] {
        let front = Front::new(free_port());
        let (mut client, mut server) = both(&front, "ECDHE-ECDSA-AES128-GCM-SHA256");
        let asking = match leg {
            Leg::Client => &mut client,
            Leg::Backend => &mut server,
        };
        asking.tell(if leg == Leg::Client { "R" } else { "r" });
        asking.complains("no renegotiation");
        front.counts(&leg.reason("tls"), 1);
    }
}

#[test]
fn an_end_that_s_client_says_reaches_s_server() {
    if !is_there() {
        return;
    }
    let front = Front::new(free_port());
    for (suite, number) in [(SUITES[1], 1), (SUITES[3], 2)] {
        let (mut client, server) = both(&front, suite);
        client.tell("Q");
        server.says("DONE");
        front.counts("client_closed", number);
    }
}
