//! The `ErrorResponse` by which the proxy refuses a client.
//!
//! Layout: `E`; length (4, itself included); fields, each a letter, text and NUL; a last NUL.
//! Source: "Message Formats" and "Error and Notice Message Fields" in the PostgreSQL manual.

use std::borrow::Cow;

/// A fatal error as PostgreSQL clients know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ErrorResponse {
    /// Five characters that clients switch on.
    pub sqlstate: &'static str,
    /// Sentence for a person.
    pub message: Cow<'static, str>,
    /// What that person may try.
    pub hint: Option<Cow<'static, str>>,
}

impl ErrorResponse {
    /// `cannot_connect_now`: the backend cannot be reached; to drivers, a reason to try the next
    /// host.
    #[must_use]
    pub fn backend_down(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("57P03", message)
    }

    /// `query_canceled`, as servers have it for a login that takes too long.
    #[must_use]
    pub fn login_too_slow() -> Self {
        Self::new("57014", "canceling authentication due to timeout")
    }

    /// `protocol_violation`: the client's first messages make no sense.
    #[must_use]
    pub fn protocol_violation(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("08P01", message)
    }

    /// `invalid_authorization_specification`: the session starts without TLS.
    #[must_use]
    pub fn tls_required() -> Self {
        Self {
            hint: Some("Connect with sslmode=require or stronger.".into()),
            ..Self::new("28000", "connections without TLS are not allowed here")
        }
    }

    /// `too_many_connections`: the listener's `max_connections` is reached.
    #[must_use]
    pub fn too_many_connections() -> Self {
        Self::new("53300", "sorry, too many clients already")
    }

    /// `too_many_connections`: the listener's `per_client` is reached.
    #[must_use]
    pub fn too_many_of_client() -> Self {
        Self::new("53300", "too many connections from this client's address")
    }

    /// Makes an error of any class, without a hint.
    #[must_use]
    pub fn new(sqlstate: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            sqlstate,
            message: message.into(),
            hint: None,
        }
    }

    /// Appends the message to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(b"E\0\0\0\0");
        let hint = self.hint.iter().map(|hint| (b'H', hint.as_ref()));
        let fields = [
            (b'S', "FATAL"),
            (b'V', "FATAL"),
            (b'C', self.sqlstate),
            (b'M', self.message.as_ref()),
        ];
        for (letter, text) in fields.into_iter().chain(hint) {
            out.push(letter);
            // A NUL would end the field and let the rest pass for others.
            out.extend(text.bytes().filter(|byte| *byte != 0));
            out.push(0);
        }
        out.push(0);
        let length = u32::try_from(out.len() - start - 1).unwrap_or(u32::MAX);
        out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_stand_in_their_order() {
        let mut out = b"before".to_vec();
        ErrorResponse {
            hint: Some("wait".into()),
            ..ErrorResponse::new("57P03", "no")
        }
        .write(&mut out);
        assert_eq!(
            out,
            b"beforeE\0\0\0\x24SFATAL\0VFATAL\0C57P03\0Mno\0Hwait\0\0"
        );
    }

    proptest! {
        #[test]
        fn no_message_adds_a_field(message: String) {
            let mut out = Vec::new();
            ErrorResponse::protocol_violation(message).write(&mut out);
            prop_assert_eq!(out.iter().skip(5).filter(|byte| **byte == 0).count(), 5);
            let length = u32::from_be_bytes([out[1], out[2], out[3], out[4]]);
            prop_assert_eq!(length as usize, out.len() - 1);
        }
    }
}
