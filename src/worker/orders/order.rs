//! What a test orders, and what it is answered: one JSON document a line.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    link::{Ask, FromWorker},
    session::points::Point,
};

/// What a worker is to do: make system calls, or die later.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// The calls, in order.
    #[serde(default)]
    pub(super) calls: Vec<Call>,
    /// Where the worker is to die later.
    #[serde(default)]
    pub(super) die: Option<Death>,
    /// For how many milliseconds they are repeated; 0 is once. Meanwhile the worker does nothing else.
    #[serde(default)]
    pub(super) for_ms: u64,
    /// The pause between two rounds, in milliseconds.
    #[serde(default)]
    pub(super) pause_ms: u64,
}

/// A death at a point between the steps of sessions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Death {
    /// The point, by its name in the source.
    #[serde(deserialize_with = "point")]
    pub(super) point: Point,
    /// At which passing of it from now on, counted from 1; 0 has the worker live.
    pub(super) passing: u64,
}

fn point<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Point, D::Error> {
    let name = String::deserialize(deserializer)?;
    let mut points = Point::ALL.into_iter();
    let point = points.find(|point| format!("{point:?}") == name);
    point.ok_or_else(|| serde::de::Error::custom("there is no such point"))
}

/// A system call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    /// Its number on this processor.
    pub(super) number: i64,
    /// Its arguments; those that are left out are 0.
    pub(super) arguments: Vec<Argument>,
    /// Whether it is made again, for some seconds, as long as a peer has no room for what it sends.
    #[serde(default)]
    pub(super) patient: bool,
}

/// An argument of a system call.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Argument {
    /// A number.
    Number(i64),
    /// The result of an earlier call, by its place.
    Result(usize),
    /// The length of the memory that an earlier argument of this call is the address of.
    Length(usize),
    /// The address of memory.
    Memory(Memory),
}

/// What lies in memory whose address is an argument.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Memory {
    /// These bytes.
    Bytes(Bytes),
    /// So many zeros; the answer tells what the kernel has written there.
    Space(usize),
    /// A message to the supervisor, as it lies on the link.
    Message(Box<FromWorker>),
    /// An ask of the resolver, as it lies on their link.
    Ask(Ask),
    /// A structure of these fields, one behind the other.
    Fields(Vec<Field>),
}

/// A field of a structure.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Field {
    /// These bytes.
    Bytes(Bytes),
    /// The address of other memory.
    Address(Memory),
    /// The address and the length of other memory.
    Slice(Memory),
}

/// Bytes, written in hexadecimal.
#[derive(Debug)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes());
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

/// What a client is told first.
#[derive(Debug, Serialize)]
pub(super) struct Welcome {
    /// The process id of the worker that it has come to.
    pub(super) worker: u32,
}

/// What a worker answers to an order.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// How often the calls were made.
    pub(super) rounds: u64,
    /// What came of each in the last round.
    pub(super) results: Vec<Outcome>,
}

/// What came of a call.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    /// Its result; -1 if it failed.
    pub(super) result: i64,
    /// The number of its error; 0 if it succeeded.
    pub(super) errno: i32,
    /// What is in each [`Memory::Space`] of its arguments, in hexadecimal.
    pub(super) spaces: Vec<String>,
}
