//! A proxy in front of a proxy: to the inner one the outer is a client, to the outer one the inner is the
//! database.

use super::{cancel::CANCEL, psql, psycopg::psycopg};
use crate::support::{
    front::{Front, LEGS},
    servers::postgres,
};

#[test]
fn a_query_is_cancelled_through_both() {
    let Some(server) = postgres() else { return };
    let inner = Front::new(&server);
    let outer = Front::before(&inner, "postgres", LEGS);
    let program = CANCEL.replace("HOW", "").replace("CANCEL", "cancel_safe");
    psycopg(&outer, &server, &LEGS, &program);
}

#[test]
fn a_session_through_both_goes_on_when_either_certificate_is_replaced_and_ends_when_it_is_killed() {
    let Some(server) = postgres() else { return };
    let inner = Front::new(&server);
    let outer = Front::before(&inner, "postgres", LEGS);
    for leg in LEGS {
        let client = psql(&outer, &server, leg);
        let mut session = client.open();
        let pid = session.ask("SELECT pg_backend_pid()").unwrap();
        for front in [&inner, &outer] {
            front.renew();
            let answer = session.ask("SELECT pg_backend_pid()");
            assert_eq!(answer.unwrap(), pid, "{leg}");
            assert_eq!(client.run("SELECT 1").answer(), "1", "{leg}");
        }
        let killed = client.run(&format!("SELECT pg_terminate_backend({pid})"));
        assert_eq!(killed.answer(), "t", "{leg}");
        let ended = session.ask("SELECT 1").expect_err("it was killed");
        assert!(!ended.is_success(), "{leg}: {ended:#?}");
    }
}

/// Where the database has no TLS, it offers no binding that the middle could break.
#[test]
fn a_wrong_password_is_answered_by_the_server_through_both() {
    let Some(server) = postgres() else { return };
    let inner = Front::new(&server);
    let outer = Front::before(&inner, "postgres", LEGS);
    for leg in LEGS {
        let client = psql(&outer, &server, leg).login(server.user, "wrong");
        let complaint = client.run("SELECT 1").complaint();
        let expected = "password authentication failed";
        assert!(complaint.contains(expected), "{leg}: {complaint}");
    }
}
