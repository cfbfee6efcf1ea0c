//! The names under which the service manager keeps descriptors. Pure.
//!
//! A name holds the descriptor's own number, its inode. So what replaces something has another name, and both can be
//! stored for a moment.

use std::fmt::{self, Write as _};

use crate::link::ListenerKey;

/// The most bytes of a name (`FDNAME=` in `sd_notify(3)`).
const MOST_BYTES: usize = 255;

/// The name of a descriptor that the service manager keeps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::supervisor) struct Name {
    /// What it is.
    pub(in crate::supervisor) what: What,
    /// Its inode.
    pub(in crate::supervisor) inode: u64,
}

/// What the service manager keeps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::supervisor) enum What {
    /// The book of the supervisor.
    Book,
    /// The memory of a generation, with the inodes of its packs in their order.
    Generation(Vec<u64>),
    /// A pack of chains and keys.
    Pack,
    /// A listening socket of a slot.
    Socket(usize, ListenerKey),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inode = self.inode;
        match &self.what {
            What::Book => write!(f, "book-{inode}"),
            What::Generation(packs) => {
                write!(f, "generation-{inode}")?;
                packs.iter().try_for_each(|pack| write!(f, "-{pack}"))
            }
            What::Pack => write!(f, "pack-{inode}"),
            What::Socket(slot, ListenerKey { bind, name }) => {
                let (bind, name) = (escape(bind), escape(name));
                write!(f, "listener-{inode}-{slot}-{bind}-{name}")
            }
        }
    }
}

impl Name {
    /// Returns the name as the service manager is told it; `None` if it is longer than a name may be.
    pub(in crate::supervisor) fn text(&self) -> Option<String> {
        Some(self.to_string()).filter(|text| text.len() <= MOST_BYTES)
    }

    /// Reads a name; `None` if it is not one that a supervisor gives.
    pub(in crate::supervisor) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let kind = parts.next()?;
        let inode = parts.next()?.parse().ok()?;
        let what = match kind {
            "book" => What::Book,
            "pack" => What::Pack,
            "generation" => {
                let packs = parts.by_ref().map(str::parse);
                What::Generation(packs.collect::<Result<_, _>>().ok()?)
            }
            "listener" => {
                let slot = parts.next()?.parse().ok()?;
                let (bind, name) = (unescape(parts.next()?)?, unescape(parts.next()?)?);
                What::Socket(slot, ListenerKey { bind, name })
            }
            _ => return None,
        };
        let name = Self { what, inode };
        // Only one spelling is a name, so that what is stored is found again by it.
        (parts.next().is_none() && name.to_string() == text).then_some(name)
    }
}

/// Writes what may be neither in a name nor in one of its parts as `%` and two hexadecimal digits.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"._/".contains(&byte) {
            escaped.push(byte.into());
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02x}");
        }
    }
    escaped
}

fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn socket(slot: usize, bind: &str, name: &str) -> Name {
        let key = ListenerKey {
            bind: bind.to_owned(),
            name: name.to_owned(),
        };
        Name {
            what: What::Socket(slot, key),
            inode: 77,
        }
    }

    #[test]
    fn a_name_tells_what_a_descriptor_is() {
        let text = socket(1, "[::1]:3307", "").text().unwrap();
        assert_eq!(text, "listener-77-1-%5b%3a%3a1%5d%3a3307-");
        let generation = Name {
            what: What::Generation(vec![8, 9]),
            inode: 7,
        };
        assert_eq!(generation.text().unwrap(), "generation-7-8-9");
    }

    #[test]
    fn what_a_supervisor_does_not_give_is_no_name() {
        for text in [
            "",
            "unknown",
            "proxyd.socket",
            "book",
            "book-",
            "book-x",
            "book-1-2",
            "book-01",
            "pack--1",
            "generation-1-x",
            "listener-1-2",
            "listener-1-2-a",
            "listener-1-2-a-b-c",
            "listener-1-2-%4-",
            "listener-1-2-%zz-",
            "listener-1-2-%61-",
            "listener-1-2-%ff-",
            "listener-1-2-a%é-",
        ] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_none() {
        assert!(socket(0, &"a".repeat(200), "").text().is_some());
        assert_eq!(socket(0, &"a".repeat(255), "").text(), None);
    }

    fn what() -> impl Strategy<Value = What> {
        prop_oneof![
            Just(What::Book),
            Just(What::Pack),
            prop::collection::vec(any::<u64>(), 0..9).prop_map(What::Generation),
            (any::<usize>(), any::<String>(), any::<String>())
                .prop_map(|(slot, bind, name)| What::Socket(slot, ListenerKey { bind, name })),
        ]
    }

    proptest! {
        #[test]
        fn each_name_is_read_as_it_was_written(what in what(), inode in any::<u64>()) {
            let name = Name { what, inode };
            let text = name.to_string();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':'));
            prop_assert_eq!(Name::parse(&text), Some(name));
        }

        #[test]
        fn any_text_is_read_without_harm(text in "(book|pack|generation|listener)?[-%0-9a-f]{0,30}.{0,5}") {
            if let Some(name) = Name::parse(&text) {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
