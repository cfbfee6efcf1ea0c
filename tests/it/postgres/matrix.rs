//! The real server, every way to reach it, real clients.

use std::{
    io::Read,
    net::{SocketAddr, TcpListener},
};

use super::psql;
use crate::support::{
    backend::Closed,
    configuration::Listener,
    front::{Front, LEGS, SAME_LEAF_LEGS, TLS_LEGS, listener},
    servers::{Tls, postgres},
    wire::SSL_REQUEST,
};

#[test]
fn psql_gets_an_answer_over_every_leg() {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    for leg in LEGS {
        let answer = psql(&front, &server, leg).run("SELECT 1, 'two'").answer();
        assert_eq!(answer, "1\ttwo", "{leg}");
    }
}

#[test]
fn every_sslmode_with_tls_gets_through() {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    for tls in [
        Tls::Require,
        Tls::VerifyCa(front.ca_file.clone()),
        Tls::VerifyFull(front.ca_file.clone()),
    ] {
        let client = front.client(&server, "plain").tls(tls);
        assert_eq!(client.run("SELECT 1").answer(), "1");
    }
    // The last of two words counts.
    for mode in ["sslmode=prefer", "sslmode=allow"] {
        let client = front.client(&server, "plain").option(mode);
        assert_eq!(client.run("SELECT 1").answer(), "1", "{mode}");
    }
}

#[test]
fn psql_without_tls_is_refused_where_it_is_required() {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    let plain = front.client(&server, "plain").tls(Tls::Off);
    let complaint = plain.run("SELECT 1").complaint();
    assert!(
        complaint.contains("connections without TLS are not allowed here"),
        "{complaint}"
    );
    assert!(complaint.contains("sslmode=require"), "{complaint}");
}

#[test]
fn plaintext_passes_where_tls_is_only_preferred() {
    let Some(server) = postgres() else { return };
    let front = Front::with(|it| {
        it.listener(listener(&server, "plain").line("tls = { mode = \"preferred\" }"))
    });
    for tls in [Tls::Off, Tls::VerifyFull(front.ca_file.clone())] {
        let client = front.client(&server, "plain").tls(tls);
        assert_eq!(client.run("SELECT 1").answer(), "1");
    }
}

#[test]
fn psql_trusts_nobody_but_whom_it_is_told_to() {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    let stranger = Tls::VerifyFull(server.ca.clone());
    let client = front.client(&server, "plain").tls(stranger);
    let complaint = client.run("SELECT 1").complaint();
    assert!(
        complaint.contains("certificate verify failed"),
        "{complaint}"
    );
}

/// The server binds the login to the certificate that it showed, which is not the proxy's. That is
/// what channel binding is for, and nothing between the two can help it but tell why.
#[test]
fn the_login_is_refused_with_the_reason_on_a_tls_leg_with_channel_binding() {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    for leg in TLS_LEGS {
        let complaint = front.client(&server, leg).run("SELECT 1").complaint();
        assert!(
            complaint.contains("channel binding does not work here"),
            "{leg}: {complaint}"
        );
        assert!(
            complaint.contains("Connect with channel_binding=disable"),
            "{leg}: {complaint}"
        );
    }
}

/// Returns what `verify` says of channel binding on each of these listeners, after it was seen to
/// succeed or not.
#[track_caller]
fn verified(front: &Front, legs: &[&str], refused: bool) -> Vec<String> {
    let verified = front.daemon.ctl(&["verify"]);
    assert_eq!(verified.is_success(), !refused, "{verified:#?}");
    let reloaded = front.daemon.ctl(&["reload"]);
    assert!(reloaded.is_success(), "a reload minds: {reloaded:#?}");
    let of = |leg: &&str| {
        let about = format!("listener \"{leg}\": ");
        let mut lines = verified.stderr.lines();
        let line = lines.find(|it| it.contains(&about) && it.contains("channel"));
        line.unwrap_or_default().to_owned()
    };
    legs.iter().map(of).collect()
}

#[test]
fn verify_refuses_where_channel_binding_cannot_work() {
    let Some(server) = postgres() else { return };
    let front = Front::with_same_leaf(&server, "");
    let told = verified(&front, &SAME_LEAF_LEGS, true);
    assert!(
        told[2].starts_with("error: ") && told[2].contains("which is none of this listener's"),
        "{told:#?}"
    );
    assert_eq!([&told[0], &told[1], &told[3]], ["", "", ""]);
    let status = front.daemon.status();
    let certificate = |number: usize| &status["listeners"][number]["backends"][0]["certificate"];
    assert!(certificate(0).is_null(), "{status:#}");
    for number in [2, 3] {
        assert!(certificate(number)["not_after"].is_string(), "{status:#}");
    }
    // Whichever of two legs with one certificate is renewed first is not held back.
    let renewed = front.ca.request(&["localhost", "127.0.0.1"]).issue();
    front.daemon.files("same-leaf").put(&renewed);
    for when in ["before the reload", "after it"] {
        let told = verified(&front, &["same-leaf"], true);
        assert!(
            told[0].starts_with("warning: ") && told[0].contains("get in again once both"),
            "{when}: {told:#?}"
        );
    }
}

#[test]
fn verify_does_not_mind_where_clients_do_without_channel_binding() {
    let Some(server) = postgres() else { return };
    let front = Front::with(|it| {
        let disable = "channel_binding = \"disable\"";
        it.listener(listener(&server, "require").line(disable))
    });
    assert_eq!(verified(&front, &["require"], false), [""]);
    let client = psql(&front, &server, "require").tls(Tls::Require);
    assert_eq!(client.run("SELECT 1").answer(), "1");
    assert_eq!(verified(&front, &["require"], false), [""]);
}

/// Returns a listener in front of what is no real server, with TLS towards it.
fn behind_tls(name: &str, backend: SocketAddr) -> Listener {
    let listener = Listener::tcp(name, &backend.to_string()).protocol("postgres");
    listener.line("backend_tls = { mode = \"require\" }")
}

#[test]
fn verify_doubts_where_the_backend_cannot_be_visited() {
    let down = Closed::new();
    let front = Front::with(|it| it.listener(behind_tls("down", down.address())));
    let told = verified(&front, &["down"], false);
    assert!(
        told[0].starts_with("warning: ") && told[0].contains("get in only if"),
        "{told:#?}"
    );
}

#[test]
fn a_backend_that_says_nothing_does_not_hold_verify_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = Front::with(|it| {
        let listener = behind_tls("silent", silent.local_addr().unwrap());
        it.listener(listener.line("proxy_protocol = { send = \"v1\" }"))
    });
    let told = verified(&front, &["silent"], false);
    assert!(told[0].contains("get in only if"), "{told:#?}");
    // For nobody, an SSLRequest was sent, and nothing else.
    let (mut visit, _) = silent.accept().unwrap();
    let mut said = Vec::new();
    visit.read_to_end(&mut said).unwrap();
    assert_eq!(said, [b"PROXY UNKNOWN\r\n", SSL_REQUEST].concat());
}

#[test]
fn verify_refuses_a_plain_leg_where_clients_insist_on_channel_binding() {
    let Some(server) = postgres() else { return };
    let insist = "channel_binding = \"require\"";
    let front = Front::with(|it| it.listener(listener(&server, "plain").line(insist)));
    let told = verified(&front, &["plain"], true);
    assert!(told[0].contains("reached without TLS"), "{told:#?}");
}

/// The server offers channel binding to the proxy's TLS, and the client, which has none, would take
/// that for an attack.
#[test]
fn a_client_without_tls_is_not_offered_channel_binding_on_a_tls_leg() {
    let Some(server) = postgres() else { return };
    let front = Front::with(|it| {
        let preferred = "tls = { mode = \"preferred\" }";
        it.listener(listener(&server, "require").line(preferred))
    });
    let plain = front.client(&server, "require").tls(Tls::Off);
    assert_eq!(plain.run("SELECT 1").answer(), "1");
}

#[test]
fn a_client_that_insists_on_channel_binding_does_not_log_in_on_a_plain_leg() {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    for leg in ["plain", "unix"] {
        let client = front.client(&server, leg).option("channel_binding=require");
        let complaint = client.run("SELECT 1").complaint();
        assert!(
            complaint.contains("channel binding is required"),
            "{leg}: {complaint}"
        );
    }
}

#[test]
fn the_server_s_leg_has_tls_where_it_is_configured_and_nowhere_else() {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    for leg in LEGS {
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let answer = psql(&front, &server, leg).run(sql).answer();
        let expected = if TLS_LEGS.contains(&leg) { "t" } else { "f" };
        assert_eq!(answer, expected, "{leg}");
    }
}

#[test]
fn a_wrong_password_is_answered_by_the_server_over_every_leg() {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    for leg in LEGS {
        let wrong = psql(&front, &server, leg).login(server.user, "wrong");
        let complaint = wrong.run("SELECT 1").complaint();
        assert!(
            complaint.contains("password authentication failed"),
            "{leg}: {complaint}"
        );
    }
}

#[test]
fn an_error_of_the_server_does_not_end_the_session() {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    let client = psql(&front, &server, "plain");
    let complaint = client.run("SELECT 1/0").complaint();
    assert!(complaint.contains("division by zero"), "{complaint}");
    let mut session = client.open();
    session.ask("\\set ON_ERROR_STOP off\nSELECT 1/0").unwrap();
    assert_eq!(session.ask("SELECT 2").unwrap(), "2");
}

#[test]
fn a_big_value_comes_whole_over_every_leg() {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    for leg in LEGS {
        let sql = "SELECT repeat('0123456789', 200000)";
        let answer = psql(&front, &server, leg).run(sql).answer();
        assert!(answer == "0123456789".repeat(200_000), "{leg}");
    }
}

#[test]
fn psql_copies_rows_out() {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    for leg in LEGS {
        let sql = "COPY (SELECT n FROM generate_series(1, 100000) n) TO STDOUT";
        let answer = psql(&front, &server, leg).run(sql).answer();
        assert_eq!(answer.lines().count(), 100_000, "{leg}");
        assert!(answer.ends_with("\n100000"), "{leg}");
    }
}

#[test]
fn a_session_goes_on_when_the_certificate_is_replaced() {
    let Some(server) = postgres() else { return };
    let front = Front::new(&server);
    for leg in LEGS {
        let client = psql(&front, &server, leg);
        let mut session = client.open();
        let id = session.ask("SELECT pg_backend_pid()").unwrap();
        let leaf = front.ca.request(&["localhost", "127.0.0.1"]).issue();
        front.daemon.files("default").put(&leaf);
        front.daemon.ctl(&["reload-tls"]).answer();
        assert_eq!(session.ask("SELECT pg_backend_pid()").unwrap(), id);
        assert_eq!(client.run("SELECT 1").answer(), "1");
    }
}
