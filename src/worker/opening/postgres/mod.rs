//! PostgreSQL: requests for encryption, then the start of a session or the cancelling of a query.

mod cancel;
mod connector;
mod login;

use self::{connector::Startup, login::Stop};
use std::sync::Arc;

use super::{
    Context, Deadline, Failure, Opened, Phase, Target, accept_tls, backend_failed, close_if_late,
    proxy, read_client,
    table::{Header, Opening},
};
use crate::{
    config::TlsMode,
    protocol::{
        postgres::{
            ALPN, ErrorResponse, Negotiation, Next,
            negotiation::{ACCEPT, DECLINE, NegotiationError},
            opening::startup_user,
        },
        watcher::Watcher,
    },
    session::{leg::Leg, lingering_close::lingering_close},
    worker::{
        connect::{connect, connect_one},
        places::NoPlace,
    },
};

/// What a client came for.
enum Wish {
    /// To have a query of another session cancelled by this message.
    Cancel(Vec<u8>),
    /// A session that begins with these bytes, of a message of this length.
    Session(Vec<u8>, usize),
}

/// Opens sessions of PostgreSQL.
pub(super) struct Postgres;

impl Opening for Postgres {
    async fn open(
        context: &Arc<Context>,
        deadline: Deadline,
        mut client: Leg,
    ) -> Result<Opened, Failure> {
        let negotiating = negotiate(context, deadline, &mut client);
        let wish = match deadline.in_time(Phase::Request, negotiating).await {
            Ok(wish) => wish,
            Err(failure) => return Err(close_if_late(&mut client, failure).await),
        };
        match wish {
            Wish::Cancel(message) => {
                let failure = cancel::cancel(context, deadline, &client, message).await;
                // What a client waits for is the end of the connection, which TLS must confirm: libpq
                // calls an end without `close_notify` a failure.
                lingering_close(&mut client, &[]).await;
                Err(failure)
            }
            Wish::Session(first, length) => session(context, deadline, client, first, length).await,
        }
    }

    /// Clients speak first, so what they say is read before they are told.
    async fn refuse(
        context: &Context,
        deadline: Deadline,
        mut client: Leg,
        refusal: NoPlace,
        header: Header,
    ) {
        let accepted = match header {
            Header::Read => Ok(None),
            Header::Unread => proxy::accept(context, deadline, &mut client).await,
        };
        match accepted {
            Ok(_) => refuse(context, deadline, client, refusal).await,
            Err(failure) => drop(close_if_late(&mut client, failure).await),
        }
    }

    async fn probe(mut target: Target, deadline: Deadline) {
        let header = proxy::header(&target.context, None);
        let connecting = connect_one(&mut target, deadline, &header, &Startup::Nothing, true);
        if let Ok(mut backend) = connecting.await {
            lingering_close(&mut backend, &[]).await;
        }
    }
}

/// Opens a session that begins with these bytes, of a message of this length.
async fn session(
    context: &Arc<Context>,
    deadline: Deadline,
    mut client: Leg,
    first: Vec<u8>,
    length: usize,
) -> Result<Opened, Failure> {
    let begun = begin(context, deadline, &mut client, first, length).await;
    match &begun {
        Err(Failure::Backend(_)) => tell(&mut client, &backend_down()).await,
        Err(Failure::Late(_)) => tell(&mut client, &ErrorResponse::login_too_slow()).await,
        _ => {}
    }
    Ok(Opened {
        client,
        backend: begun?,
        watcher: Watcher::None,
    })
}

/// Begins a session of whose start-up message, so long, this has come.
async fn begin(
    context: &Arc<Context>,
    deadline: Deadline,
    client: &mut Leg,
    first: Vec<u8>,
    length: usize,
) -> Result<Leg, Failure> {
    let (startup, behind) = first.split_at(first.len().min(length));
    client.unread(behind);
    if let Some(user) = startup_user(startup) {
        context.session.logs_in(user);
    }
    let missing = length - startup.len();
    let words = match missing {
        0 => Startup::Whole(startup),
        _ => Startup::Part(startup),
    };
    let header = proxy::header(context, client.tls());
    let (mut target, mut backend) = connect(context, deadline, &header, &words).await?;
    let rules = login::rules(&target, client, &backend);
    let legs = (client, &mut backend);
    match login::log_in(context, deadline, rules, legs, startup, missing).await {
        Ok(()) => {
            target.note(deadline, Ok(backend.tls()));
            Ok(backend)
        }
        Err(Stop::Backend(error)) => {
            target.note(deadline, Err(&error));
            Err(backend_failed(&target, error))
        }
        Err(Stop::Client(failure)) => Err(failure),
    }
}

fn backend_down() -> ErrorResponse {
    ErrorResponse::backend_down("proxyd cannot reach the database; its log says why")
}

/// Tells a client that there is no place for it, inside TLS if it asks for that: libpq does not show
/// an error that came in the clear in the place of the answer.
async fn refuse(context: &Context, deadline: Deadline, mut client: Leg, refusal: NoPlace) {
    let error = match refusal {
        NoPlace::Full => ErrorResponse::too_many_connections(),
        NoPlace::ClientFull => ErrorResponse::too_many_of_client(),
    };
    let negotiating = negotiate(context, deadline, &mut client);
    match deadline.in_time(Phase::Request, negotiating).await {
        Ok(Wish::Session(..)) => tell(&mut client, &error).await,
        Ok(Wish::Cancel(_)) => lingering_close(&mut client, &[]).await,
        Err(failure) => {
            close_if_late(&mut client, failure).await;
        }
    }
}

async fn tell(client: &mut Leg, error: &ErrorResponse) {
    let mut words = Vec::new();
    error.write(&mut words);
    lingering_close(client, &words).await;
}

/// Answers requests for encryption until the client says what it came for.
async fn negotiate(
    context: &Context,
    deadline: Deadline,
    client: &mut Leg,
) -> Result<Wish, Failure> {
    let mut negotiation = Negotiation::default();
    let mut buffer = Vec::new();
    loop {
        let next = match negotiation.next(&buffer) {
            Ok(next) => next,
            Err(error) => {
                tell(
                    client,
                    &ErrorResponse::protocol_violation(error.to_string()),
                )
                .await;
                return Err(Failure::refused(error));
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
                accept_tls(context, deadline, client, Vec::new()).await?;
            }
            Next::DirectTls => {
                accept_tls(context, deadline, client, std::mem::take(&mut buffer)).await?;
                demand_alpn(client).await?;
            }
            Next::Cancel(message) => return Ok(Wish::Cancel(message)),
            Next::Startup(startup) => {
                demand_tls(context, client, negotiation.is_encrypted()).await?;
                return Ok(Wish::Session(buffer, startup.length as usize));
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
    let error = NegotiationError::NoAlpn;
    tell(
        client,
        &ErrorResponse::protocol_violation(error.to_string()),
    )
    .await;
    Err(Failure::refused(error))
}

async fn demand_tls(context: &Context, client: &mut Leg, encrypted: bool) -> Result<(), Failure> {
    if encrypted || context.service.listener.tls.mode == TlsMode::Preferred {
        return Ok(());
    }
    tell(client, &ErrorResponse::tls_required()).await;
    Err(Failure::NoTls)
}
