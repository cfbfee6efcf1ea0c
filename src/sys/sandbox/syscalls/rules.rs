//! Lists of system calls, with what their arguments must be.

use std::collections::BTreeMap;

use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// System calls, each as such or with certain arguments alone.
#[derive(Debug, Default)]
pub(super) struct Rules(BTreeMap<i64, Calls>);

/// When a system call matches.
#[derive(Debug)]
enum Calls {
    Always,
    /// When one of these holds.
    With(Vec<Vec<Argument>>),
}

/// What one argument must be; of each, the kernel looks at 32 bits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Argument {
    /// The argument with this number, from 0 on, is this value.
    Is(u8, i32),
    /// It is not this value.
    IsNot(u8, i32),
    /// Of these bits, it has none.
    Lacks(u8, i32),
    /// It has all of these bits.
    Has(u8, i32),
    /// Of the bits of the mask, it has exactly these.
    Masked(u8, i32, i32),
}

impl Rules {
    /// Adds calls whatever their arguments are.
    pub(super) fn always(mut self, calls: &[i64]) -> Self {
        let calls = calls.iter().map(|call| (*call, Calls::Always));
        self.0.extend(calls);
        self
    }

    /// Adds a call that matches if all of these arguments do. Added again, it matches in these cases too.
    pub(super) fn with(mut self, call: i64, arguments: &[Argument]) -> Self {
        let calls = self.0.entry(call).or_insert(Calls::With(Vec::new()));
        if let Calls::With(sets) = calls {
            sets.push(arguments.to_vec());
        }
        self
    }

    pub(super) fn into_map(self) -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
        let calls = self.0.into_iter();
        calls
            .map(|(call, when)| Ok((call, when.into_rules()?)))
            .collect()
    }
}

impl Calls {
    fn into_rules(self) -> Result<Vec<SeccompRule>, BackendError> {
        let sets = match self {
            // No rule means any arguments.
            Self::Always => Vec::new(),
            Self::With(sets) => sets,
        };
        sets.iter()
            .map(|set| {
                let conditions = set.iter().map(|argument| argument.condition());
                SeccompRule::new(conditions.collect::<Result<_, _>>()?)
            })
            .collect()
    }
}

impl Argument {
    fn condition(self) -> Result<SeccompCondition, BackendError> {
        let bits = |value: i32| u64::from(value.cast_unsigned());
        let (number, operator, value) = match self {
            Self::Is(number, value) => (number, SeccompCmpOp::Eq, value),
            Self::IsNot(number, value) => (number, SeccompCmpOp::Ne, value),
            Self::Lacks(number, mask) => (number, SeccompCmpOp::MaskedEq(bits(mask)), 0),
            Self::Has(number, mask) => (number, SeccompCmpOp::MaskedEq(bits(mask)), mask),
            Self::Masked(number, mask, value) => {
                (number, SeccompCmpOp::MaskedEq(bits(mask)), value)
            }
        };
        SeccompCondition::new(number, SeccompCmpArgLen::Dword, operator, bits(value))
    }
}
