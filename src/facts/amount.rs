//! Numbers of things, in words.

/// Returns `1 worker`, `2 workers`.
#[must_use]
pub fn amount(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
