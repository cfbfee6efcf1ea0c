//! Which program this is.

/// The version of this program, as it says it of itself everywhere. A build for tests with the feature `next` calls itself
/// another one, so that what it leaves can be told from what the ordinary program leaves.
pub const PROGRAM_VERSION: &str = if cfg!(feature = "next") {
    concat!(env!("CARGO_PKG_VERSION"), "+next")
} else {
    env!("CARGO_PKG_VERSION")
};
