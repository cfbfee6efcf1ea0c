//! Accounts, one for each authentication plugin of a server.

use std::{
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::support::servers::{Kind, Server};

/// The plugins that take a password which a test can set.
const MYSQL_PLUGINS: [&str; 5] = [
    "caching_sha2_password",
    "ed25519",
    "mysql_native_password",
    "parsec",
    "sha256_password",
];

/// The password of all accounts.
const PASSWORD: &str = "p4ss word";

/// An account.
#[derive(Clone, Debug)]
pub(super) struct Login {
    /// How it logs in.
    pub(super) plugin: String,
    /// Its name.
    pub(super) user: String,
    /// Its password.
    pub(super) password: &'static str,
    /// Whether the server knows it better once it has logged in.
    pub(super) cache: bool,
    /// An account with the same password, and as new if there is a cache.
    pub(super) changed_to: String,
}

/// Returns an account for each plugin of the server, of which those that the server keeps a cache of
/// are new.
pub(super) fn make(server: &Server) -> Vec<Login> {
    match server.kind {
        Kind::Mariadb | Kind::Mysql => plugins(server)
            .map(|plugin| make_mysql(server, plugin))
            .collect(),
        Kind::Postgres => ["scram-sha-256", "md5", "password"]
            .map(|plugin| make_postgres(server, plugin))
            .into(),
    }
}

fn plugins(server: &Server) -> impl Iterator<Item = &'static str> {
    let sql = "SELECT PLUGIN_NAME FROM information_schema.PLUGINS \
               WHERE PLUGIN_TYPE = 'AUTHENTICATION' AND PLUGIN_STATUS = 'ACTIVE'";
    let active = server.client().run(sql).answer();
    let plugins = MYSQL_PLUGINS.into_iter();
    plugins.filter(move |plugin| active.lines().any(|line| line == *plugin))
}

fn make_mysql(server: &Server, plugin: &'static str) -> Login {
    let cache = plugin == "caching_sha2_password";
    let name = || {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        if cache {
            format!("d_cached_{}_{number}", process::id())
        } else {
            format!("d_{plugin}")
        }
    };
    let (user, changed_to) = (name(), name());
    for user in [&user, &changed_to] {
        create(server, user, plugin);
    }
    Login {
        plugin: plugin.to_owned(),
        user,
        password: PASSWORD,
        cache,
        changed_to,
    }
}

fn create(server: &Server, user: &str, plugin: &str) {
    let how = match server.kind {
        Kind::Mysql => format!("WITH {plugin} BY \"{PASSWORD}\""),
        _ => format!("VIA {plugin} USING PASSWORD(\"{PASSWORD}\")"),
    };
    let sql = format!(
        "CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED {how}; \
         GRANT ALL ON test.* TO '{user}'@'%'"
    );
    server.client().run(&sql).answer();
}

fn make_postgres(server: &Server, plugin: &'static str) -> Login {
    // The names are those in the server's pg_hba.conf.
    let (user, stored) = match plugin {
        "md5" => ("by_md5", "md5"),
        "password" => ("by_password", "scram-sha-256"),
        _ => ("by_scram", "scram-sha-256"),
    };
    let sql = format!(
        "SELECT pg_advisory_lock(42); SET password_encryption = '{stored}'; \
         DO $$ BEGIN CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'; \
         EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    );
    server.client().run(&sql).answer();
    Login {
        plugin: plugin.to_owned(),
        user: user.to_owned(),
        password: PASSWORD,
        cache: false,
        changed_to: String::new(),
    }
}
