//! Counts by reason, as status, metrics and the link carry them.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
    ser::{SerializeMap as _, SerializeTuple as _},
};

/// One of `N` reasons that are counted, each with a name that scripts rely on.
pub trait Reason<const N: usize>: Copy + PartialEq + 'static {
    /// All there are, in the order in which they are written.
    const ALL: [Self; N];

    /// Returns its name in status, metrics and log lines.
    fn name(self) -> &'static str;

    /// Returns where it stands in [`Self::ALL`].
    fn position(self) -> usize {
        // Every reason is there, as the tests of each see.
        Self::ALL.iter().position(|it| *it == self).unwrap_or(0)
    }
}

/// How often something happened, by reason.
///
/// For people and scripts it is a map from the name of every reason to its count; between the
/// daemon's own processes, the counts alone in the order of [`Reason::ALL`].
pub struct Tally<R, const N: usize>([u64; N], PhantomData<R>);

impl<R: Reason<N>, const N: usize> Tally<R, N> {
    /// Counts with `of`.
    pub fn new(of: impl FnMut(R) -> u64) -> Self {
        Self(R::ALL.map(of), PhantomData)
    }

    /// Counts `count` times this reason, and no other.
    pub fn only(reason: R, count: u64) -> Self {
        Self::new(|it| if it == reason { count } else { 0 })
    }

    /// Returns each reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (R, u64)> {
        R::ALL.into_iter().zip(self.0)
    }

    /// Returns each reason that was counted, with its count.
    pub fn counted(&self) -> impl Iterator<Item = (R, u64)> {
        self.iter().filter(|(_, count)| *count > 0)
    }

    /// Lists the reasons that were counted, with each count as `number` writes it; `None` if none was.
    pub fn listed(&self, number: impl Fn(u64) -> String) -> Option<String> {
        let words: Vec<_> = self
            .counted()
            .map(|(reason, count)| format!("{} {}", number(count), reason.name()))
            .collect();
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// Returns how often it happened for this reason.
    #[must_use]
    pub fn of(&self, reason: R) -> u64 {
        self.0[reason.position()]
    }

    /// Returns how often it happened at all.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds another count of the same thing to this.
    pub fn add(&mut self, other: Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }
}

// Derived code would ask the reasons for these traits, though only the counts need them.
impl<R, const N: usize> Clone for Tally<R, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, const N: usize> Copy for Tally<R, N> {}

impl<R, const N: usize> Default for Tally<R, N> {
    fn default() -> Self {
        Self([0; N], PhantomData)
    }
}

impl<R, const N: usize> PartialEq for Tally<R, N> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<R, const N: usize> Eq for Tally<R, N> {}

impl<R: Reason<N>, const N: usize> fmt::Debug for Tally<R, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.counted().map(|(reason, count)| (reason.name(), count)))
            .finish()
    }
}

impl<R: Reason<N>, const N: usize> Serialize for Tally<R, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            let mut map = serializer.serialize_map(Some(N))?;
            for (reason, count) in self.iter() {
                map.serialize_entry(reason.name(), &count)?;
            }
            return map.end();
        }
        let mut counts = serializer.serialize_tuple(N)?;
        for count in &self.0 {
            counts.serialize_element(count)?;
        }
        counts.end()
    }
}

impl<'de, R: Reason<N>, const N: usize> Deserialize<'de> for Tally<R, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            // A reason of another version is passed over.
            let counts = BTreeMap::<String, u64>::deserialize(deserializer)?;
            return Ok(Self::new(|reason| {
                counts.get(reason.name()).copied().unwrap_or(0)
            }));
        }
        let counts = deserializer.deserialize_tuple(N, Counts)?;
        Ok(Self(counts, PhantomData))
    }
}

/// Reads as many counts as there are reasons.
struct Counts<const N: usize>;

impl<'de, const N: usize> Visitor<'de> for Counts<N> {
    type Value = [u64; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N} counts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<[u64; N], A::Error> {
        let mut counts = [0; N];
        for (index, count) in counts.iter_mut().enumerate() {
            let next = sequence.next_element()?;
            *count = next.ok_or_else(|| serde::de::Error::invalid_length(index, &self))?;
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bincode::Options as _;

    use super::*;
    use crate::facts::{EndCounts, EndReason, FailureCounts, FailureReason};

    fn numbered<R: Reason<N>, const N: usize>() -> Tally<R, N> {
        let mut next = 0;
        Tally::new(|_| {
            next += 1;
            next
        })
    }

    fn every_reason_is_written_by_its_name<R: Reason<N>, const N: usize>() {
        let json = serde_json::to_value(numbered::<R, N>()).unwrap();
        let json = json.as_object().unwrap();
        assert_eq!(json.len(), N, "no two have the same name");
        for (reason, count) in numbered::<R, N>().iter() {
            assert_eq!(json[reason.name()], count);
        }
    }

    fn counts_survive_both_encodings<R: Reason<N>, const N: usize>() {
        let counts = numbered::<R, N>();
        let json = serde_json::to_string(&counts).unwrap();
        assert!(serde_json::from_str::<Tally<R, N>>(&json).unwrap() == counts);
        let codec = bincode::DefaultOptions::new();
        let bytes = codec.serialize(&counts).unwrap();
        assert_eq!(bytes.len(), N, "a byte for each small count");
        assert!(codec.deserialize::<Tally<R, N>>(&bytes).unwrap() == counts);
        assert!(codec.deserialize::<Tally<R, N>>(&bytes[1..]).is_err());
    }

    #[test]
    fn failures_are_written_by_name() {
        every_reason_is_written_by_its_name::<FailureReason, _>();
        counts_survive_both_encodings::<FailureReason, _>();
    }

    #[test]
    fn ends_are_written_by_name() {
        every_reason_is_written_by_its_name::<EndReason, _>();
        counts_survive_both_encodings::<EndReason, _>();
    }

    #[test]
    fn counts_add_up() {
        let mut twice: FailureCounts = numbered();
        twice.add(numbered());
        assert_eq!(twice.sum(), 2 * FailureCounts::sum(&numbered()));
        assert_eq!(twice.of(FailureReason::ALL[2]), 6);
    }

    #[test]
    fn names_fit_scripts_and_metrics() {
        let names: BTreeSet<_> = EndCounts::default()
            .iter()
            .map(|(reason, _)| reason.name())
            .collect();
        for name in names {
            let is_good = |it: char| it.is_ascii_lowercase() || it == '_';
            assert!(name.chars().all(is_good), "{name}");
        }
        assert!(EndReason::ALL.contains(&EndReason::Refused(FailureReason::Revoked)));
    }
}
