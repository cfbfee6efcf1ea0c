//! Descriptors that the service manager passes to the program that it starts (`sd_listen_fds(3)`).

#![expect(
    unsafe_code,
    reason = "descriptors that are known by their numbers alone have no safe form"
)]

use std::{
    ffi::OsString,
    os::fd::{OwnedFd, RawFd},
    sync::atomic::{AtomicBool, Ordering},
};

use super::fds;

/// The number of the first one (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

/// The most that are taken; systemd itself stores fewer.
const MOST: usize = 4096;

/// The environment variables that tell of them. They are for this process alone, so children must not get them.
pub const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// What the environment says is passed: the name of each descriptor, in the order of their numbers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Announced(Vec<String>);

/// Takes the descriptors that this process was passed, each with its name; there are none if another process was passed
/// them. The caller closes those that it does not want.
///
/// To be called before this process opens a descriptor that it keeps; the second call returns none.
pub fn take() -> Vec<(String, OwnedFd)> {
    static CALLED: AtomicBool = AtomicBool::new(false);
    if CALLED.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    let Announced(names) = Announced::by(|name| std::env::var_os(name), std::process::id());
    let numbered = (FIRST..).zip(names);
    numbered
        .filter_map(|(number, name)| Some((name, own(number)?)))
        .collect()
}

/// Takes the descriptor of this number; `None` if it is not open.
fn own(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: nothing owns it: the service manager has opened it for this process, which takes it once.
    unsafe { fds::own(number) }.ok().flatten()
}

impl Announced {
    /// Reads the environment of process `pid`.
    fn by(variable: impl Fn(&str) -> Option<OsString>, pid: u32) -> Self {
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        if number("LISTEN_PID") != Some(pid.into()) {
            return Self::default();
        }
        let count = number("LISTEN_FDS").and_then(|count| usize::try_from(count).ok());
        let count = count.unwrap_or(0).min(MOST);
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.to_string_lossy();
        let names = names.split(':').map(str::to_owned);
        // A manager that names none leaves the variable out.
        let names = names.chain(std::iter::repeat(String::new())).take(count);
        Self(names.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(pid: &str, count: &str, names: Option<&str>) -> Vec<String> {
        let variable = |name: &str| match name {
            "LISTEN_PID" => Some(pid.into()),
            "LISTEN_FDS" => Some(count.into()),
            _ => names.map(OsString::from),
        };
        Announced::by(variable, 42).0
    }

    #[test]
    fn each_descriptor_has_its_name() {
        assert_eq!(announced("42", "2", Some("a:b")), ["a", "b"]);
        assert_eq!(announced("42", "1", Some("a:b")), ["a"]);
        assert_eq!(announced("42", "3", Some("a:b")), ["a", "b", ""]);
        assert_eq!(announced("42", "2", None), ["", ""]);
    }

    #[test]
    fn what_another_process_was_passed_is_not_taken() {
        let none: [&str; 0] = [];
        assert_eq!(announced("41", "2", Some("a:b")), none);
        assert_eq!(announced("", "2", Some("a:b")), none);
        assert_eq!(Announced::by(|_| None, 42).0, none);
    }

    #[test]
    fn a_count_that_makes_no_sense_is_none() {
        let none: [&str; 0] = [];
        assert_eq!(announced("42", "-1", Some("a")), none);
        assert_eq!(announced("42", "many", Some("a")), none);
        assert_eq!(announced("42", "18446744073709551615", None).len(), MOST);
    }
}
