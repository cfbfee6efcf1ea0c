//! What the package shows people must be right.

use crate::config::fixture::parse;

/// Returns the text between the lines that hold `begin` and `end`.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
    let blocks = text.split(begin).skip(1);
    blocks
        .filter_map(|rest| rest.split_once(end))
        .map(|(block, _)| block)
        .collect()
}

#[test]
fn the_packaged_example_is_a_configuration() {
    let text = include_str!("../../../packaging/proxyd.toml");
    parse(text).unwrap();
}

#[test]
fn the_packaged_example_without_its_comment_signs_is_one_too() {
    let text = include_str!("../../../packaging/proxyd.toml");
    // A key that is commented out has no blank behind its sign.
    let open: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest)
                if rest.starts_with(|first: char| first.is_ascii_lowercase() || first == '[') =>
            {
                rest
            }
            _ => line,
        })
        .collect();
    let text = open.join("\n");
    if let Err(error) = parse(&text) {
        panic!("{error}");
    }
}

#[test]
fn the_examples_of_the_manual_are_configurations() {
    let page = include_str!("../../../man/proxyd.toml.5");
    let examples = between(page, ".\\\" example\n.EX\n", ".EE\n");
    assert!(examples.len() >= 3);
    for example in examples {
        let text = example
            .replace("\\-", "-")
            .replace("\\(dq", "\"")
            .replace("\\&", "");
        if let Err(error) = parse(&text) {
            panic!("{text}\n{error}");
        }
    }
}
