//! What a browser asks for behind the question mark: a filter and a page of the identities.

use std::fmt::Write as _;

/// The most bytes of a query that are read.
const MOST_BYTES: usize = 2048;

/// The most characters of a filter.
pub(in crate::page) const MOST_FILTER: usize = 100;

/// What is asked for. Anything else in a query means nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::page) struct Query {
    /// What names, subjects, issuers, fingerprints or files of identities must contain, in lower case.
    pub(super) filter: String,
    /// The page of the identities, from 0 on.
    pub(super) page: usize,
}

impl Query {
    /// Reads a query as a form sends it (`application/x-www-form-urlencoded`).
    pub(in crate::page) fn read(query: Option<&str>) -> Self {
        let mut read = Self::default();
        let query = query.filter(|it| it.len() <= MOST_BYTES);
        for pair in query.unwrap_or_default().split('&') {
            match pair.split_once('=') {
                Some(("filter", value)) => {
                    let value = decoded(value);
                    let wanted = value.trim().chars().take(MOST_FILTER);
                    read.filter = wanted.flat_map(char::to_lowercase).collect();
                }
                Some(("page", value)) => {
                    // People count from 1.
                    let page = value.parse::<u32>().unwrap_or(1).saturating_sub(1);
                    read.page = usize::try_from(page).unwrap_or(0);
                }
                _ => {}
            }
        }
        read
    }

    /// Returns the address of another page of the same identities.
    pub(super) fn address_of(&self, page: usize) -> String {
        format!(
            "?filter={}&page={}#certificates",
            encoded(&self.filter),
            page + 1
        )
    }
}

fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let digits = after.first_chunk::<2>().filter(|_| *first == b'%');
        let digits = digits.and_then(|it| std::str::from_utf8(it).ok());
        match digits.and_then(|it| u8::from_str_radix(it, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None if *first == b'+' => bytes.push(b' '),
            None => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Writes a text so that it can stand in an address, and be the id of an element.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_a_form_sends_it() {
        let read = |text| Query::read(Some(text));
        let query = read("filter=+DB%C3%84+one&page=3&other=1");
        assert_eq!((query.filter.as_str(), query.page), ("dbä one", 2));
        assert_eq!(
            query.address_of(0),
            "?filter=db%C3%A4%20one&page=1#certificates"
        );
        assert_eq!(read("page=0").page, 0);
        assert_eq!(read("page=-1&filter").page, 0);
        assert_eq!(read("filter=%zz%4").filter, "%zz%4");
        assert_eq!(Query::read(None), Query::default());
    }

    #[test]
    fn what_is_too_long_is_bounded() {
        let long = format!("filter={}", "x".repeat(MOST_FILTER + 1));
        assert_eq!(Query::read(Some(&long)).filter.len(), MOST_FILTER);
        let longer = format!("filter={}", "x".repeat(MOST_BYTES));
        assert_eq!(Query::read(Some(&longer)), Query::default());
    }

    proptest::proptest! {
        #[test]
        fn any_text_survives_an_address(text in "\\PC{0,50}") {
            proptest::prop_assert_eq!(decoded(&encoded(&text)), text);
        }
    }
}
