//! Requests to cancel a query, which come on connections of their own.

use super::psycopg::psycopg;
use crate::support::{
    configuration::Listener,
    front::{Front, LEGS, listener},
    servers::{postgres, postgres_newer},
};

/// Sleeps in one thread, and cancels that in another once the server says that it sleeps.
pub(super) const CANCEL: &str = "
    import threading
    with connect(HOW) as connection, at_the_server() as watcher:
        pid = connection.info.backend_pid
        outcome = []
        def cancel():
            while True:
                query = 'SELECT wait_event FROM pg_stat_activity WHERE pid = %s'
                if watcher.execute(query, (pid,)).fetchone() == ('PgSleep',):
                    break
            try:
                connection.CANCEL()
            except psycopg.Error as error:
                outcome.append(str(error))
        thread = threading.Thread(target=cancel)
        thread.start()
        try:
            connection.execute('SELECT pg_sleep(40)')
        except psycopg.errors.QueryCanceled:
            pass
        else:
            raise AssertionError('it slept on')
        thread.join()
        assert outcome == [], outcome
        assert connection.execute('SELECT 42').fetchone() == (42,)
";

fn cancels(legs: &[&str], how: &str, cancel: &str) {
    let Some(server) = postgres() else { return };
    let front = Front::with(|it| {
        let preferred = "tls = { mode = \"preferred\" }";
        let legs = LEGS.into_iter();
        legs.fold(it, |it, leg| {
            it.listener(listener(&server, leg).line(preferred))
        })
    });
    let program = CANCEL.replace("HOW", how).replace("CANCEL", cancel);
    psycopg(&front, &server, legs, &program);
}

#[test]
fn a_query_is_cancelled_by_a_request_in_plaintext() {
    cancels(&LEGS, "", "cancel");
}

#[test]
fn a_query_is_cancelled_by_a_request_in_tls() {
    cancels(&LEGS, "", "cancel_safe");
}

#[test]
fn a_query_is_cancelled_by_a_request_in_direct_tls() {
    cancels(&LEGS, "sslnegotiation='direct'", "cancel_safe");
}

#[test]
fn a_query_without_tls_is_cancelled() {
    cancels(&["plain", "unix"], "sslmode='disable'", "cancel_safe");
}

#[test]
fn a_request_in_plaintext_is_passed_on_where_tls_is_required() {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    let program = CANCEL.replace("HOW", "").replace("CANCEL", "cancel");
    psycopg(&front, &server, &LEGS, &program);
}

/// The key is 32 bytes long there, in the place of 4.
const LONG_KEY: &str = "max_protocol_version='3.2'";

#[test]
fn a_query_is_cancelled_by_a_long_key_whichever_backend_runs_it() {
    let (Some(server), Some(other)) = (postgres_newer(), postgres()) else {
        return;
    };
    let nobody = "127.0.0.1:1";
    let orders = [
        ("first", [server.address(), other.address()]),
        ("second", [nobody.to_owned(), server.address()]),
    ];
    let front = Front::with(|it| {
        orders.iter().fold(it, |it, (name, [first, second])| {
            let listener = Listener::tcp(name, first).or(second);
            it.listener(listener.protocol("postgres"))
        })
    });
    for cancel in ["cancel", "cancel_safe"] {
        let program = CANCEL.replace("HOW", LONG_KEY).replace("CANCEL", cancel);
        let checked =
            "outcome = []\n        assert connection.pgconn.full_protocol_version == 30002";
        let program = program.replacen("outcome = []", checked, 1);
        psycopg(&front, &server, &["first", "second"], &program);
    }
}

#[test]
fn a_request_to_cancel_is_no_failure() {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    let program = CANCEL.replace("HOW", "").replace("CANCEL", "cancel_safe");
    psycopg(&front, &server, &["plain"], &program);
    let status = front.daemon.status();
    let connections = &status["listeners"][0]["connections"];
    assert_eq!(connections["failed_handshakes"], 0, "{connections}");
}
