//! Distinguished names as they are compared (RFC 5280 §7.1).

use x509_parser::{
    asn1_rs::{Any, Class, Tag},
    prelude::FromDer,
};

/// A distinguished name in the form in which two are compared: whatever string types its attributes
/// are written in, and without regard to case and to blanks that separate nothing.
///
/// An authority may write its name in another string type in its lists than in its certificate.
/// That two names are the same proves nothing; who signed something does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    /// What it says: attributes of relative names.
    Said(Vec<Vec<Attribute>>),
    /// What it holds, where that is no name.
    Bytes(Vec<u8>),
}

/// The content of an attribute's object identifier, and its value.
type Attribute = (Vec<u8>, Value);

/// What an attribute says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Value {
    /// A text, folded.
    Text(String),
    /// Something else, by its tag and content.
    Other(u32, Vec<u8>),
}

impl Name {
    /// Reads the content of a name in DER: what is within its sequence.
    pub(crate) fn of_content(content: &[u8]) -> Self {
        relative_names(content).map_or_else(|| Self::Bytes(content.to_vec()), Self::Said)
    }

    /// Reads a whole name in DER.
    pub(crate) fn of_der(der: &[u8]) -> Self {
        match Any::from_der(der) {
            Ok((_, name)) => Self::of_content(name.data),
            Err(_) => Self::Bytes(der.to_vec()),
        }
    }
}

fn relative_names(content: &[u8]) -> Option<Vec<Vec<Attribute>>> {
    let names = items(content)?.into_iter().map(|it| {
        let attributes = items(it.data)?.into_iter();
        let mut attributes: Vec<_> = attributes.map(|it| attribute(&it)).collect::<Option<_>>()?;
        // They are a set, which some authorities write in any order.
        attributes.sort_unstable();
        Some(attributes)
    });
    names.collect()
}

fn attribute(any: &Any<'_>) -> Option<Attribute> {
    let parts = items(any.data)?;
    let [kind, value] = &*parts else {
        return None;
    };
    let said = match text(value) {
        Some(text) => Value::Text(folded(&text)),
        None => Value::Other(value.tag().0, value.data.to_vec()),
    };
    Some((kind.data.to_vec(), said))
}

fn items(mut content: &[u8]) -> Option<Vec<Any<'_>>> {
    let mut items = Vec::new();
    while !content.is_empty() {
        let (rest, item) = Any::from_der(content).ok()?;
        items.push(item);
        content = rest;
    }
    Some(items)
}

/// Returns what a string says, if it is one; the bytes of a `TeletexString` are taken for ISO 8859-1,
/// as everybody does.
fn text(any: &Any<'_>) -> Option<String> {
    if any.class() != Class::Universal {
        return None;
    }
    match any.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::VisibleString => {
            String::from_utf8(any.data.to_vec()).ok()
        }
        Tag::T61String => Some(any.data.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let (units, []) = any.data.as_chunks::<2>() else {
                return None;
            };
            let units = units.iter().map(|it| u16::from_be_bytes(*it));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        Tag::UniversalString => {
            let (units, []) = any.data.as_chunks::<4>() else {
                return None;
            };
            let units = units.iter().map(|it| u32::from_be_bytes(*it));
            units.map(char::from_u32).collect()
        }
        _ => None,
    }
}

fn folded(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }

    /// A name of one common name, written with this tag.
    fn name(tag: u8, content: &[u8]) -> Name {
        let attribute = [tlv(6, &[0x55, 4, 3]), tlv(tag, content)].concat();
        Name::of_der(&tlv(0x30, &tlv(0x31, &tlv(0x30, &attribute))))
    }

    #[test]
    fn a_name_is_the_same_in_every_string_type() {
        let plain = name(12, b"Root CA");
        assert!(matches!(plain, Name::Said(_)));
        for (tag, content) in [
            (0x13, &b"Root CA"[..]),
            (0x14, b"Root CA"),
            (0x16, b"root ca"),
            (0x1a, b"  ROOT   CA "),
            (0x1e, b"\0R\0o\0o\0t\0 \0C\0A"),
            (0x1c, b"\0\0\0R\0\0\0o\0\0\0o\0\0\0t\0\0\0 \0\0\0C\0\0\0A"),
        ] {
            assert_eq!(name(tag, content), plain, "{tag}");
        }
        assert_eq!(name(0x14, b"\xc9"), name(12, "\u{e9}".as_bytes()));
        for other in [
            name(12, b"RootCA"),
            name(12, b"Root CB"),
            name(4, b"Root CA"),
            name(0x1e, b"\0R\0"),
            Name::of_der(b"Root CA"),
        ] {
            assert_ne!(other, plain);
        }
    }

    #[test]
    fn the_order_counts_of_relative_names_but_not_within_one() {
        let attribute = |last, text: &[u8]| {
            let content = [tlv(6, &[0x55, 4, last]), tlv(12, text)].concat();
            tlv(0x30, &content)
        };
        let [one, other] = [attribute(3, b"a"), attribute(10, b"b")];
        let together = |parts: &[&[u8]]| Name::of_content(&tlv(0x31, &parts.concat()));
        assert_eq!(together(&[&one, &other]), together(&[&other, &one]));
        let apart = |parts: [&[u8]; 2]| Name::of_content(&parts.map(|it| tlv(0x31, it)).concat());
        assert_ne!(apart([&one, &other]), apart([&other, &one]));
        assert_ne!(apart([&one, &other]), together(&[&one, &other]));
    }
}
