//! PEM text to blocks, RFC 7468, strict about what a torn or badly joined file looks like.
//!
//! Text around blocks is ignored, as everywhere. Inside a file that claims to hold blocks nothing
//! is skipped in silence: half a certificate must never pass for none.

use std::fmt;

use rustls::pki_types::pem::{PemObject, SectionKind};
use zeroize::Zeroizing;

use super::{foreign, pem_fault::PemFault};

/// One block and what it held.
pub(crate) struct Block {
    /// For example `CERTIFICATE`.
    pub(crate) label: String,
    /// The line it begins in, from 1.
    pub(crate) line: usize,
    /// Its decoded body, wiped from memory when dropped because it may be a key.
    pub(crate) der: Zeroizing<Vec<u8>>,
    /// Whether its headers say that it is encrypted, RFC 1421 §4.6.1.1.
    pub(crate) encrypted: bool,
}

/// The body may be a key and is not shown.
impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("label", &self.label)
            .field("line", &self.line)
            .field("encrypted", &self.encrypted)
            .finish_non_exhaustive()
    }
}

impl Block {
    pub(crate) fn is_key(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }

    pub(crate) fn is_certificate(&self) -> bool {
        // The second is an old name for the same, RFC 7468 §5.1.
        matches!(self.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE")
    }
}

/// Returns the labels of the blocks, for saying what a file holds instead of what it should, and
/// what to do about it if that is known.
pub(crate) fn labels(blocks: &[Block]) -> String {
    let labels: Vec<_> = blocks.iter().map(|it| it.label.as_str()).collect();
    let is_uniform = labels.iter().all(|it| labels.first() == Some(it));
    let advice = labels.first().filter(|_| is_uniform);
    let advice = advice.and_then(|it| foreign::advice(it));
    let advice = advice.map(|it| format!("; {it}")).unwrap_or_default();
    labels.join(", ") + &advice
}

/// Splits a text into its blocks, at least one.
pub(crate) fn blocks(text: &[u8]) -> Result<Vec<Block>, PemFault> {
    let mut open: Option<Open> = None;
    let mut blocks = Vec::new();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        open = match (Line::of(line.trim_ascii(), index + 1)?, open.take()) {
            (Line::Begin(label), None) => Some(Open::new(label, index + 1, text.len())),
            (Line::Begin(_), Some(open)) => return Err(open.unterminated()),
            (Line::End(_), None) => return Err(PemFault::StrayEnd { line: index + 1 }),
            (Line::End(label), Some(open)) => {
                blocks.push(open.close(label)?);
                None
            }
            (Line::Text(_), None) => None,
            (Line::Text(line), Some(open)) => Some(open.with(line)),
        };
    }
    match open {
        Some(open) => Err(open.unterminated()),
        None if blocks.is_empty() => Err(foreign::nothing_in(text)),
        None => Ok(blocks),
    }
}

enum Line<'a> {
    Begin(String),
    End(String),
    Text(&'a [u8]),
}

impl<'a> Line<'a> {
    fn of(line: &'a [u8], number: usize) -> Result<Self, PemFault> {
        if let Some(rest) = line.strip_prefix(b"-----BEGIN ") {
            return label(rest, number).map(Self::Begin);
        }
        if let Some(rest) = line.strip_prefix(b"-----END ") {
            return label(rest, number).map(Self::End);
        }
        Ok(Self::Text(line))
    }
}

fn label(rest: &[u8], line: usize) -> Result<String, PemFault> {
    let label = rest
        .strip_suffix(b"-----")
        .and_then(|label| std::str::from_utf8(label).ok());
    match label {
        Some(label) if !label.contains("--") => Ok(label.to_owned()),
        _ if rest.windows(7).any(|it| it == b"-----\\n") => Err(PemFault::Escaped { line }),
        _ => Err(PemFault::BadMarker { line }),
    }
}

/// A block whose END line is still to come.
struct Open {
    label: String,
    line: usize,
    body: Zeroizing<Vec<u8>>,
    encrypted: bool,
}

impl Open {
    fn new(label: String, line: usize, most: usize) -> Self {
        let most = if label.ends_with("PRIVATE KEY") {
            most
        } else {
            0
        };
        Self {
            label,
            line,
            // A key's body must not grow, which would leave copies of it behind.
            body: Zeroizing::new(Vec::with_capacity(most)),
            encrypted: false,
        }
    }

    fn with(mut self, line: &[u8]) -> Self {
        if line.contains(&b':') {
            self.encrypted |= line.ends_with(b"ENCRYPTED");
        } else {
            self.body.extend_from_slice(line);
        }
        self
    }

    fn unterminated(self) -> PemFault {
        if self.body.contains(&0) {
            return PemFault::Zeros;
        }
        PemFault::Unterminated {
            label: self.label,
            line: self.line,
        }
    }

    fn close(self, end: String) -> Result<Block, PemFault> {
        let Self { label, line, .. } = self;
        if label != end {
            return Err(PemFault::WrongEnd { label, line, end });
        }
        match decode(&self.body) {
            Some(der) => Ok(Block {
                label,
                line,
                der,
                encrypted: self.encrypted,
            }),
            None if self.body.contains(&0) => Err(PemFault::Zeros),
            None => Err(PemFault::Garbled { label, line }),
        }
    }
}

/// Decodes base64 in constant time, as befits a key, whatever the block's label is.
fn decode(body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (begin, end) = (
        b"-----BEGIN PRIVATE KEY-----\n",
        b"\n-----END PRIVATE KEY-----\n",
    );
    let mut section = Zeroizing::new(Vec::with_capacity(body.len() + begin.len() + end.len()));
    section.extend_from_slice(begin);
    section.extend_from_slice(body);
    section.extend_from_slice(end);
    let (_, der) = <(SectionKind, Vec<u8>)>::from_pem_slice(&section).ok()?;
    (!der.is_empty()).then(|| Zeroizing::new(der))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "-----BEGIN CERTIFICATE-----\nAAEC\nAwQ=\n-----END CERTIFICATE-----\n";

    #[test]
    fn text_around_blocks_and_foreign_line_ends_are_tolerated() {
        let text = format!("\u{feff}# a note\n{GOOD}\nmore\n{GOOD}").replace('\n', "\r\n");
        let blocks = blocks(text.as_bytes()).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0].der.as_slice(), [0, 1, 2, 3, 4]);
        assert_eq!((blocks[0].line, blocks[1].line), (2, 8));
    }

    #[test]
    fn what_is_torn_or_joined_badly_is_named() {
        let cut = &GOOD[..40];
        let second = format!("{GOOD}{cut}");
        let glued = format!("{}{GOOD}", GOOD.trim_end());
        let nested = format!("{cut}\n{GOOD}");
        let table: [(&[u8], &str); 14] = [
            (b"", "it holds no PEM block"),
            (b"hello\n", "it holds no PEM block"),
            (b"\x30\x82\x01\x00", "it is DER"),
            (b"-----BEGIN A-----\nAAEC\n\0\0\0", "it holds NUL bytes"),
            (
                b"-----BEGIN A-----\nAA\0C\n-----END A-----",
                "it holds NUL bytes",
            ),
            (
                b"-----BEGIN A-----\\nAAEC\\n-----END A-----",
                "writes its line breaks as \\n",
            ),
            (cut.as_bytes(), "block of line 1 has no END line"),
            (second.as_bytes(), "block of line 5 has no END line"),
            (nested.as_bytes(), "block of line 1 has no END line"),
            (glued.as_bytes(), "line 4 is no complete BEGIN or END"),
            (b"-----END X-----", "line 1 ends a block"),
            (
                b"-----BEGIN A-----\nAAEC\n-----END B-----",
                "is closed as B",
            ),
            (
                b"-----BEGIN A-----\nA!EC\n-----END A-----",
                "it is not base64",
            ),
            (
                b"-----BEGIN A-----\nAAECA\n-----END A-----",
                "it is not base64",
            ),
        ];
        for (text, expected) in table {
            let reason = blocks(text).unwrap_err().to_string();
            assert!(reason.contains(expected), "{expected}: {reason}");
        }
    }

    #[test]
    fn headers_tell_an_encrypted_block() {
        let text = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                    DEK-Info: AES-128-CBC,00\n\nAAEC\n-----END RSA PRIVATE KEY-----";
        assert!(blocks(text.as_bytes()).unwrap()[0].encrypted);
        assert!(!blocks(GOOD.as_bytes()).unwrap()[0].encrypted);
    }
}
