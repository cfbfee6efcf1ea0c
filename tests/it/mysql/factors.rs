//! Accounts of several plugins, of which MySQL wants all and MariaDB any, and plugins that go by who is
//! at the other end of the socket: to the server that is the proxy.

use crate::support::{
    front::{Front, LEGS, with_client_of},
    own_server::OwnServer,
    process,
    servers::{self, Kind, Server, python},
    skip,
};

/// Whether a server has loaded these plugins.
fn has(server: &OwnServer, plugins: &[&str]) -> bool {
    let sql = "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_STATUS = 'ACTIVE'";
    let active = server.ask(sql);
    let missing = plugins
        .iter()
        .find(|it| !active.lines().any(|line| line == **it));
    if let Some(missing) = missing {
        skip(&format!("{} does not load {missing}", server.server.name));
    }
    missing.is_none()
}

/// The second factor is a plugin of its own, behind a password that the server has not seen.
#[test]
fn a_security_key_is_asked_for_behind_the_password_over_every_leg() {
    let Some(known) = servers::mysql() else {
        return;
    };
    let options = [
        "--plugin-load-add=authentication_webauthn.so",
        "--loose-authentication-webauthn-rp-id=proxyd.test",
    ];
    let own = OwnServer::start(&known, "127.0.0.1", &options);
    // It needs a library of Debian's beside it.
    if !has(&own, &["authentication_webauthn"]) {
        return;
    }
    own.ask(
        "CREATE USER key_holder IDENTIFIED WITH caching_sha2_password BY 'first' \
         AND IDENTIFIED WITH authentication_webauthn",
    );
    let legs = LEGS.into_iter().chain(["network"]);
    let front = Front::with_legs(&own.server, legs.clone());
    let ports: Vec<_> = legs.map(|leg| front.port(leg).to_string()).collect();
    let ca = front.ca_file.to_str().unwrap();
    let mut arguments = vec![ca, own.server.user, own.server.password];
    arguments.extend(ports.iter().map(String::as_str));
    if let Some(outcome) = python(include_str!("security_key.py"), &arguments) {
        assert_eq!(outcome.answer(), "done");
    }
}

#[test]
fn mariadb_lets_in_by_any_of_an_account_s_plugins_over_every_leg() {
    for (server, clients) in servers_and_clients_of_mariadb() {
        let plugins = "SELECT PLUGIN_NAME FROM information_schema.PLUGINS";
        let plugins = server.client().run(plugins).answer();
        let by = |plugin| format!("{plugin} USING PASSWORD('{plugin}-pw')");
        // Not `parsec`: where it is not the one, the server ends the connection without the proxy too.
        let known: Vec<_> = ["ed25519", "caching_sha2_password", "mysql_native_password"]
            .into_iter()
            .filter(|plugin| plugins.lines().any(|line| line == *plugin))
            .collect();
        let how: Vec<_> = known.iter().map(by).collect();
        let name = "any_of_them";
        let sql = format!(
            "CREATE OR REPLACE USER {name} IDENTIFIED VIA {}; GRANT ALL ON test.* TO {name}",
            how.join(" OR ")
        );
        server.client().run(&sql).answer();
        let legs = LEGS.into_iter().chain(["network"]);
        let front = Front::with_legs(&server, legs.clone());
        for client in &clients {
            for leg in legs.clone() {
                let log_in = |plugin: &str| {
                    let password = format!("{plugin}-pw");
                    let client = front.client(client, leg).login(name, &password);
                    client.run("SELECT 'let in'")
                };
                for plugin in &known {
                    let outcome = log_in(plugin);
                    assert!(outcome.is_success(), "{plugin} {leg}: {outcome:#?}");
                }
                let complaint = log_in("none").complaint();
                assert!(is_denied(&complaint), "{leg}: {complaint}");
            }
        }
    }
}

/// `MariaDB`'s servers, each as their clients see it.
fn servers_and_clients_of_mariadb() -> Vec<(Server, Vec<Server>)> {
    let all: Vec<_> = [servers::mariadb(), servers::mariadb_newer()]
        .into_iter()
        .flatten()
        .collect();
    let seen = |server| {
        all.iter()
            .map(|other| with_client_of(server, other))
            .collect()
    };
    all.iter()
        .map(|server| (server.clone(), seen(server)))
        .collect()
}

/// Returns the user that a daemon's workers are, by name.
fn worker_of(front: &Front) -> String {
    let uid = process::user(front.daemon.workers()[0]).unwrap();
    let user = nix::unistd::User::from_uid(uid.into()).unwrap();
    user.unwrap().name
}

/// The client is root where the tests are, and asks for an account that is root's; the proxy's worker is
/// somebody else, whose accounts are open to whoever reaches the proxy.
#[test]
fn plugins_that_look_at_the_peer_see_the_proxy_s_worker() {
    for (known, plugin, load) in [
        (servers::mariadb(), "unix_socket", None),
        (
            servers::mysql(),
            "auth_socket",
            Some("--plugin-load-add=auth_socket.so"),
        ),
    ] {
        let Some(known) = known else { continue };
        let own = OwnServer::start(&known, "127.0.0.1", load.as_slice());
        let server = &own.server;
        let front = Front::new(server);
        let worker = worker_of(&front);
        for user in [&*worker, "somebody"] {
            own.ask(&format!(
                "CREATE USER {user} IDENTIFIED WITH {plugin}; GRANT ALL ON test.* TO {user}"
            ));
        }
        for leg in LEGS {
            let log_in = |user: &str| {
                front
                    .client(server, leg)
                    .login(user, "")
                    .run("SELECT USER()")
            };
            if leg == "unix" {
                assert_eq!(log_in(&worker).answer(), format!("{worker}@localhost"));
            } else {
                let complaint = log_in(&worker).complaint();
                assert!(is_denied(&complaint), "{leg}: {complaint}");
            }
            let complaint = log_in("somebody").complaint();
            assert!(is_denied(&complaint), "{leg}: {complaint}");
        }
        if server.kind == Kind::Mysql {
            let sql = format!(
                "CREATE USER twice IDENTIFIED WITH caching_sha2_password BY 'pw' \
                 AND IDENTIFIED WITH {plugin} AS '{worker}'; GRANT ALL ON test.* TO twice"
            );
            own.ask(&sql);
            let twice = |leg| {
                front
                    .client(server, leg)
                    .login("twice", "pw")
                    .run("SELECT 1")
            };
            assert_eq!(twice("unix").answer(), "1");
            assert!(is_denied(&twice("plain").complaint()));
        }
    }
}

fn is_denied(complaint: &str) -> bool {
    complaint.contains("1045") || complaint.contains("1698")
}
