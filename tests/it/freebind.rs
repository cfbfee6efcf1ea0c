//! Listeners at addresses that the machine does not have yet.

use crate::support::{
    builder::Builder,
    client::{Client, connect},
    configuration::Listener,
    inside::Place,
    program::clean_command,
    scene::Scene,
    skip,
};

#[test]
fn a_listener_with_freebind_serves_its_address_once_that_comes() {
    const NAME: &str = "freebind::a_listener_with_freebind_serves_its_address_once_that_comes";
    if !ip(&["-V"]) {
        return skip("a network of one's own needs ip(8), of iproute2");
    }
    let place = Place {
        own: &["--net"],
        prepare: "ip link set lo up",
        arguments: &[],
    };
    if !place.is_here(NAME) {
        return;
    }
    let addresses = ["192.0.2.9", "2001:db8::9"];
    let scene = Scene::with(|builder| {
        let backend = builder.backend().address();
        let listener = |(name, bind): (&str, &str)| {
            let listener = Listener::tcp(name, &backend).bind(bind);
            listener.line("freebind = true")
        };
        let listeners = [("v4", "192.0.2.9:3307"), ("v6", "[2001:db8::9]:3307")];
        listeners
            .map(listener)
            .into_iter()
            .fold(builder, Builder::listener)
    });
    for (name, address) in ["v4", "v6"].into_iter().zip(addresses) {
        let bound = scene.daemon.address_of(name);
        assert_eq!(bound.ip().to_string(), address);
        connect(bound).unwrap_err();
        assert!(ip(&["address", "add", address, "dev", "lo"]));
        let mut session = Client::new(&scene.ca).connect(bound).unwrap();
        session.echo("hello").unwrap();
    }
}

fn ip(words: &[&str]) -> bool {
    let mut command = clean_command("ip");
    command.args(words);
    command.output().is_ok_and(|it| it.status.success())
}
