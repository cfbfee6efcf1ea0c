//! Authentication plugins, as far as the servers have them: each logs in over every leg, whatever the
//! client thought that the account has.

use crate::support::{
    front::{Front, LEGS, with_client_of},
    servers::{self, Kind, Server},
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

/// Logs in to an account of each plugin of a server, by every client that has it, over every leg.
fn every_plugin_logs_in(server: Option<Server>, expected: &[&str]) {
    let Some(server) = server else { return };
    let legs = LEGS.into_iter().chain(["network"]);
    let front = Front::with_legs(&server, legs.clone());
    let all = [
        servers::mariadb(),
        servers::mariadb_newer(),
        servers::mysql(),
    ];
    let clients = all.iter().flatten().map(|it| with_client_of(&server, it));
    let clients: Vec<_> = clients.collect();
    let plugins = plugins(&server);
    let missing = expected.iter().find(|it| !plugins.contains(it));
    assert_eq!(missing, None, "{plugins:?}");
    for plugin in plugins {
        let mut logins = 0;
        for client in &clients {
            for first in first_plugins(client) {
                let name = account(&server, plugin);
                let direct = client.client().login(&name, "plug-pw");
                let direct = direct.option(format!("--default-auth={first}"));
                if !direct.run("SELECT 1").is_success() {
                    // The client lacks the plugin.
                    continue;
                }
                for leg in legs.clone() {
                    let what = format!(
                        "{plugin} after {first} over {leg}: {}",
                        client.client.display()
                    );
                    // Of these the server remembers what it saw.
                    if plugin == "caching_sha2_password" {
                        account(&server, plugin);
                    }
                    let client = front.client(client, leg).login(&name, "plug-pw");
                    let client = client.option(format!("--default-auth={first}"));
                    let outcome = client.run("SELECT 1");
                    assert!(outcome.is_success(), "{what}: {outcome:#?}");
                    logins += 1;
                }
            }
        }
        assert!(logins > 0, "no client logs in with {plugin}");
    }
}

#[test]
fn accounts_of_every_plugin_of_mariadb_log_in_over_every_leg_whatever_the_client_begins_with() {
    every_plugin_logs_in(servers::mariadb(), &["mysql_native_password"]);
}

#[test]
fn accounts_of_every_plugin_of_a_newer_mariadb_log_in_over_every_leg_whatever_the_client_begins_with()
 {
    let all = [
        "caching_sha2_password",
        "ed25519",
        "mysql_native_password",
        "parsec",
    ];
    every_plugin_logs_in(servers::mariadb_newer(), &all);
}

#[test]
fn accounts_of_every_plugin_of_mysql_log_in_over_every_leg_whatever_the_client_begins_with() {
    let all = ["caching_sha2_password", "sha256_password"];
    every_plugin_logs_in(servers::mysql(), &all);
}

/// The passwords of before 4.1, which newer clients do not know any more.
#[test]
fn old_passwords_log_in_over_every_leg() {
    let Some(older) = servers::mariadb() else {
        return;
    };
    for server in [Some(older.clone()), servers::mariadb_newer()] {
        let Some(server) = server else { continue };
        let sql = "SET GLOBAL secure_auth = OFF; SELECT OLD_PASSWORD('old-pw')";
        let hash = server.client().run(sql).answer();
        let sql = format!(
            "CREATE OR REPLACE USER p_old IDENTIFIED VIA mysql_old_password USING '{hash}'; \
             GRANT ALL ON test.* TO p_old"
        );
        server.client().run(&sql).answer();
        let legs = LEGS.into_iter().chain(["network"]);
        let front = Front::with_legs(&server, legs.clone());
        let client = with_client_of(&server, &older);
        for leg in legs {
            let client = front.client(&client, leg).option("--skip-secure-auth");
            let right = client.clone().login("p_old", "old-pw").run("SELECT 1");
            assert!(right.is_success(), "{} {leg}: {right:#?}", server.name);
            let wrong = client.login("p_old", "wrong").run("SELECT 1").complaint();
            assert!(wrong.contains("1045"), "{} {leg}: {wrong}", server.name);
        }
    }
}
