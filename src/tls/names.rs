//! Which of a listener's identities a server name stands for.

use crate::x509::name::normal_name;

/// Which of a listener's identities a server name stands for, by position.
///
/// All names lie in one text, sorted: a worker holds a table of thousands that clients hardly ever
/// ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NameTable {
    text: Box<str>,
    /// Where each name ends in the text, where the next one begins.
    ends: Box<[usize]>,
    /// The identity that holds each name.
    holders: Box<[usize]>,
    fallback: Box<[usize]>,
}

impl NameTable {
    pub(crate) fn new(names: &[&[String]]) -> Self {
        let mut held: Vec<(String, usize)> = Vec::with_capacity(names.len());
        let first = names.first().map(|it| normal(it)).unwrap_or_default();
        let mut fallback = Vec::new();
        for (index, names) in names.iter().enumerate() {
            let names = normal(names);
            // The same names with another kind of key are the same server to a client; without any name
            // nothing says so.
            if index == 0 || (!first.is_empty() && names == first) {
                fallback.push(index);
            }
            held.extend(names.into_iter().map(|name| (name, index)));
        }
        held.sort();
        let mut text = String::with_capacity(held.iter().map(|(name, _)| name.len()).sum());
        let mut ends = Vec::with_capacity(held.len());
        for (name, _) in &held {
            text.push_str(name);
            ends.push(text.len());
        }
        Self {
            text: text.into(),
            ends: ends.into(),
            holders: held.iter().map(|(_, index)| *index).collect(),
            fallback: fallback.into(),
        }
    }

    /// Returns the identities that hold a name; the star of a name that they hold is one label, RFC
    /// 6125 §6.4.3.
    pub(crate) fn holders(&self, name: &str) -> Option<&[usize]> {
        let name = normal_name(name);
        self.of(&name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.of(&format!("*.{parent}"))
        })
    }

    /// Returns the identities of a client that asks for no name, or for one that none holds.
    pub(crate) fn fallback(&self) -> &[usize] {
        &self.fallback
    }

    /// Returns every name that is held, in order and each once, with the identities that hold it.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &[usize])> {
        let mut begin = 0;
        std::iter::from_fn(move || {
            self.holders.get(begin)?;
            let name = self.name(begin);
            let mut end = begin + 1;
            while end < self.holders.len() && self.name(end) == name {
                end += 1;
            }
            let holders = self.holders.get(begin..end)?;
            begin = end;
            Some((name, holders))
        })
    }

    fn of(&self, name: &str) -> Option<&[usize]> {
        let begin = self.first(|held| held >= name);
        let end = self.first(|held| held > name);
        self.holders.get(begin..end).filter(|it| !it.is_empty())
    }

    /// Returns the position of the first name that is so far back in the order.
    fn first(&self, is_so_far: impl Fn(&str) -> bool) -> usize {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if is_so_far(self.name(middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    fn name(&self, position: usize) -> &str {
        let end = self.ends.get(position).copied().unwrap_or_default();
        let before = position.checked_sub(1).and_then(|it| self.ends.get(it));
        let begin = before.copied().unwrap_or_default();
        self.text.get(begin..end).unwrap_or_default()
    }
}

fn normal(names: &[String]) -> Vec<String> {
    let mut names: Vec<_> = names.iter().map(|it| normal_name(it)).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Finds holders by looking at every name of every identity.
    fn naive(names: &[Vec<String>], asked: &str) -> Vec<usize> {
        let holds = |fits: &dyn Fn(&str) -> bool| -> Vec<usize> {
            let all = names.iter().enumerate();
            all.filter(|(_, it)| it.iter().any(|name| fits(&name.to_lowercase())))
                .map(|(index, _)| index)
                .collect()
        };
        let asked = asked.to_lowercase();
        let exact = holds(&|name| !name.starts_with("*.") && name == asked);
        if !exact.is_empty() {
            return exact;
        }
        holds(&|name| {
            let labels = asked.split('.').count();
            name.starts_with("*.")
                && labels == name.split('.').count()
                && asked.ends_with(&name[1..])
        })
    }

    proptest! {
        #[test]
        fn names_are_found_as_the_naive_model_finds_them(
            names in prop::collection::vec(
                prop::collection::vec("(\\*\\.)?[aAb](\\.[ab]){0,2}", 1..4), 1..4),
            asked in "[aAb](\\.[abB]){0,3}",
        ) {
            let slices: Vec<&[String]> = names.iter().map(Vec::as_slice).collect();
            let table = NameTable::new(&slices);
            let expected = naive(&names, &asked);
            prop_assert_eq!(table.holders(&asked).unwrap_or_default(), expected);
            prop_assert_eq!(table.fallback[0], 0);
        }
    }

    #[test]
    fn identities_without_names_do_not_stand_in_for_each_other() {
        let none = Vec::new();
        let table = NameTable::new(&[&none, &none]);
        assert_eq!(table.fallback(), [0]);
        let name = vec!["a".to_owned()];
        assert_eq!(NameTable::new(&[&name, &none, &name]).fallback(), [0, 2]);
    }
}
