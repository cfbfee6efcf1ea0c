//! MySQL and MariaDB: the greeting, TLS, and the login up to the server's verdict.

mod connector;
mod pending_login;
mod reader;
mod talk;

use self::{
    connector::Greeted,
    pending_login::PendingLogin,
    reader::{Owned, Reader},
    talk::{Ending, Talk},
};
use std::sync::Arc;

use super::{
    Context, Deadline, Failure, Opened, Phase, Target, accept_tls, backend_failed, is_local, proxy,
    table::{Header, Opening},
};
use crate::{
    config::{Address, TlsMode},
    protocol::{
        mysql::{
            ErrorPacket,
            auth::{self, Exchange, Legs, Refusal, Then},
            command::CommandWatch,
            greeting::{Greeting, ServerFirst},
            login::{ClientFirst, Login},
            packet,
            second_login::SecondLogin,
        },
        watcher::Watcher,
    },
    session::{leg::Leg, lingering_close::lingering_close},
    worker::{
        backends::{BackendError, ProtocolError},
        connect::{self, connect},
        deadline::Late,
        places::NoPlace,
    },
};

/// Which part of the handshake timeout is left for leaving the database: servers have the same patience
/// by default, ten seconds (`connect_timeout`), and count a client that has said nothing by then.
const MARGIN: u32 = 10;

/// Opens sessions of MySQL and MariaDB.
pub(super) struct Mysql;

impl Opening for Mysql {
    async fn open(
        context: &Arc<Context>,
        deadline: Deadline,
        client: Leg,
    ) -> Result<Opened, Failure> {
        let deadline = deadline.sparing(MARGIN);
        let mut client = Reader::new(client);
        let header = proxy::header(context, client.leg.tls());
        let mut pending = match connect(context, deadline, &header, &Greeted).await {
            Ok((target, backend)) => PendingLogin::new(target, Reader::new(backend)),
            Err(failure) => {
                turn_away(&mut client.leg, &ErrorPacket::backend_failed()).await;
                return Err(failure.into());
            }
        };
        let greeting = greet(deadline, &mut client, &mut pending).await?;
        let logging_in = log_in(context, deadline, &mut client);
        let let_in = match deadline.in_time(Phase::Login, logging_in).await {
            Ok(login) => carry(deadline, &greeting, &login, &mut client, &mut pending).await,
            Err(ending) => Err(in_words(ending, &client)),
        };
        match let_in {
            Ok(watcher) => Ok(Opened {
                client: client.into_leg(),
                backend: pending.into_backend().into_leg(),
                watcher,
            }),
            Err(ending) => {
                // The database has a deadline of its own, and counts those who miss it.
                drop(pending);
                Err(ending.tell(&mut client).await)
            }
        }
    }

    /// Clients hear first, so nothing that they say need be read.
    async fn refuse(_: &Context, _: Deadline, mut client: Leg, refusal: NoPlace, _: Header) {
        let error = match refusal {
            NoPlace::Full => ErrorPacket::too_many_connections(),
            NoPlace::ClientFull => ErrorPacket::too_many_of_client(),
        };
        turn_away(&mut client, &error).await;
    }
}

/// Finds words for a client that was too slow to log in; inside of a handshake it can hear none.
fn in_words(ending: Ending, client: &Reader) -> Ending {
    match ending.failure {
        Failure::Late(Late {
            phase: Phase::ClientTls,
            ..
        }) => Ending::new(ending.failure, Vec::new()),
        Failure::Late(_) => client.refuse(&ErrorPacket::client_too_slow(), ending.failure),
        _ => ending,
    }
}

/// Says goodbye with an error in the place of the greeting.
async fn turn_away(client: &mut Leg, error: &ErrorPacket) {
    let mut words = Vec::new();
    error.write_instead_of_greeting(&mut words);
    lingering_close(client, &words).await;
}

/// Refuses what is no login.
fn no_login(client: &Reader, failure: Failure) -> Ending {
    client.refuse(&ErrorPacket::bad_handshake(), failure)
}

/// Passes the database's greeting on, with TLS offered.
async fn greet(
    deadline: Deadline,
    client: &mut Reader,
    pending: &mut PendingLogin,
) -> Result<Greeting, Failure> {
    let greeting = server_packet(pending.backend());
    let first = match deadline.in_time(Phase::Greeting, greeting).await {
        Ok(first) => first,
        Err(error) => {
            turn_away(&mut client.leg, &ErrorPacket::backend_failed()).await;
            return Err(backend_failed(pending.target(), error));
        }
    };
    let mut words = Vec::new();
    let error = match ServerFirst::parse(&first.payload) {
        Ok(ServerFirst::Greeting(greeting)) => {
            pending.greeted(&greeting);
            greeting.clone().with_ssl(true).write(&mut words);
            client.leg.send(&words).await.map_err(Failure::Client)?;
            return Ok(greeting);
        }
        Ok(ServerFirst::Error(error)) => {
            packet::write(first.seq, &first.payload, &mut words);
            BackendError::RefusedFor(error.into())
        }
        Err(error) => {
            ErrorPacket::backend_failed().write_instead_of_greeting(&mut words);
            BackendError::violation(error)
        }
    };
    pending.is_over();
    lingering_close(&mut client.leg, &words).await;
    Err(backend_failed(pending.target(), error))
}

async fn server_packet(backend: &mut Reader) -> Result<Owned, BackendError> {
    loop {
        if let Some(packet) = backend.take().map_err(BackendError::violation)? {
            return Ok(packet);
        }
        backend.read().await?;
    }
}

async fn client_packet(context: &Context, client: &mut Reader) -> Result<Owned, Ending> {
    loop {
        match client.take() {
            Ok(Some(packet)) => return Ok(packet),
            Ok(None) => {}
            Err(error) => {
                let refusal = proxy::explain(context, &client.bytes);
                let failure = refusal.map_or_else(|| refused(error), Failure::Refused);
                return Err(no_login(client, failure));
            }
        }
        super::read_client(&mut client.leg, &mut client.bytes).await?;
    }
}

/// Reads the client's login, after TLS if it asks for that.
async fn log_in(
    context: &Context,
    deadline: Deadline,
    client: &mut Reader,
) -> Result<Owned, Ending> {
    let first = client_packet(context, client).await?;
    match ClientFirst::parse(&first.payload) {
        Ok(ClientFirst::SslRequest) => {
            // A client does not wait for an answer: TLS may have begun in what was read already.
            let begun = std::mem::take(&mut *client.bytes);
            accept_tls(context, deadline, &mut client.leg, begun).await?;
            client_packet(context, client).await
        }
        Ok(ClientFirst::Login(_)) if context.service.listener.tls.mode == TlsMode::Required => {
            let error = ErrorPacket::tls_required();
            Err(client.refuse(&error, Failure::NoTls))
        }
        Ok(ClientFirst::Login(_)) => Ok(first),
        Err(error) => Err(no_login(client, refused(error))),
    }
}

/// Carries the login to the database, and packets between the two until it is decided.
async fn carry(
    deadline: Deadline,
    greeting: &Greeting,
    login: &Owned,
    client: &mut Reader,
    pending: &mut PendingLogin,
) -> Result<Watcher, Ending> {
    let parsed = match Login::parse(&login.payload) {
        Ok(parsed) => parsed,
        Err(error) => return Err(no_login(client, refused(error))),
    };
    let context = Arc::clone(&pending.target().context);
    context.session.logs_in(parsed.user_name());
    if let Err(error) = pending.begin_tls(deadline, greeting, &parsed).await {
        let failure = backend_failed(pending.target(), error);
        return Err(client.refuse(&ErrorPacket::backend_failed(), failure));
    }
    let address = pending.target().address().clone();
    let legs = Legs {
        client: kind(client, None),
        server: kind(pending.backend(), Some(&address)),
        clear_allowed: context.service.listener.allow_cleartext_password,
    };
    let hidden = hides_commands(&parsed, greeting);
    if hidden && !legs.let_passwords_through() {
        let refusal = Refusal::Compression;
        return Err(client.refuse(&refusal.packet(), refused(refusal)));
    }
    let begun = Exchange::begin(greeting, login.as_packet(), legs);
    let (exchange, first) = match begun {
        Ok(begun) => begun,
        Err(error) => return Err(client.refuse(&error.packet(), refused(error))),
    };
    if let Then::Refused(reason) = first.then {
        // The database has not heard of it.
        return Err(Ending::new(refused(reason), first.to_client));
    }
    let (backend, exchange) = pending.begun(exchange);
    let talk = Talk {
        backend: &address,
        deadline,
    };
    talk.carry(exchange, first, client, backend).await?;
    let needs_no_care = hidden || legs.are_alike() && legs.let_passwords_through();
    Ok(if needs_no_care {
        Watcher::None
    } else {
        let limit = context.limits().handshake_timeout;
        let second_login = SecondLogin::new(exchange.session(), limit);
        Watcher::SecondLogin(Box::new(second_login))
    })
}

/// Whether both sides can compress, and so will.
fn hides_commands(login: &Login<'_>, greeting: &Greeting) -> bool {
    [login.capabilities(), greeting.capabilities()]
        .into_iter()
        .all(|capabilities| !CommandWatch::can_watch(capabilities))
}

fn refused(error: impl Into<ProtocolError>) -> Failure {
    Failure::refused(error)
}

/// Begins TLS with a database that waits for a login; nothing if its leg has none.
async fn begin_tls(
    target: &mut Target,
    deadline: Deadline,
    greeting: &Greeting,
    login: &Login<'_>,
    backend: &mut Reader,
) -> Result<(), BackendError> {
    if !target.has_tls() {
        return Ok(());
    }
    let beginning = ask_for_tls(target, greeting, login, backend);
    let begun = deadline.in_time(Phase::BackendTls, beginning).await;
    target.note(deadline, begun.as_ref().map(|()| backend.leg.tls()));
    begun
}

async fn ask_for_tls(
    target: &Target,
    greeting: &Greeting,
    login: &Login<'_>,
    backend: &mut Reader,
) -> Result<(), BackendError> {
    if !greeting.has_tls() {
        let remedy = "set up its certificate";
        return Err(BackendError::NoTls { remedy });
    }
    if !backend.bytes.is_empty() {
        return Err(BackendError::UnencryptedData);
    }
    let mut request = Vec::new();
    login.write_ssl_request(1, &mut request);
    backend.leg.send(&request).await?;
    connect::begin_tls(target, &mut backend.leg).await
}

/// Returns how far a leg hides what it carries.
fn kind(reader: &Reader, address: Option<&Address>) -> auth::Leg {
    match (reader.leg.tls(), address) {
        (Some(_), _) => auth::Leg::Tls,
        (None, Some(Address::Unix(_))) => auth::Leg::Unix,
        (None, Some(address)) if is_local(address) => auth::Leg::Loopback,
        (None, None) if reader.leg.socket().addresses().is_none() => auth::Leg::Unix,
        (None, _) => auth::Leg::Network,
    }
}
