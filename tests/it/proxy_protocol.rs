//! PROXY protocol headers, from load balancers and to backends.

// Whose headers are believed.
mod networks;
// What a backend is told about a client's TLS.
mod tls;

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    thread,
};

use crate::support::{
    client::{Client, Session, connect},
    configuration::Listener,
    daemon::TestDaemon,
    fake::{Balancer, Fake},
    front::{self, Front},
    openssl,
    pki::Ca,
    servers::{self, Kind, Tls},
    until,
};

/// What the second version begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The address of a client that is not on this machine (RFC 5737).
const FAR: (Ipv4Addr, u16) = (Ipv4Addr::new(203, 0, 113, 7), 4321);

/// Returns the header by which a balancer says that the client is [`FAR`].
fn far(version: u8) -> Vec<u8> {
    let (ip, port) = FAR;
    if version == 1 {
        return format!("PROXY TCP4 {ip} 198.51.100.1 {port} 3306\r\n").into_bytes();
    }
    v2(0x21, ip, port)
}

fn v2(command: u8, ip: Ipv4Addr, port: u16) -> Vec<u8> {
    [
        &SIGNATURE[..],
        &[command, 0x11, 0, 12],
        &ip.octets(),
        &[198, 51, 100, 1],
        &port.to_be_bytes(),
        &3306_u16.to_be_bytes(),
    ]
    .concat()
}

fn start(backend: &Fake, settings: &str) -> (Client, TestDaemon) {
    let ca = Ca::new("authority");
    let listener = Listener::tcp("main", &backend.address())
        .line(&format!("proxy_protocol = {{ {settings} }}"));
    let daemon = TestDaemon::builder()
        .identity("default", &ca.leaf("localhost"))
        .listener(listener)
        .start();
    (Client::new(&ca), daemon)
}

/// Connects with a header in front of everything, in segments of this length.
fn behind(client: &Client, daemon: &TestDaemon, header: &[u8], segment: usize) -> Session {
    let socket = connect(daemon.address()).unwrap();
    client.behind(header, segment, socket).unwrap()
}

/// Returns the client's end and the proxy's of a session.
fn ends(session: &mut Session) -> (SocketAddr, SocketAddr) {
    let (_, socket) = session.parts();
    (socket.local_addr().unwrap(), socket.peer_addr().unwrap())
}

#[test]
fn a_client_behind_a_header_of_either_version_is_served() {
    for version in [1, 2] {
        let backend = Fake::echo();
        let (client, daemon) = start(&backend, "accept = true");
        for segment in [usize::MAX, 1] {
            let mut session = behind(&client, &daemon, &far(version), segment);
            session.echo("hello").unwrap();
        }
        // The header was for the proxy.
        assert_eq!(backend.heard(), [b"hello\n".to_vec(), b"hello\n".to_vec()]);
    }
}

#[test]
fn a_header_that_names_nobody_is_good_too() {
    let backend = Fake::echo();
    let (client, daemon) = start(&backend, "accept = true");
    let nobody = [
        b"PROXY UNKNOWN\r\n".to_vec(),
        [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat(),
        [&SIGNATURE[..], &[0x21, 0, 0, 0]].concat(),
    ];
    for header in nobody {
        let mut session = behind(&client, &daemon, &header, usize::MAX);
        session.echo("hello").unwrap();
    }
}

#[test]
fn a_client_without_a_header_is_closed() {
    let backend = Fake::echo();
    let (client, daemon) = start(&backend, "accept = true");
    client.connect(daemon.address()).unwrap_err();
    until("the log says why", || {
        daemon.log().contains("does not begin with a PROXY header")
    });
    assert!(backend.heard().is_empty());
}

#[test]
fn a_client_with_a_broken_header_is_closed() {
    let backend = Fake::echo();
    let (_, daemon) = start(&backend, "accept = true");
    let broken = [
        b"PROXY TCP4 203.0.113.7 198.51.100.1 4321\r\n".to_vec(),
        b"PROXY TCP4 nowhere 198.51.100.1 4321 3306\r\n".to_vec(),
        [b"PROXY ", &[b'x'; 200][..]].concat(),
        [&SIGNATURE[..], &[0x31, 0x11, 0, 0]].concat(),
    ];
    for header in &broken {
        let mut socket = connect(daemon.address()).unwrap();
        socket.write_all(header).unwrap();
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
        assert_eq!(rest, b"");
    }
    daemon.await_status("all are counted", |status| {
        status["listeners"][0]["connections"]["failed_handshakes"] == broken.len()
    });
    assert!(backend.heard().is_empty());
}

#[test]
fn a_header_is_not_taken_where_none_is_expected() {
    let backend = Fake::echo();
    let (client, daemon) = start(&backend, "accept = false");
    let socket = connect(daemon.address()).unwrap();
    client.behind(&far(1), usize::MAX, socket).unwrap_err();
    assert!(backend.heard().is_empty());
}

#[test]
fn the_first_version_tells_the_backend_whom_it_talks_to() {
    let backend = Fake::echo();
    let (client, daemon) = start(&backend, "send = \"v1\"");
    let mut session = client.connect(daemon.address()).unwrap();
    let (source, destination) = ends(&mut session);
    let expected = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
        source.port(),
        destination.port()
    );
    until("it has arrived", || {
        backend.heard() == [expected.clone().into_bytes()]
    });
}

#[test]
fn the_second_version_tells_the_backend_whom_it_talks_to() {
    let backend = Fake::echo();
    let (client, daemon) = start(&backend, "send = \"v2\"");
    let mut session = client.connect(daemon.address()).unwrap();
    let (source, destination) = ends(&mut session);
    let expected = [
        &SIGNATURE[..],
        &[0x21, 0x11, 0, 12, 127, 0, 0, 1, 127, 0, 0, 1],
        &source.port().to_be_bytes(),
        &destination.port().to_be_bytes(),
    ]
    .concat();
    until("it has arrived", || {
        let mut heard = backend.heard().concat();
        heard.truncate(expected.len());
        // What follows is about TLS, which the length counts too.
        if let Some(length) = heard.get_mut(14..16) {
            length.copy_from_slice(&[0, 12]);
        }
        heard == expected
    });
}

#[test]
fn what_a_balancer_said_is_what_the_backend_is_told() {
    for (version, expected) in [("v1", far(1)), ("v2", far(2))] {
        let backend = Fake::echo();
        let settings = format!("accept = true, send = \"{version}\"");
        let (client, daemon) = start(&backend, &settings);
        for accepted in [1, 2] {
            let _session = behind(&client, &daemon, &far(accepted), usize::MAX);
        }
        until("both have arrived", || {
            let mut heard = backend.heard();
            for heard in heard.iter_mut().filter(|it| it.starts_with(SIGNATURE)) {
                // What follows is about TLS, which the length counts too.
                heard.truncate(expected.len());
                heard[14..16].copy_from_slice(&[0, 12]);
            }
            heard == [expected.clone(), expected.clone()]
        });
    }
}

#[test]
fn a_health_check_of_the_balancer_speaks_for_itself() {
    let backend = Fake::echo();
    let (client, daemon) = start(&backend, "accept = true, send = \"v1\"");
    let local = v2(0x20, FAR.0, FAR.1);
    let mut session = behind(&client, &daemon, &local, usize::MAX);
    let (source, _) = ends(&mut session);
    until("it has arrived", || {
        let heard = String::from_utf8(backend.heard().concat()).unwrap();
        heard.starts_with(&format!(
            "PROXY TCP4 127.0.0.1 127.0.0.1 {} ",
            source.port()
        ))
    });
}

#[test]
fn a_client_on_a_unix_socket_has_no_address_to_tell() {
    let backend = Fake::echo();
    let ca = Ca::new("authority");
    let builder = TestDaemon::builder().identity("default", &ca.leaf("localhost"));
    let path = builder.folder().join("front.sock");
    let listener = Listener::tcp("main", &backend.address())
        .bind(&format!("unix:{}", path.display()))
        .line("proxy_protocol = { send = \"v1\" }");
    let _daemon = builder.listener(listener).start();
    openssl::handshake(&["-unix", path.to_str().unwrap()]);
    until("the header has arrived", || {
        backend.heard().concat() == b"PROXY UNKNOWN\r\n"
    });
}

/// Lets `MariaDB` take headers from this machine; whoever sends none is served as before.
fn mariadb() -> Option<servers::Server> {
    let server = servers::mariadb()?;
    let sql = "SET GLOBAL proxy_protocol_networks = '127.0.0.1'";
    server.client().run(sql).answer();
    Some(server)
}

const WHO: &str = "SELECT host FROM information_schema.processlist WHERE id = CONNECTION_ID()";

#[test]
fn mariadb_understands_what_it_is_told() {
    let Some(server) = mariadb() else { return };
    for version in ["v1", "v2"] {
        for leg in ["plain", "verify-full"] {
            let settings = format!("proxy_protocol = {{ accept = true, send = \"{version}\" }}");
            let front =
                Front::with(|it| it.listener(front::listener(&server, leg).line(&settings)));
            let balancer = Balancer::new(front.daemon.address(), &far(1));
            let client = front
                .client(&server, leg)
                .at("127.0.0.1", balancer.address().port());
            let expected = format!("{}:{}", FAR.0, FAR.1);
            assert_eq!(client.run(WHO).answer(), expected, "{version} {leg}");
        }
    }
}

#[test]
fn mariadb_sees_the_client_and_not_the_proxy() {
    let Some(server) = mariadb() else { return };
    for version in ["v1", "v2"] {
        let settings = format!("proxy_protocol = {{ send = \"{version}\" }}");
        let front =
            Front::with(|it| it.listener(front::listener(&server, "plain").line(&settings)));
        let program = "
import pymysql, sys
port, user, password, query, ca = sys.argv[1:]
connection = pymysql.connect(host='127.0.0.1', port=int(port), user=user, password=password,
                             database='test', ssl={'ca': ca})
cursor = connection.cursor()
cursor.execute(query)
print(cursor.fetchone()[0] == '%s:%d' % connection._sock.getsockname())
";
        let port = front.port("plain").to_string();
        let ca = front.ca_file.to_str().unwrap();
        let arguments = [&port[..], server.user, server.password, WHO, ca];
        if let Some(outcome) = servers::python(program, &arguments) {
            assert_eq!(outcome.answer(), "True", "{version}");
        }
    }
}

#[test]
fn every_database_is_reached_through_a_balancer() {
    let all = [servers::mariadb(), servers::mysql(), servers::postgres()];
    for server in all.into_iter().flatten() {
        for version in [1, 2] {
            let front = Front::with(|it| {
                let accept = "proxy_protocol = { accept = true }";
                it.listener(front::listener(&server, "plain").line(accept))
            });
            let balancer = Balancer::new(front.daemon.address(), &far(version));
            let client = front
                .client(&server, "plain")
                .at("127.0.0.1", balancer.address().port());
            assert_eq!(client.run("SELECT 1").answer(), "1");
        }
    }
}

#[test]
fn no_database_is_reached_without_a_header_where_one_is_expected() {
    let all = [servers::mariadb(), servers::mysql(), servers::postgres()];
    let threads = all.into_iter().flatten().map(|server| {
        thread::spawn(move || {
            let front = Front::with(|it| {
                // MySQL's clients wait for the greeting, and the proxy for the header.
                let lines = "proxy_protocol = { accept = true }\n\
                             limits = { handshake_timeout = \"1s\" }";
                it.listener(front::listener(&server, "plain").line(lines))
            });
            let client = front.client(&server, "plain");
            let complaint = client.run("SELECT 1").complaint();
            assert!(!complaint.is_empty());
            if server.kind == Kind::Postgres {
                let plain = client.tls(Tls::Off).run("SELECT 1").complaint();
                assert!(plain.contains("closed the connection"), "{plain}");
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
}
