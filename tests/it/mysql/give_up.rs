//! Clients that give up before they have logged in, and what the server thinks of the proxy for it.
//!
//! Servers count only what comes from another host whose name they can find out. So these tests run in
//! a network of their own, in which the server has an address and a name that are not loopback's.

use std::io::{Read as _, Write as _};

use crate::support::{
    client::{Client, Session, connect},
    configuration::Listener,
    front::Front,
    inside::{ADDRESS, is_in_own_network},
    own_server::OwnServer,
    servers::{self, Server},
    until,
    wire::{login, mysql_ssl_request, packet, read_packet},
};

/// How many clients give up in each way; the server would block their host after three.
const CLIENTS: usize = 20;

/// Waits until nobody is left who has not logged in.
fn settle(server: &OwnServer) {
    let sql = "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
               WHERE USER IN ('unauthenticated user', 'login')";
    until("all logins are over", || server.ask(sql) == "0");
}

/// What clients do before they give up.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// They connect.
    Connect,
    /// They read the greeting.
    Greeting,
    /// They say something that is no login.
    Junk,
    /// They log in without TLS, which is refused.
    Plain,
    /// They ask for TLS.
    Request,
    /// They ask for TLS and say something else.
    BadTls,
    /// They begin TLS.
    Tls,
    /// They log in and do not answer the server's question.
    Login,
    /// They say nothing until the proxy loses its patience.
    Wait,
}

const WAYS: [Way; 9] = [
    Way::Connect,
    Way::Greeting,
    Way::Junk,
    Way::Plain,
    Way::Request,
    Way::BadTls,
    Way::Tls,
    Way::Login,
    Way::Wait,
];

fn tls(front: &Front, socket: std::net::TcpStream) -> Session {
    let client = Client::new(&front.ca);
    let session = client.behind(&mysql_ssl_request(), usize::MAX, socket);
    session.unwrap()
}

fn give_up(front: &Front, leg: &str, way: Way) {
    let mut socket = connect(front.daemon.address_of(leg)).unwrap();
    if matches!(way, Way::Connect) {
        return;
    }
    read_packet(&mut socket).unwrap();
    match way {
        Way::Connect | Way::Greeting | Way::Wait => {}
        Way::Junk => socket.write_all(&packet(1, b"what?")).unwrap(),
        Way::Plain => socket.write_all(&login(false, "somebody")).unwrap(),
        Way::Request => socket.write_all(&mysql_ssl_request()).unwrap(),
        Way::BadTls => {
            socket.write_all(&mysql_ssl_request()).unwrap();
            socket.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        }
        Way::Tls => drop(tls(front, socket.try_clone().unwrap())),
        Way::Login => {
            let mut session = tls(front, socket.try_clone().unwrap());
            session.send(&login(true, "somebody")).unwrap();
            read_packet(&mut session).unwrap();
        }
    }
    if matches!(way, Way::Junk | Way::Plain | Way::BadTls) {
        // What it is told is another test's concern.
        let _ = socket.read_to_end(&mut Vec::new());
    }
}

/// Lets clients wait, all at one time, until the proxy sends them away.
fn wait(front: &Front, leg: &str) {
    let address = front.daemon.address_of(leg);
    let sockets: Vec<_> = (0..CLIENTS).map(|_| connect(address).unwrap()).collect();
    for mut socket in sockets {
        let _ = socket.read_to_end(&mut Vec::new());
    }
}

fn nobody_is_blocked(known: Option<Server>) {
    let Some(known) = known else { return };
    // It is as impatient as the proxy.
    let options = ["--max-connect-errors=3", "--connect-timeout=2"];
    let strict = OwnServer::start(&known, ADDRESS, &options);
    let backend = format!("{ADDRESS}:{}", strict.server.port);
    let legs = [
        ("plain", ""),
        ("require", "backend_tls = { mode = \"require\" }"),
    ];
    let front = Front::with(|it| {
        legs.into_iter().fold(it, |it, (leg, line)| {
            let listener = Listener::tcp(leg, &backend).protocol("mysql").line(line);
            it.listener(listener.line("limits = { handshake_timeout = \"2s\" }"))
        })
    });
    for (leg, _) in legs {
        for way in WAYS {
            // A login that succeeds makes the server forget what it has counted.
            strict.ask("SET GLOBAL host_cache_size = 0; SET GLOBAL host_cache_size = 128");
            match way {
                Way::Wait => wait(&front, leg),
                way => (0..CLIENTS).for_each(|_| give_up(&front, leg, way)),
            }
            settle(&strict);
            let client = front.client(&strict.server, leg);
            let outcome = client.run("SELECT 'let in'");
            assert!(outcome.is_success(), "{leg} {way:?}: {outcome:#?}");
        }
    }
    // The server does count: whoever comes past the proxy is blocked.
    let direct = || {
        connect(
            (
                ADDRESS.parse::<std::net::IpAddr>().unwrap(),
                strict.server.port,
            )
                .into(),
        )
    };
    for _ in 0..CLIENTS {
        read_packet(&mut direct().unwrap()).unwrap();
    }
    until("the server blocks this host", || {
        let (_, first) = read_packet(&mut direct().unwrap()).unwrap();
        first[0] == 0xff
    });
}

#[test]
fn clients_of_mariadb_that_give_up_do_not_get_the_proxy_blocked() {
    let test = "mysql::give_up::clients_of_mariadb_that_give_up_do_not_get_the_proxy_blocked";
    if is_in_own_network(test) {
        nobody_is_blocked(servers::mariadb());
    }
}

#[test]
fn clients_of_a_newer_mariadb_that_give_up_do_not_get_the_proxy_blocked() {
    let test =
        "mysql::give_up::clients_of_a_newer_mariadb_that_give_up_do_not_get_the_proxy_blocked";
    if is_in_own_network(test) {
        nobody_is_blocked(servers::mariadb_newer());
    }
}

#[test]
fn clients_of_mysql_that_give_up_do_not_get_the_proxy_blocked() {
    let test = "mysql::give_up::clients_of_mysql_that_give_up_do_not_get_the_proxy_blocked";
    if is_in_own_network(test) {
        nobody_is_blocked(servers::mysql());
    }
}
