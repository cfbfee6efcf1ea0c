//! SHA-256 of a certificate, by which people name it.

use std::{fmt, str::FromStr};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};

/// How many bytes a digest has (FIPS 180-4).
const BYTES: usize = 32;

/// SHA-256 of a certificate's DER. Written as 64 lower-case hexadecimal digits; read in any case and with
/// or without the colons that OpenSSL puts between bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint([u8; BYTES]);

/// Why a text is no [`Fingerprint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write the SHA-256 of a certificate as 64 hexadecimal digits")]
pub struct NoFingerprint;

impl From<[u8; BYTES]> for Fingerprint {
    fn from(digest: [u8; BYTES]) -> Self {
        Self(digest)
    }
}

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let separated = 3 * BYTES - 1;
        let digits = match text.len() {
            length if length == separated => without_colons(text)?,
            _ => text.to_owned(),
        };
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes());
        let bytes = bytes.map_err(|_| NoFingerprint)?;
        bytes.try_into().map(Self).map_err(|_| NoFingerprint)
    }
}

/// Returns the digits of `AB:CD:…`.
fn without_colons(text: &str) -> Result<String, NoFingerprint> {
    let pairs: Vec<&str> = text.split(':').collect();
    if pairs.iter().all(|pair| pair.len() == 2) {
        Ok(pairs.concat())
    } else {
        Err(NoFingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_openssl_writes_it() {
        let colons = ["AB"; BYTES].join(":");
        let read: Fingerprint = colons.parse().unwrap();
        assert_eq!(read.to_string(), "ab".repeat(BYTES));
        for wrong in ["", "ab", &"ab".repeat(31), &colons.replace(':', "::")] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(NoFingerprint), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(digest: [u8; BYTES]) {
            let fingerprint = Fingerprint::from(digest);
            prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,100}") {
            let _ = text.parse::<Fingerprint>();
        }
    }
}
