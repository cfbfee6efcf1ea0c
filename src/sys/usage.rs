//! What processes use of the machine: processor time, memory and descriptors.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    sync::OnceLock,
    time::Duration,
};

use nix::{
    sys::resource::{Resource, getrlimit},
    time::{clock_getcpuclockid, clock_gettime},
    unistd::{Pid, SysconfVar, sysconf},
};

/// The numbers of a process's own pages (proc(5)).
const STATM: &str = "/proc/self/statm";

/// The same, open in a process that can open no file any more; `None` where proc(5) is not mounted.
static PAGES: OnceLock<Option<File>> = OnceLock::new();

/// The most bytes of `statm`: seven numbers and what parts them.
const LONGEST: usize = 7 * 21;

/// Keeps open what [`resident`] reads, in a process that will be able to open no file any more.
pub fn begin() {
    PAGES.get_or_init(|| File::open(STATM).ok());
}

/// Returns how many bytes of memory this process takes; `None` where proc(5) is not mounted.
pub fn resident() -> Option<u64> {
    let mut text = [0; LONGEST];
    let length = match PAGES.get() {
        Some(pages) => pages.as_ref()?.read_at(&mut text, 0),
        None => File::open(STATM).ok()?.read_at(&mut text, 0),
    };
    let pages = in_pages(text.get(..length.ok()?)?)?;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok()??;
    pages.checked_mul(page.try_into().ok()?)
}

/// Returns the second number of `statm`.
fn in_pages(statm: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(statm).ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Returns how long processors have worked for a process, also one of another user (`clock_getcpuclockid(3)`); `None` if
/// there is no such process.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?);
    let clock = clock_getcpuclockid(pid).ok()?;
    clock_gettime(clock).ok().map(Duration::from)
}

/// Returns how many descriptors this process has open; `None` before Linux 6.2, which does not tell without listing them.
pub fn open_descriptors() -> Option<u64> {
    let listed = fs::metadata("/proc/self/fd").ok()?.size();
    Some(listed).filter(|it| *it > 0)
}

/// Returns how many descriptors this process may have open.
pub fn most_descriptors() -> Option<u64> {
    getrlimit(Resource::RLIMIT_NOFILE)
        .ok()
        .map(|(soft, _)| soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_what_it_uses() {
        let own = std::process::id();
        let before = cpu_time(own).unwrap();
        let mut work = 0_u64;
        while cpu_time(own).unwrap() == before {
            work = work.wrapping_add(1);
        }
        let resident = resident().unwrap();
        assert!((1 << 18..1 << 40).contains(&resident), "{resident}");
        assert!(most_descriptors().unwrap() > 2);
    }

    #[test]
    fn opening_a_descriptor_counts_where_the_kernel_tells() {
        if open_descriptors().is_some() {
            let held: Vec<_> = (0..50).map(|_| File::open("/dev/null").unwrap()).collect();
            assert!(open_descriptors().unwrap() > 50);
            drop(held);
        }
    }

    #[test]
    fn a_process_that_is_gone_uses_nothing() {
        assert_eq!(cpu_time(u32::MAX), None);
        // More than any pid (proc(5), pid_max).
        assert_eq!(cpu_time(1 << 23), None);
    }

    #[test]
    fn what_is_no_statm_is_not_read() {
        assert_eq!(in_pages(b"100 25 3 4 0 6 0\n"), Some(25));
        for text in [&b""[..], b"100", b"100 x", b"\xff 1", b"1 -2"] {
            assert_eq!(in_pages(text), None);
        }
    }
}
