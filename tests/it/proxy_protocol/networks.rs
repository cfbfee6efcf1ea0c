//! Whose headers are believed.

use std::io::{Read as _, Write as _};

use super::{FAR, SIGNATURE, behind, ends, far, start, v2};
use crate::support::{
    client::connect,
    configuration::Listener,
    daemon::TestDaemon,
    fake::Fake,
    pki::Ca,
    until,
    wire::{greeting, read_packet},
};

/// Networks, one of which this machine is in.
const LISTED: &str = "accept = true, from = [\"192.0.2.0/24\", \"127.0.0.0/8\"]";

/// Networks that this machine is not in.
const ELSEWHERE: &str = "accept = true, from = [\"192.0.2.0/24\", \"2001:db8::1\"]";

#[test]
fn a_header_from_a_listed_network_is_believed() {
    let backend = Fake::echo();
    let (client, daemon) = start(&backend, &format!("{LISTED}, send = \"v1\""));
    let mut session = behind(&client, &daemon, &far(2), usize::MAX);
    session.send(b"hello").unwrap();
    let expected = [far(1), b"hello".to_vec()].concat();
    until("the backend knows of the client", || {
        backend.heard() == [expected.clone()]
    });
}

#[test]
fn nobody_of_a_listed_network_is_served_without_a_header() {
    let backend = Fake::echo();
    let (client, daemon) = start(&backend, LISTED);
    client.connect(daemon.address()).unwrap_err();
    until("the log says why", || {
        daemon.log().contains("does not begin with a PROXY header")
    });
    assert!(backend.heard().is_empty());
}

#[test]
fn whoever_is_not_listed_speaks_for_itself() {
    let backend = Fake::echo();
    let (client, daemon) = start(&backend, &format!("{ELSEWHERE}, send = \"v1\""));
    let mut session = client.connect(daemon.address()).unwrap();
    let (source, destination) = ends(&mut session);
    let expected = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
        source.port(),
        destination.port()
    );
    until("the backend knows of the client", || {
        backend.heard().concat() == expected.as_bytes()
    });
}

#[test]
fn a_header_from_elsewhere_is_refused() {
    let backend = Fake::echo();
    let (client, daemon) = start(&backend, ELSEWHERE);
    for (number, header) in [far(1), far(2), v2(0x20, FAR.0, FAR.1)].iter().enumerate() {
        for segment in [usize::MAX, 1] {
            let socket = connect(daemon.address()).unwrap();
            client.behind(header, segment, socket).unwrap_err();
        }
        until("the log says why", || {
            daemon.log().matches("does not list it").count() == 2 * (number + 1)
        });
    }
    assert!(backend.heard().is_empty());
    assert!(!daemon.log().contains(&FAR.0.to_string()));
}

#[test]
fn a_header_from_elsewhere_is_refused_after_a_greeting_too() {
    for (settings, why) in [
        (ELSEWHERE, "does not list it"),
        ("accept = false", "`proxy_protocol.accept` is not set"),
    ] {
        let backend = Fake::saying(&greeting());
        let ca = Ca::new("authority");
        let listener = Listener::tcp("main", &backend.address())
            .protocol("mysql")
            .line(&format!("proxy_protocol = {{ {settings} }}"));
        let daemon = TestDaemon::builder()
            .identity("default", &ca.leaf("localhost"))
            .listener(listener)
            .start();
        for header in [far(1), far(2)] {
            let mut socket = connect(daemon.address()).unwrap();
            socket.write_all(&header).unwrap();
            read_packet(&mut socket).unwrap();
            let (_, error) = read_packet(&mut socket).unwrap();
            assert_eq!(error[0], 0xff);
        }
        until("the log says why", || daemon.log().contains(why));
        let heard = backend.heard().concat();
        assert!(!heard.windows(5).any(|it| it == b"PROXY"), "{heard:?}");
    }
}

#[test]
fn a_header_that_was_changed_on_its_way_is_refused() {
    let backend = Fake::echo();
    let (_, daemon) = start(&backend, LISTED);
    let mut header = v2(0x21, FAR.0, FAR.1);
    header[15] += 7;
    header.extend_from_slice(&[3, 0, 4, 1, 2, 3, 4]);
    assert!(header.starts_with(SIGNATURE));
    let mut socket = connect(daemon.address()).unwrap();
    socket.write_all(&header).unwrap();
    let _ = socket.read_to_end(&mut Vec::new());
    until("the log says why", || {
        daemon.log().contains("does not fit its checksum")
    });
}

#[test]
fn log_lines_name_the_client_and_its_balancer() {
    let backend = Fake::echo();
    let (_, daemon) = start(&backend, LISTED);
    let mut socket = connect(daemon.address()).unwrap();
    let balancer = socket.local_addr().unwrap();
    socket
        .write_all(&[far(2), b"not TLS".to_vec()].concat())
        .unwrap();
    let _ = socket.read_to_end(&mut Vec::new());
    let expected = format!("client={}:{} via={balancer}", FAR.0, FAR.1);
    until("the log names both", || daemon.log().contains(&expected));
}
