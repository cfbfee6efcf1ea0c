//! The certificates that `MySQL` makes by itself: an authority of its own, and no name.

use crate::support::{configuration::Listener, front::Front, servers, until};

/// Starts a daemon in front of them, with a listener of this mode.
fn front(mode: &str) -> Front {
    let (address, ca) = servers::own_certificates_of_mysql();
    let tls = match mode {
        "require" => "mode = \"require\"".to_owned(),
        _ => format!("mode = \"{mode}\", ca = \"{}\"", ca.display()),
    };
    Front::with(|it| {
        let listener = Listener::tcp(mode, &address).protocol("mysql");
        it.listener(listener.line(&format!("backend_tls = {{ {tls} }}")))
    })
}

#[test]
fn they_pass_where_no_name_is_checked() {
    let Some(server) = servers::mysql() else {
        return;
    };
    for mode in ["require", "verify-ca"] {
        let front = front(mode);
        let answer = front.client(&server, mode).run("SELECT 1").answer();
        assert_eq!(answer, "1", "{mode}");
    }
}

#[test]
fn they_fail_where_the_name_is_checked_and_the_log_says_what_to_do() {
    let Some(server) = servers::mysql() else {
        return;
    };
    let front = front("verify-full");
    let complaint = front
        .client(&server, "verify-full")
        .run("SELECT 1")
        .complaint();
    assert!(complaint.contains("proxyd"), "{complaint}");
    until("the log says what to do", || {
        let log = front.daemon.log();
        log.contains("MySQL and MariaDB make by themselves; use verify-ca")
    });
}
