//! PostgreSQL: requests for encryption, then the start of a session or the cancelling of a query.

use super::{Context, Failure, Opened, accept_tls, backend_failed, connect, read_client, secure};
use crate::{
    config::TlsMode,
    protocol::postgres::{
        ALPN, ErrorResponse, Negotiation, Next,
        backend::{SslReply, ssl_request},
        negotiation::{ACCEPT, DECLINE},
    },
    worker::{farewell::farewell, leg::Leg},
};

/// What a client came for.
enum Wish {
    /// To have a query of another session cancelled by this message.
    Cancel(Vec<u8>),
    /// A session that begins with these bytes.
    Session(Vec<u8>),
}

/// Opens a session.
pub(super) async fn open(context: &Context, mut client: Leg) -> Result<Opened, Failure> {
    match negotiate(context, &mut client).await? {
        Wish::Cancel(message) => {
            let failure = cancel(context, &message).await;
            // What a client waits for is the end of the connection, which TLS must confirm: libpq
            // calls an end without `close_notify` a failure.
            farewell(&mut client, &[]).await;
            Err(failure)
        }
        Wish::Session(first) => {
            client.unread(&first);
            match connect_backend(context).await {
                Ok(backend) => Ok(Opened {
                    client,
                    backend,
                    relogin: None,
                }),
                Err(failure) => {
                    let error = ErrorResponse::backend_down(
                        "proxyd cannot reach the database; its log says why",
                    );
                    tell(&mut client, &error).await;
                    Err(failure)
                }
            }
        }
    }
}

/// Tells a client that there is no room, inside TLS if it asks for that: libpq does not show an
/// error that came in the clear in the place of the answer.
pub(super) async fn refuse(context: &Context, mut client: Leg) {
    if let Ok(Wish::Session(_)) = negotiate(context, &mut client).await {
        tell(&mut client, &ErrorResponse::too_many_connections()).await;
    }
}

async fn tell(client: &mut Leg, error: &ErrorResponse) {
    let mut words = Vec::new();
    error.write(&mut words);
    farewell(client, &words).await;
}

/// Answers requests for encryption until the client says what it came for.
async fn negotiate(context: &Context, client: &mut Leg) -> Result<Wish, Failure> {
    let mut negotiation = Negotiation::default();
    let mut buffer = Vec::new();
    loop {
        let next = match negotiation.next(&buffer) {
            Ok(next) => next,
            Err(error) => {
                let error = error.to_string();
                tell(client, &ErrorResponse::protocol_violation(error.clone())).await;
                return Err(Failure::Refused(error));
            }
        };
        match next {
            Next::NeedMore => read_client(client, &mut buffer).await?,
            Next::Decline => {
                buffer.clear();
                client.send(DECLINE).await.map_err(Failure::Client)?;
            }
            Next::AcceptTls => {
                buffer.clear();
                client.send(ACCEPT).await.map_err(Failure::Client)?;
                accept_tls(context, client, Vec::new()).await?;
            }
            Next::DirectTls => {
                accept_tls(context, client, std::mem::take(&mut buffer)).await?;
                demand_alpn(client).await?;
            }
            Next::Cancel(message) => return Ok(Wish::Cancel(message)),
            Next::Startup(_) => {
                demand_tls(context, client, negotiation.is_encrypted()).await?;
                return Ok(Wish::Session(buffer));
            }
        }
    }
}

/// Refuses TLS without negotiation from a client that does not say that it means PostgreSQL
/// ("SSL Session Encryption" in the PostgreSQL manual).
async fn demand_alpn(client: &mut Leg) -> Result<(), Failure> {
    if client.tls().and_then(|tls| tls.alpn()) == Some(ALPN) {
        return Ok(());
    }
    let reason = "direct TLS needs the ALPN protocol \"postgresql\"";
    tell(client, &ErrorResponse::protocol_violation(reason)).await;
    Err(Failure::Refused(reason.to_owned()))
}

async fn demand_tls(context: &Context, client: &mut Leg, encrypted: bool) -> Result<(), Failure> {
    if encrypted || context.service.listener.tls.mode == TlsMode::Preferred {
        return Ok(());
    }
    tell(client, &ErrorResponse::tls_required()).await;
    Err(Failure::Refused("the client does not use TLS".to_owned()))
}

async fn connect_backend(context: &Context) -> Result<Leg, Failure> {
    let mut backend = connect(context).await?;
    if context.connect_tls().is_some() {
        ask_for_tls(context, &mut backend).await?;
        secure(context, &mut backend).await?;
    }
    Ok(backend)
}

async fn ask_for_tls(context: &Context, backend: &mut Leg) -> Result<(), Failure> {
    let asked = backend.send(&ssl_request()).await;
    asked.map_err(|error| backend_failed(context, &error))?;
    let mut reply = Vec::new();
    loop {
        let got = backend.receive(&mut reply).await;
        got.map_err(|error| backend_failed(context, &error))?;
        match SslReply::parse(&reply) {
            Ok(None) => {}
            Ok(Some(SslReply::Accept)) => return Ok(()),
            Ok(Some(SslReply::Decline)) => {
                return Err(backend_failed(
                    context,
                    &"it has no TLS; set `ssl = on` there, or `backend_tls.mode = \"off\"` here",
                ));
            }
            Ok(Some(SslReply::Error)) => {
                return Err(backend_failed(context, &"it refuses the connection"));
            }
            Err(error) => return Err(backend_failed(context, &error)),
        }
    }
}

/// Passes on the request to cancel a query, and waits until the database has taken it; returns how
/// that ended.
async fn cancel(context: &Context, message: &[u8]) -> Failure {
    let mut backend = match connect_backend(context).await {
        Ok(backend) => backend,
        Err(failure) => return failure,
    };
    if let Err(error) = backend.send(message).await {
        return backend_failed(context, &error);
    }
    // The database answers nothing and closes when it has done what was asked.
    let mut nothing = Vec::new();
    let _ = backend.receive(&mut nothing).await;
    Failure::Done
}
