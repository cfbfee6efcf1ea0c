//! How a backend of PostgreSQL is made ready: TLS if its leg has it, and the start-up message.

use crate::{
    protocol::postgres::backend::{SslReply, ssl_request},
    session::leg::Leg,
    worker::{
        connect::{Connector, begin_tls, hear},
        opening::{Context, Phase},
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
    async fn prepare(&self, context: &Context, backend: &mut Leg) -> Result<(), String> {
        if context.has_backend_tls() {
            ask_for_tls(backend).await?;
        }
        begin_tls(context, backend).await?;
        if let Self::Part(words) | Self::Whole(words) = self {
            let told = backend.send(words).await;
            told.map_err(|error| error.to_string())?;
        }
        match self {
            Self::Nothing | Self::Part(_) => Ok(()),
            Self::Whole(_) => hear(backend, "no answer to the start-up message came").await,
        }
    }

    fn is_proof(&self, context: &Context) -> bool {
        context.has_backend_tls() || matches!(self, Self::Whole(_))
    }

    fn awaited(&self, context: &Context, backend: &Leg) -> Phase {
        let in_tls = backend.tls().is_some_and(|tls| !tls.is_handshaking());
        if in_tls || !context.has_backend_tls() {
            Phase::Answer
        } else {
            Phase::BackendTls
        }
    }
}

/// Asks a backend for TLS, which begins when this is done.
async fn ask_for_tls(backend: &mut Leg) -> Result<(), String> {
    let asked = backend.send(&ssl_request()).await;
    asked.map_err(|error| error.to_string())?;
    let mut reply = Vec::new();
    loop {
        let got = backend.receive(&mut reply).await;
        got.map_err(|error| error.to_string())?;
        match SslReply::parse(&reply).map_err(|error| error.to_string())? {
            None => {}
            Some(SslReply::Accept) => return Ok(()),
            Some(SslReply::Decline) => {
                return Err(
                    "it has no TLS; set `ssl = on` there, or `backend_tls.mode = \"off\"` \
                            here"
                        .to_owned(),
                );
            }
            Some(SslReply::Error) => return Err("it refuses the connection".to_owned()),
        }
    }
}
