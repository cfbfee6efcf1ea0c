//! A proxy in front of a proxy: to the inner one the outer is a client, to the outer one the inner is the
//! database.

use nix::sys::signal::Signal;

use super::servers_and_clients;
use crate::support::{
    front::{Front, LEGS},
    process,
    reaper::lost_none,
    servers::{Kind, Server, python},
};

/// Starts both; returns the inner one first.
fn two(server: &Server) -> (Front, Front) {
    let inner = Front::with_legs(server, LEGS.into_iter().chain(["network"]));
    let outer = Front::before(&inner, "mysql", LEGS.into_iter().chain(["network"]));
    (inner, outer)
}

/// Makes an account that nobody has logged in to.
fn account(server: &Server, name: &str) {
    let how = match server.kind {
        Kind::Mysql => "WITH caching_sha2_password BY 'pw'",
        _ => "BY 'pw'",
    };
    let sql = format!(
        "DROP USER IF EXISTS {name}; CREATE USER {name} IDENTIFIED {how}; \
         GRANT ALL ON test.* TO {name}"
    );
    server.client().run(&sql).answer();
}

#[test]
fn the_first_login_to_an_account_passes_both() {
    for (server, clients) in servers_and_clients() {
        let (_inner, outer) = two(&server);
        for client in &clients {
            for leg in LEGS.into_iter().chain(["network"]) {
                account(&server, "first_through_two");
                let client = outer.client(client, leg);
                let wrong = client.clone().login("first_through_two", "wrong");
                let complaint = wrong.run("SELECT 1").complaint();
                assert!(complaint.contains("1045"), "{leg}: {complaint}");
                let right = client.login("first_through_two", "pw");
                assert_eq!(right.run("SELECT 1").answer(), "1", "{leg}");
                assert_eq!(right.run("SELECT 2").answer(), "2", "{leg}");
            }
        }
    }
}

#[test]
fn a_session_through_both_goes_on_when_either_certificate_is_replaced_and_ends_when_it_is_killed() {
    for (server, clients) in servers_and_clients() {
        let (inner, outer) = two(&server);
        for client in &clients {
            for leg in LEGS {
                let client = outer.client(client, leg);
                let mut session = client.open();
                let id = session.ask("SELECT CONNECTION_ID()").unwrap();
                for front in [&inner, &outer] {
                    front.renew();
                    let answer = session.ask("SELECT CONNECTION_ID()");
                    assert_eq!(answer.unwrap(), id, "{leg}");
                    assert_eq!(client.run("SELECT 1").answer(), "1", "{leg}");
                }
                client.run(&format!("KILL {id}")).answer();
                let ended = session.ask("SELECT 1").expect_err("it was killed");
                assert!(!ended.is_success(), "{leg}: {ended:#?}");
            }
        }
    }
}

#[test]
fn a_session_through_both_outlives_the_workers_of_either() {
    for (server, _) in servers_and_clients() {
        let (inner, outer) = two(&server);
        let client = outer.client(&server, "plain");
        let mut session = client.open();
        let id = session.ask("SELECT CONNECTION_ID()").unwrap();
        for front in [&inner, &outer] {
            front.daemon.await_status("it is kept", |status| {
                status["sessions"]["kept"].as_u64() >= Some(1)
            });
            for worker in process::workers(front.daemon.pid()) {
                assert!(process::send(worker, Signal::SIGKILL));
            }
            let answer = session.ask("SELECT CONNECTION_ID()");
            assert_eq!(answer.unwrap(), id);
            lost_none(&front.daemon, 1);
        }
    }
}

#[test]
fn a_user_is_changed_through_both() {
    for (server, _) in servers_and_clients() {
        let (_inner, outer) = two(&server);
        account(&server, "moved_through_two");
        let program = "
import MySQLdb, sys
ca, user, password, *ports = sys.argv[1:]
for port in ports:
    connection = MySQLdb.connect(host='127.0.0.1', port=int(port), user=user, password=password,
                                 database='test', ssl={'ca': ca}, ssl_mode='VERIFY_IDENTITY')
    connection.change_user('moved_through_two', 'pw', 'test')
    cursor = connection.cursor()
    cursor.execute('SELECT CURRENT_USER()')
    assert cursor.fetchone() == ('moved_through_two@%',)
print('done')
";
        let legs = LEGS.into_iter().chain(["network"]);
        let ports: Vec<_> = legs.map(|leg| outer.port(leg).to_string()).collect();
        let mut arguments = vec![
            outer.ca_file.to_str().unwrap(),
            server.user,
            server.password,
        ];
        arguments.extend(ports.iter().map(String::as_str));
        if let Some(outcome) = python(program, &arguments) {
            assert_eq!(outcome.answer(), "done");
        }
    }
}
