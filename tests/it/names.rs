use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs as _},
    path::Path,
    time::Duration,
};

use crate::support::names::{NameServer, Says, has_own_names, lead_to};

const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const OTHER: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Looks up a name as this process does it; returns its addresses in their order.
fn lookup(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = (name, 0).to_socket_addrs();
    let mut found: Vec<_> = found
        .map_err(|error| error.to_string())?
        .map(|it| it.ip())
        .collect();
    found.sort();
    Ok(found)
}

#[test]
fn the_name_server_of_the_tests_does_as_it_is_told() {
    if !has_own_names("names::the_name_server_of_the_tests_does_as_it_is_told") {
        return;
    }
    let quick = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
    fs::write("/etc/resolv.conf", quick).unwrap();
    let server = NameServer::start();
    let no_name = "Name or service not known";
    assert!(lookup("db.test").unwrap_err().contains(no_name));
    server.set("db.test", Says::Addresses(vec![FIRST, OTHER, SECOND]));
    assert_eq!(lookup("db.test"), Ok(vec![FIRST, SECOND, OTHER]));
    server.set(
        "db.test",
        Says::Late(Duration::from_millis(300), vec![SECOND]),
    );
    assert_eq!(lookup("db.test"), Ok(vec![SECOND]));
    let later = "Temporary failure in name resolution";
    for says in [
        Says::Nothing,
        Says::Rubbish,
        Says::Stray(vec![FIRST]),
        Says::Failure,
    ] {
        server.set("db.test", says.clone());
        let told = lookup("db.test").unwrap_err();
        assert!(told.contains(later), "{says:?}: {told}");
    }
    assert!(server.asked("db.test") >= 7);
    lead_to(Path::new("/run/connman/resolv.conf"));
    server.set("db.test", Says::Addresses(vec![FIRST]));
    assert_eq!(lookup("db.test"), Ok(vec![FIRST]));
}
