//! Text that is no configuration at all, or too much of one.

use proptest::prelude::*;

use super::super::{GOOD, accepted::EVERY_KEY, complaint};
use crate::config::fixture::parse;

#[test]
fn broken_syntax_is_shown_where_it_is() {
    for (text, line) in [
        ("[[listener]\n", 1),
        ("workers = 1\nworkers = 2\n", 2),
        ("a =\n", 1),
    ] {
        let complaint = complaint(text);
        let place = format!("--> /etc/proxyd/proxyd.toml:{line}:");
        assert!(complaint.contains(&place), "{complaint}");
    }
}

#[test]
fn a_number_of_mistakes_too_large_to_read_is_cut_short() {
    let lines: Vec<String> = (0..200).map(|number| format!("k{number} = 1")).collect();
    let text = lines.join("\n");
    assert_eq!(complaint(&text).matches("error: ").count(), 50);
}

#[test]
fn a_certificate_or_key_is_told_of_and_not_shown() {
    let pem = "-----BEGIN PRIVATE KEY-----\nTm90IGEga2V5\n-----END PRIVATE KEY-----\n";
    for (text, line) in [
        (pem.to_owned(), 1),
        (format!("Bag Attributes\n{pem}"), 2),
        (format!("{GOOD}[[identity]]\nkey = {pem}"), 5),
        (format!("{GOOD}[[identity]]\nkey = '''\n{pem}'''\n"), 6),
    ] {
        let error = parse(&text).unwrap_err();
        let complaint = error.to_string();
        let place = format!("/proxyd.toml holds PEM, at line {line}:");
        assert!(complaint.contains(&place), "{complaint}");
        assert!(!complaint.contains("Tm90"), "{complaint}");
        assert_eq!(error.lines(), [complaint]);
    }
    let commented = format!("# -----BEGIN PRIVATE KEY-----\n{GOOD}");
    assert_eq!(complaint(&commented), "");
}

/// What was named by mistake may hold passwords.
#[test]
fn lines_of_a_file_without_a_listener_are_told_of_and_not_shown() {
    for (text, line, column) in [
        ("hunter2\n", 1, 8),
        ("hunter2 hunter2", 1, 9),
        ("# mine\n\npassword: hunter2\n", 3, 9),
        ("root:$6$hunter2:19000::\n", 1, 5),
        ("[client]\npassword=hunter2\n", 2, 10),
        ("password = \"hunter2\"\n", 1, 1),
        ("'\u{e4}' = [ \"hunter2\"", 1, 18),
    ] {
        let error = parse(text).unwrap_err();
        let place = format!("/proxyd.toml:{line}:");
        let whole = format!("{place}{column}\n");
        assert!((error.to_string() + "\n").contains(&whole), "{error}");
        for told in [error.to_string(), error.lines().join("\n")] {
            assert!(told.contains(&place), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}

#[test]
fn lines_are_shown_where_a_listener_is_written_wrongly_too() {
    for header in [
        "[[listener]]",
        "[listener]",
        "[[ listener ]]",
        "listener = [",
        "[[listeners]]",
    ] {
        let told = complaint(&format!("worker = 3\n{header}\nbnd = 5"));
        assert!(
            told.contains("\n3 | bnd = 5") || told.contains("\n1 | worker = 3"),
            "{told}"
        );
    }
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_a_report(text in ".{0,200}") {
        let _: String = complaint(&text);
    }

    #[test]
    fn any_damage_to_a_good_file_is_a_configuration_or_a_report(
        at in 0..EVERY_KEY.len(),
        length in 0..40_usize,
        put in "[ -~\n\u{e9}]{0,6}",
    ) {
        let end = (at + length).min(EVERY_KEY.len());
        let text = [&EVERY_KEY[..at], &put, &EVERY_KEY[end..]].concat();
        let _: String = complaint(&text);
    }
}

#[test]
fn depth_and_length_do_no_harm() {
    let deep = 100_000;
    for text in [
        format!("a = {}", "[".repeat(deep)),
        format!("{} = 1", vec!["a"; deep].join(".")),
        format!("[{}]", vec!["a"; deep].join(".")),
        "x".repeat(1_000_000),
        "[[listener]]\n".repeat(70_000),
        "log = 1\n".repeat(70_000),
    ] {
        let complaint = complaint(&text);
        assert!(complaint.starts_with("error: ") && complaint.len() < 100_000);
    }
}
