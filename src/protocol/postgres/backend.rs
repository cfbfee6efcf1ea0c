//! Asking a database for TLS.
//!
//! The answer is one byte. Nothing may lie behind it before TLS has started (CVE-2021-23222), and
//! any attacker on the network can have sent the text of an error at this point: it goes neither to the
//! client nor into a log (CVE-2024-10977). `proxyctl probe` alone shows it, to the operator who asked.

use thiserror::Error;

use super::opening::SSL;
use crate::protocol::bytes::{Reader, for_log};

/// The longest error that a database sends before it knows its client (`MAX_ERRLEN` of libpq is 30,000).
const MAX_ERROR: usize = 30_000;

/// Returns the request to send.
#[must_use]
pub fn ssl_request() -> [u8; 8] {
    let [a, b, c, d] = SSL.to_be_bytes();
    [0, 0, 0, 8, a, b, c, d]
}

/// What a database answers to a request for TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SslReply {
    /// TLS starts now.
    Accept,
    /// It has no TLS; the connection is still good without.
    Decline,
    /// It refuses the connection, or is too old to know the request. What follows is not to be
    /// read.
    Error,
}

impl SslReply {
    /// Reads all bytes received since the request; `None` when there are none.
    pub fn parse(buf: &[u8]) -> Result<Option<Self>, SslReplyError> {
        match *buf {
            [] => Ok(None),
            [b'S'] => Ok(Some(Self::Accept)),
            [b'N'] => Ok(Some(Self::Decline)),
            [b'E', ..] => Ok(Some(Self::Error)),
            [b'S' | b'N', ..] => Err(SslReplyError::BytesBehindReply),
            [other, ..] => Err(SslReplyError::Unknown(other)),
        }
    }
}

/// Returns the words of an error, the message and its SQLSTATE, fit for one line; `None` while it is not whole.
///
/// Layout: `E`; length (4, itself included); fields, each a letter, text and NUL; a last NUL. Servers from before
/// 7.4, and some whose memory is short, answer with `E`, text and NUL alone. Source: "Message Formats" and "Error
/// and Notice Message Fields" in the PostgreSQL manual.
#[must_use]
pub fn error_words(buf: &[u8]) -> Option<String> {
    let mut reader = Reader::new(buf);
    reader.take(1)?;
    let mut old = reader;
    let length = reader.u32_be()? as usize;
    if length > MAX_ERROR {
        return old.until_nul().map(for_log);
    }
    let mut fields = Reader::new(reader.take(length.checked_sub(4)?)?);
    let (mut message, mut code) = (None, None);
    while let Some(letter @ 1..) = fields.u8() {
        let text = fields.until_nul()?;
        match letter {
            b'M' => message = Some(for_log(text)),
            b'C' => code = Some(for_log(text)),
            _ => {}
        }
    }
    let message = message?;
    Some(code.map_or_else(
        || message.clone(),
        |code| format!("error {code}: {message}"),
    ))
}

/// The answer cannot be trusted.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SslReplyError {
    /// Unencrypted bytes that might be taken for encrypted ones.
    #[error("the database sends unencrypted data behind its answer to the request for TLS")]
    BytesBehindReply,
    /// Not a PostgreSQL server, perhaps.
    #[error("the database answers the request for TLS with {0:#04x}; is this a PostgreSQL server?")]
    Unknown(u8),
}

#[cfg(test)]
mod tests {
    use super::super::opening::Opening;
    use super::*;

    #[test]
    fn the_request_is_one() {
        assert_eq!(
            Opening::parse(&ssl_request()),
            Ok(Some(Opening::SslRequest))
        );
    }

    #[test]
    fn an_error_is_told_by_its_message_and_code() {
        let mut error = Vec::new();
        super::super::ErrorResponse::too_many_connections().write(&mut error);
        let words = "error 53300: sorry, too many clients already";
        assert_eq!(error_words(&error).as_deref(), Some(words));
        assert_eq!(error_words(&error[..error.len() - 1]), None);
        let old = error_words(b"Eunsupported frontend protocol\n\0");
        assert_eq!(old.as_deref(), Some("unsupported frontend protocol\\n"));
        assert_eq!(error_words(b"E\0\0\0\x05"), None);
    }

    #[test]
    fn replies_are_told_apart() {
        let table: [(&[u8], _); 7] = [
            (b"", Ok(None)),
            (b"S", Ok(Some(SslReply::Accept))),
            (b"N", Ok(Some(SslReply::Decline))),
            (b"E\0\0\0\x20SFATAL", Ok(Some(SslReply::Error))),
            (b"S\x16", Err(SslReplyError::BytesBehindReply)),
            (b"NR", Err(SslReplyError::BytesBehindReply)),
            (b"H", Err(SslReplyError::Unknown(b'H'))),
        ];
        for (bytes, reply) in table {
            assert_eq!(SslReply::parse(bytes), reply, "{bytes:x?}");
        }
    }
}
