//! Prometheus' own judge of metrics and rules.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use super::{Front, text};
use crate::support::{
    backend::{Backend, Closed},
    configuration::Listener,
    pki::replace,
    skip,
};

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/prometheus");

/// Runs `promtool`; `None` where there is none.
fn promtool(arguments: &[&str], input: &str) -> Option<Output> {
    let started = Command::new("promtool")
        .args(arguments)
        .current_dir(RULES)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            skip(&format!("promtool cannot be run: {error}"));
            return None;
        }
    };
    child.stdin.take()?.write_all(input.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

/// Checks that it is content and has nothing to remark.
#[track_caller]
fn accepts(arguments: &[&str], input: &str) -> bool {
    let Some(output) = promtool(arguments, input) else {
        return false;
    };
    assert!(output.status.success(), "{output:?}\n{input}");
    assert!(output.stderr.is_empty(), "{output:?}\n{input}");
    true
}

#[test]
fn promtool_has_no_complaint_about_the_page_of_a_daemon_that_fares_well_or_badly() {
    let backend = Backend::tcp();
    let closed = Closed::new();
    let front = Front::new(|it| {
        it.listener(Listener::tcp("main", &backend.address()))
            .listener(Listener::tcp("down", &closed.address().to_string()))
    });
    let check = || accepts(&["check", "metrics"], &text(front.page, "text/plain"));
    let mut session = front.client.connect(front.daemon.address()).unwrap();
    session.echo("hello").unwrap();
    if !check() {
        return;
    }
    let _ = front.client.connect(front.daemon.address_of("down"));
    replace(&front.daemon.files("default").cert, "rubbish");
    front.daemon.ctl(&["reload-tls"]).complaint();
    front.await_metric("proxyd_tls_last_load_failed", 1.0);
    front.await_metric(
        "proxyd_sessions_failed_total{listener=\"down\",reason=\"backend\"}",
        1.0,
    );
    check();
}

#[test]
fn promtool_accepts_the_alert_rules_and_their_tests_pass() {
    if accepts(&["check", "rules", "proxyd.rules.yml"], "") {
        let output = promtool(&["test", "rules", "proxyd.rules.test.yml"], "").unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}
