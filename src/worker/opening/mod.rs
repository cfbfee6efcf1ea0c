//! From a connected client to two legs that only need to be relayed.
//!
//! One module a protocol drives the pure parsers of [`crate::protocol`] over the legs; this one
//! holds what they share.

mod context;
mod mysql;
mod patience;
mod postgres;
mod proxy;
mod tcp;

use std::{net::IpAddr, time::Duration};

use tokio::time::{Instant, timeout_at};

use self::patience::{in_time, late, part};
pub use self::{
    context::Context,
    mysql::change_user::{Relogin, change_user},
    patience::{Phase, passed},
    postgres::probe,
    proxy::is_balancer,
};
use super::places::NoPlace;
use crate::{
    config::Address,
    facts::{EndReason, FailureReason},
    protocol::Protocol,
    session::{
        ending::SessionEnd,
        farewell::{farewell, is_silence},
        leg::{Leg, LegError},
        stop::StopReason,
    },
    tls::{RefusedCertificate, stream::TlsError},
};

/// How long a failed opening may take to tell the client, and how long refusing a client may take if
/// there is no place for it.
pub const LAST_WORDS: Duration = Duration::from_secs(2);

/// Two legs to be relayed.
#[derive(Debug)]
pub struct Opened {
    /// The client's.
    pub client: Leg,
    /// The backend's.
    pub backend: Leg,
    /// What is needed when the client logs in again; `None` where that needs no care.
    pub relogin: Option<Relogin>,
}

/// Why a session came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The backend.
    #[error("backend: {0}")]
    Backend(String),
    /// The client's connection or its TLS.
    #[error("client: {0}")]
    Client(LegError),
    /// There was nothing to relay: a request to cancel a query was passed on.
    #[error("a request to cancel a query was passed on")]
    Cancelled,
    /// The database refused the login, and the client has heard so.
    #[error("the database refused the login")]
    Denied,
    /// The client has as many sessions as the listener lets one have.
    #[error("the client has as many sessions as `per_client` allows")]
    ClientFull,
    /// The listener has as many sessions as it may.
    #[error("the listener has as many sessions as `max_connections` allows")]
    Full,
    /// The client does not use TLS where it must, and was told so.
    #[error("refused: the client does not use TLS")]
    NoTls,
    /// The client left when it was asked to prove who it is.
    #[error("the client left when it was asked to prove who it is")]
    LeftLogin,
    /// It was told to stop.
    #[error("{}", stopped(.0))]
    Stopped(StopReason),
    /// It took too long.
    #[error("the handshake timeout of {} s passed while waiting for {}", .0.as_secs_f64(), .1)]
    Late(Duration, Phase),
    /// The client asked for something that it cannot have, and was told so.
    #[error("refused: {0}")]
    Refused(String),
    /// The client said nothing and left.
    #[error("the client left without a word")]
    Silent,
}

impl Failure {
    /// Returns the reason by which it is counted.
    pub fn reason(&self) -> EndReason {
        match self {
            Self::Backend(_) => EndReason::BackendFailed,
            Self::Cancelled => EndReason::Cancel,
            Self::Denied => EndReason::LoginDenied,
            Self::Stopped(reason) => reason.reason(),
            Self::ClientFull => EndReason::ClientFull,
            Self::Full => EndReason::Full,
            Self::LeftLogin => EndReason::LoginLeft,
            Self::Silent => EndReason::Silent,
            Self::Client(_) | Self::Late(..) | Self::NoTls | Self::Refused(_) => {
                EndReason::Refused(self.refusal())
            }
        }
    }

    /// Returns why the client was not let in, if that is what became of it.
    fn refusal(&self) -> FailureReason {
        match self {
            Self::Client(LegError::Tls(error)) => error.reason(),
            Self::Client(LegError::Io(_) | LegError::Ended) => FailureReason::ClientLeft,
            Self::Late(..) => FailureReason::Timeout,
            Self::NoTls => FailureReason::NoTls,
            _ => FailureReason::Protocol,
        }
    }

    /// Returns the certificate of a client that was refused for it.
    pub fn certificate(&self) -> Option<&RefusedCertificate> {
        match self {
            Self::Client(LegError::Tls(TlsError::Certificate { certificate, .. })) => {
                Some(certificate)
            }
            _ => None,
        }
    }
}

impl From<Failure> for SessionEnd {
    fn from(failure: Failure) -> Self {
        match &failure {
            Failure::Stopped(reason) => Self::stopped(reason, failure.to_string()),
            _ => {
                let end = Self::new(failure.reason(), failure.to_string());
                end.refused_for(failure.certificate())
            }
        }
    }
}

/// Says why a session was told to stop before it had begun.
fn stopped(reason: &StopReason) -> &'static str {
    match reason {
        StopReason::Drained => "it had not begun when the drain timeout was over",
        StopReason::EndedBy(_) => "an operator ended it with `proxyctl end` before it had begun",
    }
}

impl From<NoPlace> for Failure {
    fn from(refusal: NoPlace) -> Self {
        match refusal {
            NoPlace::Full => Self::Full,
            NoPlace::ClientFull => Self::ClientFull,
        }
    }
}

/// Opens a session.
pub async fn open(context: &mut Context, mut client: Leg) -> Result<Opened, Failure> {
    let named = proxy::accept(context, &mut client).await?;
    if let (Some(named), Some(place)) = (named, &context.place) {
        let taken = place.take_client(named.ip(), &context.service.listener.limits);
        if let Err(refusal) = taken {
            return Err(turn_away(context, client, refusal, Header::Read).await);
        }
    }
    match context.service.listener.protocol {
        Protocol::Mysql => mysql::open(context, client).await,
        Protocol::Postgres => postgres::open(context, client).await,
        Protocol::Tcp => tcp::open(context, client).await,
    }
}

/// Whether a load balancer's header was read, where one must come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Read,
    Unread,
}

/// Tells a client that has just connected, in its own protocol, that there is no place for it, as far
/// as it lets itself be told in time.
pub async fn refuse(context: &mut Context, client: Leg, refusal: NoPlace) -> Failure {
    turn_away(context, client, refusal, Header::Unread).await
}

async fn turn_away(
    context: &mut Context,
    mut client: Leg,
    refusal: NoPlace,
    header: Header,
) -> Failure {
    let Some(_telling) = context.service.places.tell() else {
        return refusal.into();
    };
    context.deadline = context.deadline.min(Instant::now() + LAST_WORDS);
    match context.service.listener.protocol {
        // Its clients hear first, so nothing that they say need be read.
        Protocol::Mysql => mysql::refuse(client, refusal).await,
        Protocol::Postgres => {
            let accepted = match header {
                Header::Read => Ok(None),
                Header::Unread => proxy::accept(context, &mut client).await,
            };
            match accepted {
                Ok(_) => postgres::refuse(context, client, refusal).await,
                Err(failure) => drop(part(&mut client, failure).await),
            }
        }
        Protocol::Tcp => {}
    }
    refusal.into()
}

/// Reads more from a client whose opening is in `buffer`.
async fn read_client(client: &mut Leg, buffer: &mut Vec<u8>) -> Result<(), Failure> {
    client.receive(buffer).await.map_err(|error| {
        if is_silence(&error, buffer.len()) {
            Failure::Silent
        } else {
            Failure::Client(error)
        }
    })
}

/// Ends TLS with a client that has sent `first` of it already.
async fn accept_tls(context: &Context, client: &mut Leg, first: Vec<u8>) -> Result<(), Failure> {
    let nothing_yet = first.is_empty();
    let accepting = client.accept_tls(first, |first| context.accept_tls(first));
    let accepted = timeout_at(context.deadline, accepting).await;
    client.tls().inspect(|tls| context.session.note_tls(tls));
    let Ok(accepted) = accepted else {
        return Err(late(context, Phase::ClientTls));
    };
    match accepted {
        Ok(()) => Ok(()),
        Err(error) if nothing_yet && !client.has_spoken() && is_silence(&error, 0) => {
            Err(Failure::Silent)
        }
        Err(error) => {
            if matches!(error, LegError::Tls(_)) {
                client.give_up_tls();
                farewell(client, &[]).await;
            }
            Err(Failure::Client(error))
        }
    }
}

fn backend_failed(context: &Context, error: &dyn std::fmt::Display) -> Failure {
    failed_at(context.backend(), error)
}

fn failed_at(backend: &Address, error: &dyn std::fmt::Display) -> Failure {
    Failure::Backend(format!("{backend}: {error}"))
}

/// Whether plaintext to `address` stays within this machine.
fn is_local(address: &Address) -> bool {
    match address {
        Address::Unix(_) => true,
        Address::Tcp { host, .. } => {
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn lost() -> LegError {
        io::Error::from(io::ErrorKind::ConnectionReset).into()
    }

    #[test]
    fn a_client_that_was_not_let_in_has_the_reason_of_that() {
        let late = Failure::Late(Duration::ZERO, Phase::Login);
        for (failure, reason) in [
            (late, FailureReason::Timeout),
            (Failure::NoTls, FailureReason::NoTls),
            (Failure::Client(lost()), FailureReason::ClientLeft),
            (
                Failure::Client(TlsError::NotTls.into()),
                FailureReason::NotTls,
            ),
            (Failure::Refused(String::new()), FailureReason::Protocol),
        ] {
            let end = SessionEnd::from(failure);
            assert_eq!(end.reason(), EndReason::Refused(reason));
        }
        let down = SessionEnd::from(Failure::Backend("down".to_owned()));
        assert_eq!(down.reason(), EndReason::BackendFailed);
        assert!(down.reason().is_failure() && !down.reason().is_ordinary());
    }
}
