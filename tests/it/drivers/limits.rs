//! The list of what is known not to work.

use std::{collections::HashMap, fs};

use super::{SCRIPTS, script::Said};

/// The list.
pub(super) struct Limits(Vec<Limit>);

/// A line of it: driver, server, leg and step, each a word, words with commas between, or `*`.
struct Limit {
    place: [String; 4],
}

impl Limits {
    /// Reads the file.
    pub(super) fn read() -> Self {
        let text = fs::read_to_string(format!("{SCRIPTS}/limits.txt")).unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(lines.map(Limit::parse).collect())
    }

    /// Compares what a script said with what it should have said; returns what is wrong.
    pub(super) fn judge(
        &self,
        place: &str,
        steps: &[String],
        said: &HashMap<String, Said>,
    ) -> Vec<String> {
        let complaint = |step: &String| {
            let place = format!("{place} | {step}");
            match (said.get(step), self.holds(&place)) {
                (Some(Said::Ok), false) | (Some(Said::Failed(_)), true) => None,
                (Some(Said::Ok), true) => Some(format!("{place}: works, and is listed as a limit")),
                (Some(Said::Failed(reason)), false) => Some(format!("{place}: {reason}")),
                (None, _) => Some(format!("{place}: the script did not come to it")),
            }
        };
        let missing = steps.iter().filter_map(complaint);
        let unknown = said.keys().filter(|step| !steps.contains(step));
        missing
            .chain(unknown.map(|step| format!("{place} | {step}: nobody asked for this step")))
            .collect()
    }

    fn holds(&self, place: &str) -> bool {
        self.0.iter().any(|limit| limit.is_about(place))
    }
}

impl Limit {
    fn parse(line: &str) -> Self {
        let parts: Vec<_> = line
            .split(" | ")
            .map(|part| part.trim().to_owned())
            .collect();
        let [driver, server, leg, step, reason] = parts.try_into().unwrap_or_else(|_| {
            panic!("limits.txt wants driver, server, leg, step and reason: {line:?}")
        });
        assert!(!reason.is_empty(), "a limit has a reason: {line:?}");
        Self {
            place: [driver, server, leg, step],
        }
    }

    fn is_about(&self, place: &str) -> bool {
        let words = self.place.iter().zip(place.split(" | "));
        words
            .into_iter()
            .all(|(own, it)| own == "*" || own.split(", ").any(|own| own == it))
    }
}

#[test]
fn a_limit_is_about_the_places_that_it_names() {
    let limit = Limit::parse("one | * | plain, unix | login a b, connect | a reason");
    assert!(limit.is_about("one | mysql | plain | login a b"));
    assert!(limit.is_about("one | mysql | unix | connect"));
    for other in [
        "two | mysql | plain | login a b",
        "one | mysql | require | login a b",
        "one | mysql | plain | login a",
    ] {
        assert!(!limit.is_about(other), "{other}");
    }
}
