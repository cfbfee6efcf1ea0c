//! The servers' own regression tests, through the proxy.
//!
//! Each suite is run twice: at the server itself, and through the proxy by TLS with full
//! verification. Only what passes at the server counts, and all of that has to pass through the
//! proxy, but for what `tests/suites/excluded.txt` names with a reason.

// The programs that run the suites, and what they say.
mod runner;

use std::{collections::BTreeSet, fs, path::PathBuf};

use self::runner::{Mariadb, Postgres};
use crate::support::{
    front::{Front, listener},
    servers::{self, Server},
};

/// Where the lists are.
const LISTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suites");

/// Where a suite goes: to the server, or to the proxy before it.
struct Target {
    port: u16,
    ca: PathBuf,
}

impl Target {
    fn server(server: &Server) -> Self {
        Self {
            port: server.port,
            ca: server.ca.clone(),
        }
    }

    fn front(front: &Front) -> Self {
        Self {
            port: front.port("plain"),
            ca: front.ca_file.clone(),
        }
    }
}

fn front(server: &Server) -> Front {
    Front::with(|it| it.listener(listener(server, "plain")))
}

/// Returns the lines of a list without comments.
fn list(name: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("{LISTS}/{name}")).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// Returns what of a suite is known not to work through the proxy.
fn excluded(suite: &str) -> BTreeSet<String> {
    let lines = list("excluded.txt").into_iter().filter_map(|line| {
        let mut parts = line.split(" | ").map(str::trim);
        let (of, test, reason) = (parts.next()?, parts.next()?, parts.next());
        assert!(
            reason.is_some_and(|reason| !reason.is_empty()),
            "excluded.txt wants suite, test and reason: {line:?}"
        );
        (of == suite).then(|| test.to_owned())
    });
    lines.collect()
}

/// Compares what passed at the server with what passed through the proxy.
#[track_caller]
fn compare(suite: &str, at_least: usize, direct: &BTreeSet<String>, through: &BTreeSet<String>) {
    assert!(
        direct.len() >= at_least,
        "only {} tests pass at the server itself, which says little",
        direct.len()
    );
    let lost: BTreeSet<_> = direct.difference(through).cloned().collect();
    let excluded = excluded(suite);
    let unexpected: Vec<_> = lost.difference(&excluded).collect();
    assert!(
        unexpected.is_empty(),
        "these pass at the server and fail through the proxy: {unexpected:?}"
    );
    let healed: Vec<_> = excluded.intersection(through).collect();
    assert!(
        healed.is_empty(),
        "these pass through the proxy and are listed as excluded: {healed:?}"
    );
}

#[test]
fn mariadb_s_own_tests_pass() {
    let (Some(server), Some(suite)) = (servers::mariadb_suite(), Mariadb::find()) else {
        return;
    };
    let tests = list("mariadb.txt");
    let front = front(&server);
    let direct = suite.run(&tests, &Target::server(&server));
    let through = suite.run(&tests, &Target::front(&front));
    compare("mariadb", tests.len() * 9 / 10, &direct, &through);
}

#[test]
fn postgresql_s_own_tests_pass() {
    let (Some(server), Some(suite)) = (servers::postgres(), Postgres::find()) else {
        return;
    };
    let front = front(&server);
    let direct = suite.run(&server, &Target::server(&server));
    let through = suite.run(&server, &Target::front(&front));
    compare("postgres", 200, &direct, &through);
}
