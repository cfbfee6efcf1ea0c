//! Tests of the whole way, from a file's text to a configuration or its problems.

mod accepted;
mod examples;
mod neighbours;
mod refused;
mod sources;

use super::fixture::parse;

/// A listener with nothing wrong, to put beside what is wrong.
const GOOD: &str = "[[listener]]\nbind = \"[::]:1\"\nbackend = \"db:2\"\n";

/// Returns what is printed about `text`, or nothing if it is good.
fn complaint(text: &str) -> String {
    parse(text).map_or_else(|error| error.to_string(), |_| String::new())
}
