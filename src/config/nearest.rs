//! Guesses which word was meant.

/// The longest word worth guessing about; the work grows with its square.
const LONGEST: usize = 64;

/// Returns the candidate that is fewest typing mistakes away from `word`, if it is close enough to
/// have been meant.
pub(super) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .iter()
        .map(|candidate| (mistakes(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns how many letters must be added, dropped, replaced or swapped with their neighbour to
/// turn `from` into `to`.
fn mistakes(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for i in 1..=from.len() {
        let mut next = vec![i];
        for j in 1..=to.len() {
            let differs = usize::from(from[i - 1] != to[j - 1]);
            let mut best = (row[j] + 1).min(next[j - 1] + 1).min(row[j - 1] + differs);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_counted() {
        for (from, to, count) in [
            ("", "", 0),
            ("", "abc", 3),
            ("bind", "bind", 0),
            ("bakend", "backend", 1),
            ("bnid", "bind", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(mistakes(from, to), count, "{from} {to}");
            assert_eq!(mistakes(to, from), count, "{to} {from}");
        }
    }

    #[test]
    fn only_what_is_close_is_guessed() {
        let keys = ["name", "bind", "backend", "backend_tls"];
        assert_eq!(nearest("bakend", &keys), Some("backend"));
        assert_eq!(nearest("backend-tls", &keys), Some("backend_tls"));
        assert_eq!(nearest("colour", &keys), None);
        assert_eq!(nearest(&"x".repeat(1000), &keys), None);
    }
}
