//! Replicas and backups that read the binary log through the proxy.

use std::{path::PathBuf, process::Command};

use nix::sys::signal::Signal;

use crate::support::{
    PATIENCE,
    configuration::Listener,
    front::Front,
    own_server::OwnServer,
    pki::replace,
    process,
    program::run,
    reaper::lost_none,
    servers::{self, Kind, Server},
    skip, until,
};

const SOURCE: [&str; 2] = ["--log-bin=binlog", "--server-id=1"];
const REPLICA: [&str; 2] = ["--log-bin=binlog", "--server-id=2"];

fn front(source: &OwnServer) -> Front {
    Front::with(|it| it.listener(Listener::tcp("main", &source.server.address()).protocol("mysql")))
}

/// Puts the proxy's authority where a server can read it.
fn authority(front: &Front, server: &Server) -> PathBuf {
    let file = server.socket.with_file_name("authority.pem");
    replace(&file, front.ca.pem());
    file
}

fn begin(front: &Front, replica: &OwnServer) -> String {
    let Server { user, password, .. } = replica.server;
    let ca = authority(front, &replica.server);
    let (port, ca) = (front.port("main"), ca.display());
    match replica.server.kind {
        Kind::Mysql => format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'localhost', SOURCE_PORT = {port}, \
             SOURCE_USER = '{user}', SOURCE_PASSWORD = '{password}', SOURCE_SSL = 1, \
             SOURCE_SSL_CA = '{ca}', SOURCE_SSL_VERIFY_SERVER_CERT = 1; START REPLICA"
        ),
        _ => format!(
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, \
             MASTER_USER = '{user}', MASTER_PASSWORD = '{password}', MASTER_SSL = 1, \
             MASTER_SSL_CA = '{ca}', MASTER_SSL_VERIFY_SERVER_CERT = 1; START SLAVE"
        ),
    }
}

fn replicates(known: Option<Server>) {
    let Some(known) = known else { return };
    let source = OwnServer::start(&known, "127.0.0.1", &SOURCE);
    let replica = OwnServer::start(&known, "127.0.0.1", &REPLICA);
    let front = front(&source);
    source.ask("CREATE TABLE test.numbers (number INT PRIMARY KEY)");
    replica.ask(&begin(&front, &replica));
    let follows = |number: u32| {
        source.ask(&format!("INSERT INTO test.numbers VALUES ({number})"));
        let sql = "SELECT COALESCE(MAX(number), 0) FROM test.numbers";
        until("the replica has the row", || {
            // Until the table is there, this is an error.
            let client = replica.server.client().at_socket(&replica.server.socket);
            let outcome = client.tls(servers::Tls::Require).run(sql);
            outcome.is_success() && outcome.answer() == number.to_string()
        });
    };
    follows(1);
    let leaf = front.ca.request(&["localhost", "127.0.0.1"]).issue();
    front.daemon.files("default").put(&leaf);
    front.daemon.ctl(&["reload-tls"]).answer();
    follows(2);
}

#[test]
fn a_replica_of_mariadb_follows_through_the_proxy() {
    replicates(servers::mariadb());
}

#[test]
fn a_replica_of_a_newer_mariadb_follows_through_the_proxy() {
    replicates(servers::mariadb_newer());
}

#[test]
fn a_replica_of_mysql_follows_through_the_proxy() {
    replicates(servers::mysql());
}

/// Kills every worker again and again under a replica, and sees that it goes on over the same connection.
fn replicates_on(known: Option<Server>) {
    let Some(known) = known else { return };
    let source = OwnServer::start(&known, "127.0.0.1", &SOURCE);
    let replica = OwnServer::start(&known, "127.0.0.1", &REPLICA);
    let front = front(&source);
    source.ask("CREATE TABLE test.numbers (number INT PRIMARY KEY, word CHAR(200))");
    replica.ask(&begin(&front, &replica));
    let follows = |number: u32| {
        let word = "x".repeat(200);
        source.ask(&format!(
            "INSERT INTO test.numbers VALUES ({number}, '{word}')"
        ));
        let sql = "SELECT COALESCE(MAX(number), 0) FROM test.numbers";
        until("the replica has the row", || {
            let client = replica.server.client().at_socket(&replica.server.socket);
            let outcome = client.tls(servers::Tls::Require).run(sql);
            outcome.is_success() && outcome.answer() == number.to_string()
        });
    };
    let connection = || {
        source.ask(
            "SELECT GROUP_CONCAT(id) FROM information_schema.processlist \
             WHERE command LIKE 'Binlog Dump%'",
        )
    };
    follows(1);
    let before = connection();
    front
        .daemon
        .await_status("the replica's session is kept", |status| {
            status["sessions"]["kept"].as_u64() >= Some(1)
        });
    for number in 2..8 {
        for worker in process::workers(front.daemon.pid()) {
            process::send(worker, Signal::SIGKILL);
        }
        follows(number);
    }
    assert_eq!(connection(), before);
    lost_none(&front.daemon, 1);
}

#[test]
fn a_replica_of_mariadb_goes_on_over_its_connection_when_workers_are_killed() {
    replicates_on(servers::mariadb());
}

#[test]
fn a_replica_of_mysql_goes_on_over_its_connection_when_workers_are_killed() {
    replicates_on(servers::mysql());
}

#[test]
fn the_binary_log_is_read_through_the_proxy() {
    let Some(known) = servers::mariadb() else {
        return;
    };
    if Command::new("mariadb-binlog")
        .arg("--version")
        .output()
        .is_err()
    {
        skip("there is no mariadb-binlog");
        return;
    }
    let source = OwnServer::start(&known, "127.0.0.1", &SOURCE);
    let front = front(&source);
    source.ask(
        "CREATE TABLE test.words (word VARCHAR(20)); INSERT INTO test.words VALUES ('marker')",
    );
    let mut command = Command::new("mariadb-binlog");
    command
        .args([
            "--no-defaults",
            "--read-from-remote-server",
            "--host=127.0.0.1",
        ])
        .arg(format!("--port={}", front.port("main")))
        .arg(format!("--user={}", known.user))
        .arg(format!("--password={}", known.password))
        .arg(format!("--ssl-ca={}", front.ca_file.display()))
        .args(["--ssl-verify-server-cert", "binlog.000001"]);
    let answer = run(command, PATIENCE).answer();
    assert!(answer.contains("marker"), "{answer}");
}
