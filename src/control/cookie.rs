//! The cookie: what a client shows to prove that it may open files beside the control socket.
//!
//! Modes and the kernel's word about a peer cannot tell a worker that was taken over from its own daemon's
//! user. But a worker is confined and opens no files, so that it cannot read the cookie.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::{constant_time, rand};
use data_encoding::HEXLOWER;
use nix::libc::O_NOFOLLOW;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub use crate::config::control_cookie as path;
use crate::sys::files;

/// How many bytes a cookie has on the socket.
pub const LENGTH: usize = 32;

/// The longest text of a cookie in its file: hexadecimal and the end of the line.
const TEXT_LENGTH: usize = 2 * LENGTH + 1;

/// A secret that a daemon makes at its start and writes into a file beside its control socket.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Cookie([u8; LENGTH]);

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(..)")
    }
}

impl Cookie {
    /// Makes a new one.
    pub fn random() -> io::Result<Self> {
        let mut bytes = Self([0; LENGTH]);
        rand::fill(&mut bytes.0).map_err(|_| io::Error::other("no random numbers"))?;
        Ok(bytes)
    }

    /// Returns whether what a client has shown is this cookie; takes the same time for all that it is not.
    #[must_use]
    pub fn is(&self, shown: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &shown.0).is_ok()
    }

    /// Returns the bytes that go over the socket.
    #[must_use]
    pub fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    /// Takes the bytes that came over the socket.
    #[must_use]
    pub(super) fn from_bytes(bytes: &[u8; LENGTH]) -> Self {
        Self(*bytes)
    }

    /// Returns the contents of the file.
    pub(super) fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(TEXT_LENGTH));
        HEXLOWER.encode_append(&self.0, &mut text);
        text.push('\n');
        text
    }

    /// Returns the cookie in the contents of a file.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let digits = text.trim_ascii_end();
        let mut cookie = Self([0; LENGTH]);
        let fits = HEXLOWER.decode_len(digits.len()) == Ok(LENGTH);
        let decoded = fits.then(|| HEXLOWER.decode_mut(digits, &mut cookie.0));
        decoded?.is_ok().then_some(cookie)
    }
}

/// Returns the path of the cookie's file for a socket that a client reaches by this path.
///
/// The path may be a symbolic link to the socket; the cookie is beside the socket itself.
#[must_use]
pub fn path_for_client(socket: &Path) -> PathBuf {
    path(&fs::canonicalize(socket).unwrap_or_else(|_| socket.to_owned()))
}

/// Reads a cookie's file; follows no symbolic link and reads no more than a cookie has.
pub fn read(path: &Path) -> io::Result<Cookie> {
    let text = contents(path)?;
    Cookie::parse(&text)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it holds no cookie"))
}

/// Returns the contents of a cookie's file, and one byte more if it is longer than any cookie.
pub(super) fn contents(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = files::open(path, OpenOptions::new().read(true), O_NOFOLLOW)?;
    // Room for all from the start, so that no copy of a part stays behind in memory.
    let mut text = Zeroizing::new(Vec::with_capacity(2 * TEXT_LENGTH));
    file.take(TEXT_LENGTH as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_survives_its_file_and_another_is_told_apart() {
        let (one, other) = (Cookie::random().unwrap(), Cookie::random().unwrap());
        let read = Cookie::parse(one.text().as_bytes()).unwrap();
        assert!(one.is(&read) && !one.is(&other));
    }

    #[test]
    fn what_is_no_cookie_is_not_taken_for_one() {
        let whole = Cookie::random().unwrap().text().to_string();
        for text in ["", "\n", &whole[1..], &format!("0{whole}"), &"g".repeat(64)] {
            assert!(Cookie::parse(text.as_bytes()).is_none(), "{text:?}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        let cookie = Cookie::random().unwrap();
        assert_eq!(format!("{cookie:?}"), "Cookie(..)");
    }

    #[test]
    fn a_client_that_comes_by_a_link_finds_the_cookie_beside_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap().join("real");
        fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink(&real, dir.path().join("link")).unwrap();
        assert_eq!(path_for_client(&dir.path().join("link")), path(&real));
        assert_eq!(path(Path::new("/run/s")), Path::new("/run/s.cookie"));
    }
}
