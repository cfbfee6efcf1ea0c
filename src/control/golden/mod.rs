//! Holds the wire formats to their versions: the bytes of every message are in `tests/golden`, in a
//! file for each version of each format.
//!
//! A file of a version that no release has begins with [`UNRELEASED`] and is written anew by
//! `PROXYD_REGENERATE=1 cargo test --lib golden`. Who makes a release takes that line out; from then
//! on a message that changes needs another version.

mod sampler;

use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::PathBuf};

use serde::{Serialize, de::DeserializeOwned};

use self::sampler::{Shapes, sample};
use super::{Request, Response, wire};
use crate::x509::certificate::hex;

const UNRELEASED: &str =
    "unreleased: may be written anew by PROXYD_REGENERATE=1 cargo test --lib golden";

/// The most that any message of these may take.
const LIMIT: u64 = 1 << 20;

/// The recorded form of a format.
pub(crate) struct Golden {
    name: &'static str,
    version: u16,
    /// Where the version is raised.
    constant: &'static str,
    shapes: Shapes,
    /// Bytes in hexadecimal, by type and round.
    samples: BTreeMap<String, String>,
}

/// What comes of a comparison with what is recorded.
#[derive(Debug, PartialEq, Eq)]
enum Comparison {
    Same,
    /// Nothing is recorded, or of a version that no release has: it may be written.
    MayWrite,
    /// The version is out in the world.
    Frozen,
}

impl Golden {
    pub(crate) fn new(name: &'static str, version: u16, constant: &'static str) -> Self {
        Self {
            name,
            version,
            constant,
            shapes: Shapes::default(),
            samples: BTreeMap::new(),
        }
    }

    /// Adds a type of message in each of its variants, and in each of those of the enums in it.
    pub(crate) fn message<T: Serialize + DeserializeOwned>(mut self, name: &str) -> Self {
        let _: T = sample(0, &mut self.shapes);
        let variants = self.shapes.enums[name].len();
        // As many as the longest enum in it has.
        let mut rounds = variants;
        let mut round = 0;
        while round < rounds {
            let value: T = sample(round, &mut self.shapes);
            let bytes = wire::encode(&value, LIMIT).unwrap();
            let read: T = wire::decode(&bytes, LIMIT).unwrap();
            assert_eq!(bytes, wire::encode(&read, LIMIT).unwrap(), "{name} {round}");
            let variant = self.shapes.enums[name][round % variants];
            let key = format!("{name}::{variant} {}", round / variants);
            if self.is_new(&format!("{name}::{variant} "), &hex(&bytes)) {
                self.samples.insert(key, hex(&bytes));
            }
            let longest = self.shapes.enums.values().map(Vec::len).max().unwrap_or(1);
            rounds = variants * longest;
            round += 1;
        }
        self
    }

    /// Adds bytes that no `serde` makes.
    pub(crate) fn bytes(mut self, name: &str, bytes: &[u8]) -> Self {
        self.samples.insert(name.to_owned(), hex(bytes));
        self
    }

    /// A variant without enums in it is the same in each round.
    fn is_new(&self, variant: &str, bytes: &str) -> bool {
        let mut samples = self.samples.iter();
        !samples.any(|(name, it)| name.starts_with(variant) && it == bytes)
    }

    fn text(&self, is_released: bool) -> String {
        let mut text = String::new();
        if !is_released {
            let _ = writeln!(text, "{UNRELEASED}");
        }
        let enums = self.shapes.enums.iter().map(|it| ("enum", it));
        let structs = self.shapes.structs.iter().map(|it| ("struct", it));
        for (kind, (name, parts)) in enums.chain(structs) {
            let _ = writeln!(text, "{kind} {name}: {}", parts.join(" "));
        }
        for (name, bytes) in &self.samples {
            let _ = writeln!(text, "bytes {name}: {bytes}");
        }
        text
    }

    fn path(&self) -> PathBuf {
        let file = format!("{}-{}.txt", self.name, self.version);
        [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &file]
            .iter()
            .collect()
    }

    fn compare(&self, recorded: Option<&str>) -> Comparison {
        let Some(recorded) = recorded else {
            return Comparison::MayWrite;
        };
        let is_released = !recorded.starts_with(UNRELEASED);
        match (recorded == self.text(is_released), is_released) {
            (true, _) => Comparison::Same,
            (false, true) => Comparison::Frozen,
            (false, false) => Comparison::MayWrite,
        }
    }

    /// Compares with what is recorded, or records it.
    pub(crate) fn check(&self) {
        let (path, constant) = (self.path(), self.constant);
        let file = path.display();
        let recorded = fs::read_to_string(&path).ok();
        match self.compare(recorded.as_deref()) {
            Comparison::Same => {}
            Comparison::MayWrite if env::var_os("PROXYD_REGENERATE").is_some() => {
                fs::write(&path, self.text(false)).unwrap();
            }
            Comparison::MayWrite => panic!(
                "the messages of version {} are not those in {file}. No release has that version: \
                 if the one before was released, raise {constant}; then run \
                 `PROXYD_REGENERATE=1 cargo test --lib golden`, and look at what changes there",
                self.version
            ),
            Comparison::Frozen => panic!(
                "the messages of version {} are not those in {file}, which was released: raise \
                 {constant}, and run `PROXYD_REGENERATE=1 cargo test --lib golden`",
                self.version
            ),
        }
    }
}

#[test]
fn golden_bytes_of_the_control_socket_belong_to_their_version() {
    Golden::new("control", wire::PROTOCOL, "wire::PROTOCOL")
        .message::<Request>("Request")
        .message::<Response>("Response")
        .check();
}

#[test]
fn what_was_released_is_not_written_anew() {
    let golden = Golden::new("none", 1, "none").message::<Request>("Request");
    let (draft, released) = (golden.text(false), golden.text(true));
    assert_eq!(golden.compare(None), Comparison::MayWrite);
    for text in [&draft, &released] {
        assert_eq!(golden.compare(Some(text)), Comparison::Same);
    }
    let change = |text: &str| text.replace("ReloadTls Reload", "Reload ReloadTls");
    assert_eq!(golden.compare(Some(&change(&draft))), Comparison::MayWrite);
    assert_eq!(golden.compare(Some(&change(&released))), Comparison::Frozen);
}
