//! The memory that calls are given: made before the first is made, and kept until the last has returned.

use std::io;

use super::order::{Argument, Call, Field, Memory};
use crate::{
    control::wire,
    link::{FORMAT, Message},
};

/// A call whose memory is in place.
#[derive(Debug)]
pub(super) struct Ready {
    /// The number of the system call.
    pub(super) number: i64,
    /// Whether it is made again while there is no room for what it sends.
    pub(super) patient: bool,
    arguments: Vec<Value>,
    /// Memory whose address is an argument, or lies in such memory.
    room: Vec<Vec<u8>>,
    /// What of it the answer tells.
    spaces: Vec<usize>,
}

/// An argument whose memory is in place.
#[derive(Debug)]
enum Value {
    Number(u64),
    Result(usize),
    /// Memory by its place in the room.
    Memory(usize),
}

impl Ready {
    /// Puts the memory of a call in place.
    pub(super) fn new(call: Call) -> io::Result<Self> {
        let mut ready = Self {
            number: call.number,
            patient: call.patient,
            arguments: Vec::new(),
            room: Vec::new(),
            spaces: Vec::new(),
        };
        for argument in call.arguments {
            let value = match argument {
                Argument::Number(number) => Value::Number(number.cast_unsigned()),
                Argument::Result(earlier) => Value::Result(earlier),
                Argument::Length(argument) => Value::Number(ready.length(argument)),
                Argument::Memory(memory) => Value::Memory(ready.place(memory)?),
            };
            ready.arguments.push(value);
        }
        Ok(ready)
    }

    /// Returns the arguments, given the results of earlier calls.
    pub(super) fn arguments(&mut self, results: &[i64]) -> [u64; 6] {
        let mut all = [0; 6];
        for (place, value) in all.iter_mut().zip(&self.arguments) {
            *place = match value {
                Value::Number(number) => *number,
                Value::Result(earlier) => {
                    results.get(*earlier).copied().unwrap_or(-1).cast_unsigned()
                }
                Value::Memory(block) => address(&mut self.room[*block]),
            };
        }
        all
    }

    /// Returns what is in the memory that the answer tells of.
    pub(super) fn spaces(&self) -> Vec<String> {
        let spaces = self.spaces.iter();
        spaces
            .map(|block| data_encoding::HEXLOWER.encode(&self.room[*block]))
            .collect()
    }

    fn length(&self, argument: usize) -> u64 {
        match self.arguments.get(argument) {
            Some(Value::Memory(block)) => self.room[*block].len() as u64,
            _ => 0,
        }
    }

    /// Puts memory in place, and all that it points to; returns its place in the room.
    fn place(&mut self, memory: Memory) -> io::Result<usize> {
        let bytes = match memory {
            Memory::Bytes(bytes) => bytes.0,
            Memory::Space(length) => {
                self.spaces.push(self.room.len());
                vec![0; length]
            }
            Memory::Message(message) => packet(&*message)?,
            Memory::Ask(ask) => packet(&ask)?,
            Memory::Fields(fields) => self.structure(fields)?,
        };
        self.room.push(bytes);
        Ok(self.room.len() - 1)
    }

    fn structure(&mut self, fields: Vec<Field>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for field in fields {
            match field {
                Field::Bytes(more) => bytes.extend(more.0),
                Field::Address(memory) => {
                    let block = self.place(memory)?;
                    bytes.extend(address(&mut self.room[block]).to_ne_bytes());
                }
                Field::Slice(memory) => {
                    let block = self.place(memory)?;
                    bytes.extend(address(&mut self.room[block]).to_ne_bytes());
                    bytes.extend((self.room[block].len() as u64).to_ne_bytes());
                }
            }
        }
        Ok(bytes)
    }
}

/// Returns where bytes lie, for the kernel to read and to write.
fn address(bytes: &mut [u8]) -> u64 {
    bytes.as_mut_ptr().expose_provenance() as u64
}

/// Returns a message as it lies on the link, however long it is.
fn packet(message: &impl Message) -> io::Result<Vec<u8>> {
    let body = wire::encode(message, u64::from(u32::MAX)).map_err(io::Error::other)?;
    Ok([&FORMAT.to_be_bytes()[..], &body].concat())
}
