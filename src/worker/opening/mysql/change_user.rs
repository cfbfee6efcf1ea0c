//! A client of MySQL that logs in again within its session.

use std::time::Duration;

use tokio::time::timeout_at;

use super::{
    reader::{Owned, Reader},
    refused,
    talk::{Decision, Ending, OnRejection, Talk},
};
use crate::{
    config::Address,
    protocol::mysql::{
        ErrorPacket,
        auth::{Exchange, Session, Step, Then},
        command::changed_user,
        packet::HEADER_LEN,
    },
    session::{live::LiveSession, relay::Changing},
    worker::{
        deadline::{Deadline, Phase},
        opening::{Failure, Opened},
    },
};

/// What is needed when the client logs in again.
#[derive(Clone, Debug)]
pub struct Relogin {
    /// What the last login left.
    pub session: Session,
    /// Where the database is.
    pub backend: Address,
    /// How long it may take.
    pub patience: Duration,
}

/// Carries a change of user, whose packet is what the client sends next, and notes the user if the
/// database agrees. If that comes to nothing, the client has been told why.
pub async fn change_user(
    changing: Changing,
    relogin: Relogin,
    session: &LiveSession,
) -> Result<Opened, Failure> {
    let mut client = Reader::new(changing.client);
    let mut backend = Reader::new(changing.backend);
    let carried = if changing.out_of_turn {
        // The next answer of the database would be taken for its verdict.
        let reason = "the client did not wait for the answer to its last command";
        Err(client.refuse(&ErrorPacket::out_of_order(), refused(reason)))
    } else {
        let legs = (&mut client, &mut backend);
        carry(legs, &relogin, changing.passed, session).await
    };
    match carried {
        Ok(session) => Ok(Opened {
            client: client.into_leg(),
            backend: backend.into_leg(),
            relogin: Some(Relogin { session, ..relogin }),
        }),
        Err(ending) => Err(ending.tell(&mut client).await),
    }
}

/// Carries one of which so many bytes have gone to the database before anybody knew what it was; returns
/// what it leaves for the next.
async fn carry(
    (client, backend): (&mut Reader, &mut Reader),
    relogin: &Relogin,
    passed: usize,
    session: &LiveSession,
) -> Result<Session, Ending> {
    let deadline = Deadline::after(relogin.patience);
    let Ok(command) = timeout_at(deadline.at(), read(client)).await else {
        let failure = deadline.late(Phase::LetIn).into();
        return Err(client.refuse(&ErrorPacket::client_too_slow(), failure));
    };
    let command = command?;
    let (mut exchange, first) = begin(client, relogin.session, &command, passed)?;
    let talk = Talk {
        backend: &relogin.backend,
        on_rejection: OnRejection::GoOn,
        deadline,
    };
    let decision = talk.carry(&mut exchange, first, client, backend).await?;
    if decision == Decision::Accepted
        && let Some(user) = changed_user(&command.payload)
    {
        session.logs_in(user);
    }
    Ok(exchange.session())
}

async fn read(client: &mut Reader) -> Result<Owned, Ending> {
    loop {
        match client.take() {
            Ok(Some(command)) => return Ok(command),
            Ok(None) => client.read().await.map_err(Failure::Client)?,
            Err(error) => {
                return Err(client.refuse(&ErrorPacket::packet_too_large(), refused(error)));
            }
        }
    }
}

fn begin(
    client: &Reader,
    session: Session,
    command: &Owned,
    passed: usize,
) -> Result<(Exchange, Step), Ending> {
    let begun = Exchange::change_user(session, command.as_packet());
    let (exchange, mut first) =
        begun.map_err(|error| client.refuse(&error.packet(), refused(error)))?;
    if !matches!(first.then, Then::Continue) {
        return Ok((exchange, first));
    }
    let sealed = first.to_server.len() != command.payload.len() + HEADER_LEN;
    if sealed && passed > 0 {
        // The database was told another length already.
        let reason = "a change of user that has to be sealed comes in pieces";
        let error = ErrorPacket::unsupported_login(reason);
        return Err(client.refuse(&error, refused(reason)));
    }
    first.to_server.drain(..passed);
    Ok((exchange, first))
}
