//! Servers of each kind, good and bad.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv6Addr, Shutdown, TcpListener},
    process::Stdio,
};

use nix::sys::signal::Signal;

use super::{Prober, SHORT, probe};
use crate::support::{
    backend::Closed,
    builder::Builder,
    configuration::Listener,
    daemon::TestDaemon,
    fake::{Fake, Heard, TlsEnd, TlsFake},
    pki::{Ca, Leaf},
    process,
    program::{clean_command, spawn},
    until,
};

/// Starts a server with this certificate; returns it, and where it is by name.
fn server(leaf: &Leaf) -> (TlsFake, String) {
    let server = TlsFake::new(leaf, None);
    let address = format!("localhost:{}", server.port());
    (server, address)
}

#[test]
fn a_good_server_is_told_whole_and_left_properly() {
    let ca = Ca::new("root");
    let leaf = ca.leaf("localhost");
    let (server, _) = server(&leaf);
    let prober = Prober::new(&ca);
    let told = prober.ok(&format!("--name localhost {}", server.address()));
    assert_eq!(told["address"], server.address());
    assert_eq!(told["protocol"], "tcp");
    assert_eq!(told["tls"]["version"], "TLSv1.3");
    assert_eq!(told["tls"]["group"], "X25519MLKEM768");
    assert_eq!(told["verified"], true);
    assert_eq!(told["days_left"], 89);
    assert_eq!(told["sha256"], leaf.sha256);
    assert_eq!(told["chain"][0]["serial"], leaf.serial());
    assert_eq!(told["asks_for_client_certificate"], false);
    assert_eq!(server.seen()[0].name.as_deref(), Some("localhost"));
    until("the server was told", || server.ends() == [TlsEnd::Told]);
    let text = prober
        .run(&format!("--name localhost {}", server.address()))
        .answer();
    let line = format!("PROXYD OK - 1 server, first expiry: {}", server.address());
    assert!(text.starts_with(&line), "{text}");
    assert!(text.contains(&leaf.sha256), "{text}");
}

#[test]
fn what_clients_refuse_is_critical_and_shown_all_the_same() {
    let (ca, stranger) = (Ca::new("root"), Ca::new("stranger"));
    let middle = ca.intermediate("middle");
    let prober = Prober::new(&ca);
    for (leaf, because) in [
        (
            ca.request(&["localhost"]).valid(-20, -10).issue(),
            "expired at",
        ),
        (
            ca.request(&["localhost"]).valid(10, 20).issue(),
            "is not valid before",
        ),
        (
            ca.leaf("other.example"),
            "not for localhost, but for other.example",
        ),
        (stranger.leaf("localhost"), "unknown issuer: CN=stranger"),
        (ca.request(&["localhost"]).self_signed(), "unknown issuer"),
        (
            middle.leaf("localhost"),
            "sends no intermediate certificate",
        ),
    ] {
        let (_server, address) = server(&leaf);
        let told = prober.critical(&address, because);
        assert_eq!(told["verified"], false);
        assert_eq!(told["reached"], true);
        assert_eq!(told["sha256"], leaf.sha256, "{because}");
    }
    let (_server, address) = server(&ca.leaf("localhost"));
    prober.critical(
        &format!("--name db1.example {address}"),
        "not for db1.example",
    );
    let own = probe(&format!("--json probe {address}"));
    // A machine without authorities of its own cannot judge at all.
    assert!([2, 3].contains(&own.code()), "{own:#?}");
    assert!(own.stdout.contains("--ca"), "{own:#?}");
}

#[test]
fn little_time_left_is_a_warning_and_less_is_critical() {
    let ca = Ca::new("root");
    let (_server, address) = server(&ca.request(&["localhost"]).valid(-1, 20).issue());
    let prober = Prober::new(&ca);
    for (thresholds, code) in [
        ("--warn 10d --critical 5d", 0),
        ("--warn 30d --critical 7d", 1),
        ("--warn 30d --critical 25d", 2),
        ("--warn 5d --critical 25d", 2),
    ] {
        let outcome = prober.run(&format!("{thresholds} {address}"));
        assert_eq!(outcome.code(), code, "{outcome:#?}");
    }
    let backwards = prober.run(&format!("--warn 5d --critical 25d {address}"));
    assert!(backwards.complaint().contains("exchange them"));
}

#[test]
fn a_server_that_asks_for_a_certificate_shows_its_own() {
    let ca = Ca::new("root");
    let server = TlsFake::new(&ca.leaf("127.0.0.1"), Some(&ca));
    let told = Prober::new(&ca).ok(&server.address());
    assert_eq!(told["asks_for_client_certificate"], true);
    assert_eq!(told["verified"], true);
}

#[test]
fn what_is_no_tls_server_is_told_in_words_and_in_time() {
    let prober = Prober::new(&Ca::new("root"));
    let mut greeting = vec![0x4a, 0, 0, 0, 10];
    greeting.extend_from_slice(b"8.0.36\0 and so on");
    let says = Fake::saying;
    let silent = Fake::new(Heard::listen);
    let closes = Fake::new(|it| it.stream().shutdown(Shutdown::Both));
    let endless = Fake::new(|it| {
        loop {
            it.write_all(&[0x16, 3, 3, 0, 0])?;
        }
    });
    for (server, protocol, because) in [
        (
            &says(b"HTTP/1.1 400 Bad Request\r\n"),
            "tcp",
            "it says \\\"HTTP/1.1 400",
        ),
        (&says(&greeting), "tcp", "use --protocol mysql"),
        (&says(&greeting), "postgres", "use --protocol mysql"),
        (&says(&[0xff; 64]), "tcp", "it sends the bytes ff ff"),
        (&says(&[0xff; 64]), "mysql", "it sends the bytes ff ff"),
        (&says(&[21, 3, 3, 0, 2, 2, 40]), "tcp", "handshake_failure"),
        (&says(&[21, 3, 1, 0, 2, 2, 70]), "tcp", "older TLS"),
        (&says(b"N"), "postgres", "it offers no TLS"),
        (&says(b"SSSS"), "postgres", "unencrypted bytes"),
        (&silent, "tcp", "not over in time"),
        (&silent, "mysql", "no greeting in time"),
        (
            &silent,
            "postgres",
            "no answer to PostgreSQL's request for TLS in time",
        ),
        (&closes, "tcp", "closes the connection during the handshake"),
        (&closes, "mysql", "without a greeting"),
        (&closes, "postgres", "without an answer"),
        (&endless, "tcp", "TLS"),
    ] {
        let arguments = format!(
            "--timeout {SHORT:?} --protocol {protocol} {}",
            server.address()
        );
        let told = prober.critical(&arguments, because);
        assert!(
            told["sha256"].is_null() && told["verified"].is_null(),
            "{told:#}"
        );
    }
    let nowhere = Closed::new();
    prober.critical(
        &nowhere.address().to_string(),
        "not reachable: connection refused",
    );
    prober.critical("name.invalid:443", "not reachable: its name");
    prober.critical("unix:/nonexistent/socket", "not reachable: no such file");
}

#[test]
fn an_interrupt_ends_a_probe_at_once() {
    let silent = Fake::new(Heard::listen);
    let prober = Prober::new(&Ca::new("root"));
    let mut command = clean_command(env!("CARGO_BIN_EXE_proxyctl"));
    let ca = prober.ca.display().to_string();
    command
        .args(["--timeout", "1h", "probe", "--ca", &ca, &silent.address()])
        .stdin(Stdio::null());
    let mut child = spawn(&mut command);
    until("the server is asked", || {
        silent.heard().iter().any(|it| !it.is_empty())
    });
    process::send(child.id(), Signal::SIGINT);
    let status = child.wait().unwrap();
    assert!(!status.success());
    let mut told = String::new();
    child.stdout.unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(told, "");
}

#[test]
fn servers_are_found_at_every_kind_of_address() {
    let ca = Ca::new("root");
    let prober = Prober::new(&ca);
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        crate::support::skip("this machine has no IPv6");
        return;
    };
    let address = listener.local_addr().unwrap().to_string();
    let _server = TlsFake::over(listener, &ca.leaf("::1"), None);
    let told = prober.ok(&address);
    assert_eq!(told["peer"], address);
    assert_eq!(told["name"], "::1");
}

#[test]
fn listeners_of_proxyd_are_servers_like_others() {
    let ca = Ca::new("root");
    let middle = ca.intermediate("middle");
    let mut leaf = middle.leaf("localhost");
    leaf.cert.push_str(middle.pem());
    let builder = TestDaemon::builder().identity("default", &leaf);
    let socket = builder.folder().join("front");
    let backend = builder.backend().address().clone();
    let listeners = [
        Listener::tcp("tcp", &backend),
        Listener::tcp("postgres", &backend).protocol("postgres"),
        Listener::tcp("unix", &backend).bind(&format!("unix:{}", socket.display())),
    ];
    let daemon = listeners
        .into_iter()
        .fold(builder, Builder::listener)
        .start();
    let prober = Prober::new(&ca);
    for (protocol, address) in [
        ("tcp", daemon.address_of("tcp").to_string()),
        ("postgres", daemon.address_of("postgres").to_string()),
        ("tcp", format!("unix:{}", socket.display())),
    ] {
        let arguments = format!("--protocol {protocol} --name localhost {address}");
        let told = prober.ok(&arguments);
        assert_eq!(told["chain"].as_array().unwrap().len(), 2);
        assert_eq!(told["sha256"], leaf.sha256);
    }
    let nameless = prober.ok(&format!("unix:{}", socket.display()));
    assert!(nameless["name"].is_null());
}
