//! The versions of records: this program reads and writes its own and the one before it, so that a program and the
//! next one can take sessions over from each other.

use std::sync::atomic::{AtomicU16, Ordering};

/// The newest version that this program reads and writes.
pub const VERSION: u16 = if cfg!(feature = "next") { 2 } else { 1 };

/// The oldest version that it reads and writes.
pub const OLDEST: u16 = if VERSION > 1 { VERSION - 1 } else { 1 };

/// What this process writes.
static WRITTEN: AtomicU16 = AtomicU16::new(VERSION);

/// Returns the version in which this process writes records.
pub fn written() -> u16 {
    WRITTEN.load(Ordering::Relaxed)
}

/// Has this process write records in the version nearest to `version` that it can write. A record that was written in
/// another version is written again with its session's next step.
pub fn write(version: u16) {
    WRITTEN.store(shared(version), Ordering::Relaxed);
}

/// Returns the newest version that both this program and one read and write whose newest version is `other`; 0 if that
/// is not known, so that it is taken for the one before.
pub fn shared(other: u16) -> u16 {
    other.clamp(OLDEST, VERSION)
}

/// Returns whether this program reads records of a version.
pub fn is_read(version: u16) -> bool {
    (OLDEST..=VERSION).contains(&version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_reads_its_own_version_and_the_one_before() {
        assert!(is_read(VERSION) && is_read(OLDEST));
        assert!(!is_read(0) && !is_read(VERSION + 1));
    }

    #[test]
    fn what_two_programs_share_is_what_the_older_one_writes() {
        assert_eq!(shared(VERSION + 1), VERSION);
        assert_eq!(shared(VERSION), VERSION);
        assert_eq!((shared(OLDEST), shared(0)), (OLDEST, OLDEST));
    }
}
