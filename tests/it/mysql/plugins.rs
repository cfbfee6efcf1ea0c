//! Authentication plugins, as far as the servers have them: each logs in over every leg, whatever the
//! client thought that the account has.

use super::servers_and_clients;
use crate::support::{
    front::{Front, LEGS, listener},
    servers::{Kind, Server},
};

/// Plugins that take a password which a test can set.
const PLUGINS: [&str; 5] = [
    "caching_sha2_password",
    "ed25519",
    "mysql_native_password",
    "parsec",
    "sha256_password",
];

/// Makes an account and returns its name.
fn account(server: &Server, plugin: &str) -> String {
    let name = format!("p_{plugin}");
    let how = match server.kind {
        Kind::Mysql => format!("WITH {plugin} BY 'plug-pw'"),
        _ => format!("VIA {plugin} USING PASSWORD('plug-pw')"),
    };
    let sql = format!(
        "DROP USER IF EXISTS {name}; CREATE USER {name} IDENTIFIED {how}; \
         GRANT ALL ON test.* TO {name}"
    );
    server.client().run(&sql).answer();
    name
}

/// Returns the plugins that a server has loaded.
fn plugins(server: &Server) -> Vec<&'static str> {
    let sql = "SELECT PLUGIN_NAME FROM information_schema.PLUGINS \
               WHERE PLUGIN_TYPE = 'AUTHENTICATION' AND PLUGIN_STATUS = 'ACTIVE'";
    let active = server.client().run(sql).answer();
    let known = PLUGINS.into_iter();
    known
        .filter(|plugin| active.lines().any(|it| it == *plugin))
        .collect()
}

/// The plugins that a client begins with, of which the server's account may have another: the server
/// then asks it to switch.
fn first_plugins(client: &Server) -> &'static [&'static str] {
    match client.kind {
        // It has no other plugin built in.
        Kind::Mysql => &["caching_sha2_password", "sha256_password"],
        _ => &[
            "caching_sha2_password",
            "client_ed25519",
            "mysql_native_password",
        ],
    }
}

#[test]
fn accounts_of_every_plugin_log_in_over_every_leg_whatever_the_client_begins_with() {
    for (server, clients) in servers_and_clients() {
        let legs = LEGS.into_iter().chain(["network"]);
        let front = Front::with(|it| {
            let listeners = legs.clone().map(|leg| listener(&server, leg));
            listeners.fold(it, crate::support::builder::Builder::listener)
        });
        for plugin in plugins(&server) {
            let mut logins = 0;
            for client in &clients {
                for first in first_plugins(client) {
                    for leg in legs.clone() {
                        let name = account(&server, plugin);
                        let what = format!("{plugin} after {first} over {leg}: {:?}", client.kind);
                        let direct = client.client().login(&name, "plug-pw");
                        let direct = direct.option(format!("--default-auth={first}"));
                        if !direct.run("SELECT 1").is_success() {
                            // The client lacks the plugin.
                            continue;
                        }
                        let name = account(&server, plugin);
                        let client = front.client(client, leg).login(&name, "plug-pw");
                        let client = client.option(format!("--default-auth={first}"));
                        assert_eq!(client.run("SELECT 1").answer(), "1", "{what}");
                        logins += 1;
                    }
                }
            }
            assert!(logins > 0, "no client logs in with {plugin}");
        }
    }
}
