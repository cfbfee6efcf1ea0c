//! Asking a database for TLS.
//!
//! The answer is one byte. Nothing may lie behind it before TLS has started (CVE-2021-23222), and
//! any attacker on the network can have sent the text of an error at this point: it goes neither to the
//! client nor into a log (CVE-2024-10977).

use thiserror::Error;

use super::opening::SSL;

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
