//! Which certificate a key belongs to that belongs to none where it was named: files are mixed up
//! more often than they are damaged.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::read;
use crate::x509::{
    certificate,
    pem::{self, Block},
};

/// How many files of a folder are looked at.
const MOST: usize = 100;

/// The largest file that is looked at, in bytes: a chain of many certificates.
const LIMIT: u64 = 64 << 10;

/// How the names of files with certificates end.
const ENDINGS: [&str; 5] = ["pem", "crt", "cer", "cert", "chain"];

/// Returns a file beside the key whose first certificate has this public half, if there is one.
///
/// Only a few files are looked at: it is a hint and no promise.
pub(crate) fn certificate_of(public_half: &[u8], key: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(key.parent()?).ok()?.flatten();
    let may_be = |path: &PathBuf| {
        let ending = path.extension().and_then(|it| it.to_str());
        ending.is_some_and(|it| ENDINGS.contains(&it))
    };
    let paths = entries.map(|it| it.path()).filter(may_be).take(MOST);
    let mut found: Vec<_> = paths.filter(|it| is_of(it, public_half)).collect();
    found.sort();
    found.into_iter().next()
}

fn is_of(path: &Path, public_half: &[u8]) -> bool {
    let Ok(file) = read::read(path, LIMIT) else {
        return false;
    };
    let blocks = pem::blocks(&file.bytes).unwrap_or_default();
    let first = blocks.iter().find(|it| Block::is_certificate(it));
    first.is_some_and(|block| {
        certificate::parse(&block.der).is_ok_and(|it| it.public_key().raw == public_half)
    })
}
