//! How a backend of PostgreSQL is made ready: TLS if its leg has it, and the start-up message.

use crate::{
    protocol::postgres::backend::{SslReply, ssl_request},
    session::leg::Leg,
    worker::{
        backends::BackendError,
        connect::{Connector, Target, begin_tls, hear},
        deadline::Phase,
    },
};

/// The start-up message, as far as there is one.
#[derive(Clone, Copy)]
pub(super) enum Startup<'a> {
    /// There is none: something else comes.
    Nothing,
    /// The beginning of one.
    Part(&'a [u8]),
    /// All of it, which has to be answered.
    Whole(&'a [u8]),
}

impl Connector for Startup<'_> {
    async fn prepare(&self, target: &Target, backend: &mut Leg) -> Result<(), BackendError> {
        if target.has_tls() {
            ask_for_tls(backend).await?;
        }
        begin_tls(target, backend).await?;
        if let Self::Part(words) | Self::Whole(words) = self {
            backend.send(words).await?;
        }
        match self {
            Self::Nothing | Self::Part(_) => Ok(()),
            Self::Whole(_) => hear(backend, "answer to the start-up message").await,
        }
    }

    fn is_proof(&self, target: &Target) -> bool {
        target.has_tls() || matches!(self, Self::Whole(_))
    }

    fn awaited(&self, target: &Target, backend: &Leg) -> Phase {
        let in_tls = backend.tls().is_some_and(|tls| !tls.is_handshaking());
        if in_tls || !target.has_tls() {
            Phase::Answer
        } else {
            Phase::BackendTls
        }
    }
}

/// Asks a backend for TLS, which begins when this is done.
async fn ask_for_tls(backend: &mut Leg) -> Result<(), BackendError> {
    backend.send(&ssl_request()).await?;
    let mut reply = Vec::new();
    loop {
        backend.receive(&mut reply).await?;
        match SslReply::parse(&reply).map_err(BackendError::violation)? {
            None => {}
            Some(SslReply::Accept) => return Ok(()),
            Some(SslReply::Decline) => {
                let remedy = "set `ssl = on` there";
                return Err(BackendError::NoTls { remedy });
            }
            Some(SslReply::Error) => return Err(BackendError::Refused),
        }
    }
}
