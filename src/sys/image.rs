//! Whether a file can be a program that the kernel runs, as far as its beginning and its length tell.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

/// The file that runs now.
const RUNNING: &str = "/proc/self/exe";

/// How much of a file's beginning is read: the headers of programs are within it.
const HEAD: u64 = 4096;

/// Machines whose programs run on one kernel, by the numbers of elf(5): those of x86, and of ARM.
const RELATED: [[u16; 2]; 2] = [[3, 62], [40, 183]];

/// Why a file cannot be run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("it is empty; install proxyd again")]
    Empty,
    #[error("it is no program; install proxyd again")]
    NoProgram,
    #[error("its end is missing; install proxyd again")]
    CutOff,
    #[error("it is a program for another kind of machine; install proxyd for this one")]
    OtherMachine,
}

/// Fails if the file at `path` cannot be run in place of the program that runs now, as one that is half
/// written cannot.
///
/// A file that may not be read is not judged, and of a script only that it is one.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    File::open(path).map_or(Ok(()), |file| check_file(&file))
}

/// The same of a file that is open.
pub(crate) fn check_file(file: &File) -> io::Result<()> {
    let own = File::open(RUNNING).and_then(|own| Head::read(&own));
    match (Head::read(file), own) {
        (Ok(file), Ok(own)) => file
            .fault(&own)
            .map_or(Ok(()), |it| Err(io::Error::other(it))),
        _ => Ok(()),
    }
}

/// The beginning of a file, and how long the whole is.
#[derive(Debug, Clone)]
struct Head {
    bytes: Vec<u8>,
    length: u64,
}

impl Head {
    fn read(file: &File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let mut bytes = vec![0; usize::try_from(HEAD.min(length)).unwrap_or_default()];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(Self { bytes, length })
    }

    /// Returns why this file cannot be run where `own` can.
    fn fault(&self, own: &Self) -> Option<Fault> {
        if self.length == 0 {
            return Some(Fault::Empty);
        }
        if self.bytes.starts_with(b"#!") {
            return None;
        }
        if !self.bytes.starts_with(b"\x7fELF") {
            return Some(Fault::NoProgram);
        }
        let Some((kind, own_kind)) = self.kind().zip(own.kind()) else {
            return Some(Fault::CutOff);
        };
        if !kind.runs_with(own_kind) {
            return Some(Fault::OtherMachine);
        }
        let is_cut_off = kind.is_wide && self.end().is_none_or(|end| self.length < end);
        is_cut_off.then_some(Fault::CutOff)
    }

    fn kind(&self) -> Option<Kind> {
        let [wide, order] = self.at(4)?;
        Some(Kind {
            is_wide: wide == 2,
            order,
            machine: u16::from_ne_bytes(self.at(18)?),
        })
    }

    /// Returns where the last part ends that the kernel maps, by the headers of a 64-bit program
    /// (`Elf64_Ehdr` and `Elf64_Phdr` of elf(5)); `None` if one of them is missing.
    fn end(&self) -> Option<u64> {
        let table = u64::from_ne_bytes(self.at(32)?);
        let size = u64::from(u16::from_ne_bytes(self.at(54)?));
        let count = u64::from(u16::from_ne_bytes(self.at(56)?));
        let mut end = table.checked_add(size * count)?;
        if end > HEAD {
            // Not where linkers put it: its end is all that is asked for.
            return Some(end);
        }
        for place in 0..count {
            let header = usize::try_from(table + place * size).ok()?;
            let offset = u64::from_ne_bytes(self.at(header + 8)?);
            let length = u64::from_ne_bytes(self.at(header + 32)?);
            end = end.max(offset.checked_add(length)?);
        }
        Some(end)
    }

    fn at<const N: usize>(&self, place: usize) -> Option<[u8; N]> {
        self.bytes.get(place..)?.first_chunk().copied()
    }
}

/// What a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    is_wide: bool,
    /// The order of bytes in numbers.
    order: u8,
    machine: u16,
}

impl Kind {
    fn runs_with(self, own: Self) -> bool {
        let are_related = |it: &[u16; 2]| it.contains(&self.machine) && it.contains(&own.machine);
        self.order == own.order && (self.machine == own.machine || RELATED.iter().any(are_related))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn own() -> Head {
        Head::read(&File::open(RUNNING).unwrap()).unwrap()
    }

    fn of(bytes: &[u8]) -> Head {
        Head {
            bytes: bytes.to_vec(),
            length: bytes.len() as u64,
        }
    }

    #[test]
    fn what_is_no_program_is_told_for_what_it_is() {
        assert_eq!(own().fault(&own()), None);
        assert_eq!(of(b"#!/bin/sh\n").fault(&own()), None);
        assert_eq!(of(b"").fault(&own()), Some(Fault::Empty));
        assert_eq!(of(b"\x1f\x8b\x08").fault(&own()), Some(Fault::NoProgram));
    }

    #[test]
    fn a_program_whose_end_is_missing_is_told() {
        let fault = |length: usize| {
            let mut head = own();
            head.bytes.truncate(length);
            head.length = length as u64;
            head.fault(&own())
        };
        for length in [4, 19, 20, 63, 64, 4000, 4096] {
            assert_eq!(fault(length), Some(Fault::CutOff), "{length}");
        }
        let mut head = own();
        head.length = head.end().unwrap() - 1;
        assert_eq!(head.fault(&own()), Some(Fault::CutOff));
    }

    #[test]
    fn a_program_for_another_machine_is_told() {
        let fault = |machine: u16| {
            let mut head = own();
            head.bytes[18..20].copy_from_slice(&machine.to_ne_bytes());
            head.fault(&own())
        };
        // SPARC.
        assert_eq!(fault(2), Some(Fault::OtherMachine));
        let kind = |machine| Kind {
            machine,
            ..own().kind().unwrap()
        };
        assert!(kind(3).runs_with(kind(62)));
        assert!(!kind(40).runs_with(kind(62)));
    }

    proptest! {
        #[test]
        fn any_headers_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut head = own().bytes[..20].to_vec();
            head.extend(bytes);
            let _ = of(&head).fault(&own());
        }
    }
}
