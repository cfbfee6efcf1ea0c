//! The requests for encryption before a session, and their answers.
//!
//! A client may ask for TLS and for GSSAPI encryption, once each, in either order. Bytes that
//! already lie behind a request were sent before its answer, by a client that breaks the protocol
//! or by an attacker who wants them taken for encrypted ones (CVE-2021-23214): they end the
//! connection.

use thiserror::Error;

use super::opening::{Opening, OpeningError, REQUEST_LEN, Startup};

/// Where a client stands on its way to a session.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Negotiation {
    asked_gss: bool,
    asked_tls: bool,
    encrypted: bool,
}

/// What to do with the bytes in the buffer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Next {
    /// Send [`ACCEPT`], empty the buffer and start TLS.
    AcceptTls,
    /// Pass this message to the database and close; the client expects no answer.
    Cancel(Vec<u8>),
    /// Send [`DECLINE`], empty the buffer and read on.
    Decline,
    /// Give the buffer to TLS as it is. The client must offer [`ALPN`](super::ALPN).
    DirectTls,
    /// Read more.
    NeedMore,
    /// A session starts with the bytes in the buffer.
    Startup(Startup),
}

/// Answer to a request for TLS: it starts.
pub const ACCEPT: &[u8] = b"S";
/// Answer to a request for encryption: not this one; the connection stays as it is.
pub const DECLINE: &[u8] = b"N";

impl Negotiation {
    /// Looks at all bytes received and not yet dealt with.
    pub fn next(&mut self, buf: &[u8]) -> Result<Next, NegotiationError> {
        match Opening::parse(buf)? {
            None => Ok(Next::NeedMore),
            Some(Opening::Cancel(message)) => Ok(Next::Cancel(message)),
            Some(Opening::Startup(startup)) => Ok(Next::Startup(startup)),
            Some(_) if self.encrypted => Err(NegotiationError::InsideTls),
            Some(Opening::DirectTls) if self.asked_gss || self.asked_tls => {
                Err(NegotiationError::LateTls)
            }
            Some(Opening::DirectTls) => {
                self.encrypted = true;
                Ok(Next::DirectTls)
            }
            Some(_) if buf.len() > REQUEST_LEN => Err(NegotiationError::BytesBehindRequest),
            Some(Opening::GssEncRequest) => {
                first_time(&mut self.asked_gss)?;
                Ok(Next::Decline)
            }
            Some(Opening::SslRequest) => {
                first_time(&mut self.asked_tls)?;
                self.encrypted = true;
                Ok(Next::AcceptTls)
            }
        }
    }

    /// Tells whether what comes next is under TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }
}

fn first_time(asked: &mut bool) -> Result<(), NegotiationError> {
    if std::mem::replace(asked, true) {
        return Err(NegotiationError::AskedAgain);
    }
    Ok(())
}

/// The client must not go on; it is told so with
/// [`ErrorResponse::protocol_violation`](super::ErrorResponse::protocol_violation).
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum NegotiationError {
    /// The same encryption was asked for before.
    #[error("the client asks for the same encryption twice")]
    AskedAgain,
    /// Unencrypted bytes that might be taken for encrypted ones.
    #[error("the client sends unencrypted data behind its request for encryption")]
    BytesBehindRequest,
    /// Encryption was asked for under encryption.
    #[error("the client asks for encryption inside TLS")]
    InsideTls,
    /// TLS can start by itself at the very beginning only.
    #[error("the client starts TLS after another answer than the one to start it")]
    LateTls,
    /// TLS without negotiation needs ALPN ("SSL Session Encryption" in the PostgreSQL manual).
    #[error("direct TLS needs the ALPN protocol \"postgresql\"")]
    NoAlpn,
    /// The message itself is wrong.
    #[error(transparent)]
    Opening(#[from] OpeningError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::opening::tests::{GSS_REQUEST, SSL_REQUEST, STARTUP, cancel_request};
    use super::*;

    fn after(messages: &[&[u8]]) -> Negotiation {
        let mut negotiation = Negotiation::default();
        for message in messages {
            let _ = negotiation.next(message).expect("allowed");
        }
        negotiation
    }

    #[test]
    fn tls_is_accepted_and_gss_declined() {
        let mut negotiation = Negotiation::default();
        assert_eq!(negotiation.next(GSS_REQUEST), Ok(Next::Decline));
        assert!(!negotiation.is_encrypted());
        assert_eq!(negotiation.next(SSL_REQUEST), Ok(Next::AcceptTls));
        assert!(negotiation.is_encrypted());
        assert!(matches!(negotiation.next(STARTUP), Ok(Next::Startup(_))));
    }

    #[test]
    fn a_session_or_a_cancel_may_start_anywhere() {
        for before in [&[][..], &[GSS_REQUEST], &[SSL_REQUEST], &[&[0x16]]] {
            assert!(matches!(after(before).next(STARTUP), Ok(Next::Startup(_))));
            let cancel = cancel_request(4);
            assert_eq!(after(before).next(&cancel), Ok(Next::Cancel(cancel)));
            assert_eq!(after(before).next(&[]), Ok(Next::NeedMore));
        }
    }

    #[test]
    fn each_request_is_good_once() {
        let again = after(&[GSS_REQUEST]).next(GSS_REQUEST);
        assert_eq!(again, Err(NegotiationError::AskedAgain));
    }

    #[test]
    fn there_are_no_requests_inside_tls() {
        for start in [SSL_REQUEST, &[0x16][..]] {
            for request in [SSL_REQUEST, GSS_REQUEST, &[0x16]] {
                let error = Err(NegotiationError::InsideTls);
                assert_eq!(after(&[start]).next(request), error);
            }
        }
    }

    #[test]
    fn tls_does_not_start_by_itself_after_a_request() {
        let late = after(&[GSS_REQUEST]).next(&[0x16, 3, 1]);
        assert_eq!(late, Err(NegotiationError::LateTls));
    }

    proptest! {
        #[test]
        fn bytes_behind_a_request_end_it(
            request in prop_oneof![Just(SSL_REQUEST), Just(GSS_REQUEST)],
            behind in proptest::collection::vec(any::<u8>(), 1..20),
        ) {
            let all = [request, &behind].concat();
            let error = Err(NegotiationError::BytesBehindRequest);
            prop_assert_eq!(Negotiation::default().next(&all), error);
        }

        #[test]
        fn requests_are_answered_but_once(messages: Vec<bool>) {
            let mut negotiation = Negotiation::default();
            let answers = messages.into_iter().map_while(|ssl| {
                negotiation.next(if ssl { SSL_REQUEST } else { GSS_REQUEST }).ok()
            });
            prop_assert!(answers.count() <= 2);
        }
    }
}
