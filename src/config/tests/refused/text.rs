//! Text that is no configuration at all, or too much of one.

use proptest::prelude::*;

use super::super::{accepted::EVERY_KEY, complaint};

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
