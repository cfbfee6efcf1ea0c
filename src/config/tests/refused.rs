//! What is refused, and in which words.

mod clients;
mod text;

use super::{GOOD, complaint};
use crate::config::{ConfigError, LISTENERS_MAX, fixture::parse};

/// Checks that `text` has exactly one problem, on this `line`, whose message has this `fragment`.
#[track_caller]
fn one_problem(text: &str, line: usize, fragment: &str) {
    let complaint = complaint(text);
    let place = format!("--> /etc/proxyd/proxyd.toml:{line}:");
    assert_eq!(
        complaint.matches("error: ").count(),
        1,
        "{text}\n{complaint}"
    );
    assert!(complaint.contains(fragment), "{fragment}\n{complaint}");
    assert!(complaint.contains(&place), "{place}\n{complaint}");
}

#[test]
fn a_misspelt_key_is_drawn_with_the_key_that_was_meant() {
    let text = "[[listener]]\nbind = \"[::]:3307\"\nbakend = \"db:3306\"\n";
    assert_eq!(
        complaint(text),
        "error: unknown key `bakend`; did you mean `backend`?\n \
         --> /etc/proxyd/proxyd.toml:3:1\n  \
         |\n\
         3 | bakend = \"db:3306\"\n  \
         | ^^^^^^"
    );
}

#[test]
fn complaints_hold_no_colour() {
    let error = parse("worker = 1").unwrap_err();
    assert!(!error.to_string().contains('\x1b'));
}

#[test]
fn a_time_to_keep_sessions_after_is_a_time_or_off() {
    for (line, fragment) in [
        (
            "keep_after = \"none\"",
            "`none` is not a time to keep sessions after: write 1ms to 1m, or `off` to keep none",
        ),
        ("keep_after = \"0s\"", "`0s` is not a time to keep"),
        ("keep_after = \"61s\"", "write 1ms to 1m"),
        ("keep_after = 100", "expected a string"),
        ("keep_after = false", "expected a string"),
    ] {
        one_problem(&format!("{line}\n{GOOD}"), 1, fragment);
    }
}

#[test]
fn every_mistake_of_the_top_level_is_found() {
    for (line, fragment) in [
        (
            "worker = 2",
            "unknown key `worker`; did you mean `workers`?",
        ),
        (
            "colour = 2",
            "unknown key `colour`; known here: workers, user, ",
        ),
        ("workers = 0", "`workers` is a number from 1 to 256"),
        ("workers = 257", "`workers` is a number from 1 to 256"),
        ("workers = \"two\"", "expected an integer"),
        ("user = \"\"", "this is empty"),
        ("control_group = \"\"", "this is empty"),
        ("state_dir = \"\"", "this is empty"),
        ("state_dir = \"/a\\u0000b\"", "this holds a zero byte"),
        ("pid_file = 5", "expected a string"),
        (
            "drain_timeout = \"soon\"",
            "`soon` is not a duration: write for instance 30s",
        ),
        ("drain_timeout = 30", "expected a string"),
        ("drain_timeout = \"-3s\"", "`-3s` is a negative duration"),
        (
            "drain_timeout = \"9000h\"",
            "`9000h` is longer than 30 days",
        ),
        ("heartbeat_timeout = \"1ms\"", "this is shorter than 100ms"),
        ("watch = \"yes\"", "expected a boolean"),
        ("watch_interval = \"99ms\"", "this is shorter than 100ms"),
        ("watch_interval = \"61m\"", "this is longer than 1h"),
        ("watch_grace = \"2h\"", "this is longer than 1h"),
        ("watch_grace = 10", "expected a string"),
        (
            "log = { level = \"wran\" }",
            "unknown value `wran`; did you mean `warn`?",
        ),
        (
            "log = { level = { info = {} } }",
            "invalid type: map, expected a string",
        ),
        (
            "log = { format = \"xml\" }",
            "unknown value `xml`; known here: text, json",
        ),
        (
            "log = { levle = \"info\" }",
            "unknown key `levle`; did you mean `level`?",
        ),
        (
            "log = [\"info\"]",
            "invalid type: sequence, expected a table",
        ),
        ("metrics = {}", "`metrics` has no `bind`"),
        (
            "metrics = { bind = \"localhost:1\" }",
            "invalid socket address",
        ),
        (
            "metrics = { bind = \"[::]:1\" }",
            "`[::]:1` is taken already by the metrics page",
        ),
        (
            "metrics = { bind = \"127.0.0.1:1\" }",
            "`[::]:1` overlaps with `127.0.0.1:1`, which is taken already by the metrics page",
        ),
        ("on_exit_failure = {}", "`on_exit_failure` has no `command`"),
        (
            "on_exit_failure = { command = [] }",
            "this command is empty",
        ),
        (
            "on_exit_failure = { command = [\"page\"] }",
            "`page` needs its absolute path",
        ),
        (
            "on_exit_failure = { command = [\"/a\", 5] }",
            "expected a string",
        ),
        (
            "on_exit_failure = { command = [\"/a\", \"\\u0000\"] }",
            "holds a zero byte",
        ),
        (
            "on_exit_failure = { command = [\"/a\"], timeout = \"0s\" }",
            "shorter than 10ms",
        ),
        ("identity = 5", "expected an array"),
    ] {
        // The address that metrics takes is complained about where the listener wants it.
        let taken = ["[::]:1", "127.0.0.1:1"].iter().any(|it| line.contains(it));
        let place = if taken { 3 } else { 1 };
        one_problem(&format!("{line}\n{GOOD}"), place, fragment);
    }
}

#[test]
fn the_daemons_own_files_have_places_of_their_own() {
    for (lines, fragment) in [
        (
            "pid_file = \"/run/p\"\nlog.file = \"/run/p\"",
            "`pid_file` and the log file have the same path, /run/p;",
        ),
        (
            "pid_file = \"/run/p\"\ncontrol_socket = \"/run/p\"",
            "`pid_file` and `control_socket` have the same path",
        ),
        (
            "pid_file = \"/run/p\"\ncontrol_socket = \"/s\"\nstate_dir = \"/run/p/state\"",
            "`state_dir` is at /run/p/state, below /run/p, which is `pid_file` and no folder",
        ),
        (
            "control_socket = \"/run/p/s\"\nlog.file = \"/run/p\"",
            "`control_socket` is at /run/p/s, below /run/p, which is the log file",
        ),
        (
            "control_socket = \"/run/s\"\npid_file = \"/run/s.cookie\"",
            "`pid_file` and the control cookie have the same path, /run/s.cookie;",
        ),
    ] {
        let told = complaint(&format!("{lines}\n{GOOD}"));
        assert!(told.contains(fragment), "{told}");
        assert_eq!(told.matches("error: ").count(), 1, "{told}");
    }
}

#[test]
fn every_mistake_of_a_listener_is_found() {
    for (line, fragment) in [
        ("name = \"a b\"", "`a b` is not a name"),
        (
            "protocol = \"mysqll\"",
            "unknown value `mysqll`; did you mean `mysql`?",
        ),
        ("identities = []", "no identity is named"),
        (
            "identities = [\"defualt\"]",
            "no identity `defualt`; did you mean `default`?",
        ),
        (
            "identities = [\"x\"]",
            "there is no identity `x`; there is `default`",
        ),
        (
            "identities = [\"default\", \"default\"]",
            "identity `default` is named twice",
        ),
        (
            "tls = { mode = \"off\" }",
            "unknown value `off`; known here: preferred, required",
        ),
        ("tls.min_version = \"1.1\"", "unknown value `1.1`"),
        (
            "tls.min_version = 1.2",
            "floating point `1.2`, expected a string",
        ),
        (
            "backend_tls = { ca = \"c\" }",
            "`ca` has no use while `backend_tls` is off",
        ),
        (
            "backend_tls = { mode = \"off\", server_name = \"a\" }",
            "`server_name` has no use",
        ),
        (
            "backend_tls = { mode = \"require\", ca = \"c\" }",
            "use verify-ca or verify-full",
        ),
        (
            "backend_tls = { mode = \"verify-ca\", crl = \"c\" }",
            "this `crl` has no `ca` whose lists it could hold",
        ),
        (
            "backend_tls = { crl = \"c\" }",
            "`crl` has no use while `backend_tls` is off",
        ),
        (
            "backend_tls = { mode = \"verify_full\" }",
            "did you mean `verify-full`?",
        ),
        (
            "backend_tls = { mode = \"verify-ca\", server_name = \"a b\" }",
            "neither a DNS name",
        ),
        (
            "proxy_protocol = { send = \"v3\" }",
            "unknown value `v3`; did you mean `v1`?",
        ),
        ("proxy_protocol = { accept = 1 }", "expected a boolean"),
        (
            "limits = { max_connections = 0 }",
            "`max_connections` is a number from 1 to",
        ),
        (
            "limits = { max_connections = -1 }",
            "`max_connections` is a number from 1 to",
        ),
        (
            "limits = { per_client = -1 }",
            "`per_client` is a number from 0 to 1000000",
        ),
        (
            "limits = { per_client = 1000001 }",
            "`per_client` is a number from 0 to 1000000",
        ),
        (
            "limits = { handshake_timeout = \"0s\" }",
            "this is shorter than 10ms",
        ),
        (
            "limits = { connect_timeout = \"0s\" }",
            "this is shorter than 10ms",
        ),
        ("limits = { idle_timeout = \"x\" }", "`x` is not a duration"),
        (
            "limits = { dead_peer_timeout = \"999ms\" }",
            "this is shorter than 1s",
        ),
    ] {
        one_problem(&format!("{GOOD}{line}\n"), 4, fragment);
    }
}

#[test]
fn every_mistake_about_a_certificate_for_the_backend_is_found() {
    for (line, fragment) in [
        (
            "backend_tls = { mode = \"verify-ca\", passphrase_file = \"p\" }",
            "this `passphrase_file` has no `cert`",
        ),
        (
            "backend_tls = { mode = \"verify-ca\", pkcs12 = \"c\", key = \"k\" }",
            "`pkcs12` holds certificate and key; leave `key` out",
        ),
        (
            "backend_tls = { pkcs12 = \"c\" }",
            "`pkcs12` has no use while `backend_tls` is off",
        ),
        (
            "backend_tls = { mode = \"verify-ca\", key = \"c\" }",
            "this `key` has no `cert`",
        ),
    ] {
        one_problem(&format!("{GOOD}{line}\n"), 4, fragment);
    }
}

#[test]
fn addresses_that_cannot_be_listened_at_are_found() {
    for (text, line, fragment) in [
        (
            format!("{GOOD}[[listener]]\nbind = \"10.0.0.1:1\"\nbackend = \"h:1\"\n"),
            5,
            "`10.0.0.1:1` overlaps with `[::]:1`, which is taken already by listener `default`",
        ),
        (
            "[[listener]]\nbind = \"unix:/s\"\nbackend = \"h:1\"\nfreebind = true\n".to_owned(),
            4,
            "`freebind` has no use here",
        ),
    ] {
        one_problem(&text, line, fragment);
    }
}

#[test]
fn what_does_not_fit_together_is_found() {
    let listener = |extra: &str| format!("[[listener]]\n{extra}\n");
    let twice = "name = \"a\"\nbind = \"h:0\"\nbackend = \"h:1\"";
    for (text, line, fragment) in [
        (
            listener("bind = \"h:1\""),
            1,
            "listener `default` has no `backend`",
        ),
        (
            listener("backend = \"h:1\""),
            1,
            "listener `default` has no `bind`",
        ),
        (
            listener("bind = \"h\"\nbackend = \"h:1\""),
            2,
            "`h` is not an address: it has no port",
        ),
        (
            listener("bind = \"h:1\"\nbackend = \"h:0\""),
            3,
            "a backend cannot have port 0",
        ),
        (
            listener(twice) + &listener(twice),
            6,
            "another listener is named `a`",
        ),
        (
            GOOD.to_owned() + &listener("bind = \"[0::0]:1\"\nbackend = \"h:1\""),
            5,
            "`[::]:1` is taken already by listener `default`",
        ),
        (
            listener(
                "bind = \"h:1\"\nbackend = \"unix:/db\"\nbackend_tls = { mode = \"verify-full\" }",
            ),
            4,
            "`verify-full` needs a `server_name` here",
        ),
        (
            listener(
                "bind = \"h:1\"\nbackend = \"h:2\"\ntls.mode = \"preferred\"\n\
                 client_auth = { mode = \"required\", ca = \"c\" }",
            ),
            4,
            "`preferred` lets plaintext in",
        ),
        (
            "control_socket = \"/run/s\"\n".to_owned()
                + &listener("bind = \"unix:/run/s\"\nbackend = \"h:1\""),
            3,
            "`unix:/run/s` is taken already by the control socket",
        ),
        (
            GOOD.to_owned() + "[[identity]]\nkey = \"k\"",
            4,
            "identity `default` has no `cert`",
        ),
        (
            GOOD.to_owned() + "[[identity]]\nname = \"a\"",
            4,
            "identity `a` has no `cert`; give that, or `pkcs12`",
        ),
        (
            GOOD.to_owned() + "[[identity]]\npkcs12 = \"p\"\ncert = \"c\"",
            6,
            "`pkcs12` holds certificate and key; leave `cert` out",
        ),
        (
            GOOD.to_owned()
                + "[[identity]]\ncert = \"c\"\npassphrase_file = \"p\"\n\
                   passphrase_command = [\"/p\"]",
            7,
            "a passphrase comes from `passphrase_file` or from",
        ),
        (
            GOOD.to_owned() + "[[identity]]\ncert = \"c\"\npassphrase_command = [\"pass\"]",
            6,
            "the program `pass` needs its absolute path",
        ),
        (
            GOOD.to_owned() + "[[identity]]\ncert = \"c\"\npassphrase = \"p\"",
            6,
            "unknown key `passphrase`",
        ),
        (
            "listener = [5]".to_owned(),
            1,
            "invalid type: integer `5`, expected a table",
        ),
        (format!("{GOOD}[limits"), 4, "unclosed table"),
    ] {
        one_problem(&text, line, fragment);
    }
}

#[test]
fn an_empty_file_has_no_listener() {
    for text in ["", "workers = 2", "listener = []"] {
        let complaint = complaint(text);
        assert!(complaint.contains("there is no listener; add a [[listener]]"));
        assert!(complaint.contains("--> /etc/proxyd/proxyd.toml"));
    }
}

#[test]
fn all_problems_are_listed_at_once_in_the_order_of_the_file() {
    let text = "\
workers = 0
usr = \"x\"
log = { level = 5, fle = \"x\" }
drain_timeout = \"x\"
[[identity]]
nme = \"default\"
[[listener]]
bind = \"h\"
limits = { max_conections = 5, connect_timeout = \"0s\" }
[[listener]]
bnid = \"h:1\"
";
    let error = parse(text).unwrap_err();
    let ConfigError::Invalid(report) = error else {
        panic!("{error}")
    };
    let messages: Vec<&str> = report.problems().iter().map(|one| &*one.message).collect();
    let expected = [
        "`workers` is a number",
        "unknown key `usr`; did you mean `user`?",
        "invalid type: integer `5`",
        "unknown key `fle`; did you mean `file`?",
        "`x` is not a duration",
        "unknown key `nme`; did you mean `name`?",
        "`h` is not an address",
        "unknown key `max_conections`; did you mean `max_connections`?",
        "this is shorter than 10ms",
        "unknown key `bnid`; did you mean `bind`?",
    ];
    assert_eq!(messages.len(), expected.len(), "{messages:#?}");
    for (message, expected) in messages.iter().zip(expected) {
        assert!(message.contains(expected), "{message} / {expected}");
    }
}

#[test]
fn folders_of_identities_have_a_path_and_a_name_of_their_own() {
    one_problem(
        &format!("[[identity_dir]]\nname = \"live\"\n{GOOD}"),
        1,
        "this `identity_dir` has no `path`",
    );
    let taken = "[[identity]]\nname = \"live\"\ncert = \"c\"\nkey = \"k\"\n\
        [[identity_dir]]\npath = \"/etc/live\"\n";
    one_problem(
        &format!("{taken}{GOOD}"),
        5,
        "another identity or folder of identities is named `live`",
    );
}

#[test]
fn listeners_beyond_the_most_there_can_be_are_refused_at_the_first_of_them() {
    let listeners = |number: usize| -> String {
        let listener = |port| format!("[[listener]]\nbind = \"[::1]:{port}\"\nbackend = \"b:1\"\n");
        (1..=number).map(listener).collect()
    };
    parse(&listeners(LISTENERS_MAX)).unwrap();
    one_problem(
        &listeners(LISTENERS_MAX + 2),
        LISTENERS_MAX * 3 + 1,
        "there can be 4096 listeners at most",
    );
}
