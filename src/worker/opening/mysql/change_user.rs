//! A client of MySQL that logs in again within its session.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{
    super::{Failure, Opened, Phase},
    reader::{Owned, Reader},
    refused,
    talk::{OnRejection, Talk},
};
use crate::{
    config::Address,
    protocol::mysql::{
        ErrorPacket,
        auth::{Exchange, Session, Step, Then},
        packet::HEADER_LEN,
    },
    worker::{farewell::farewell, relay::Changing},
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

/// Carries a change of user, whose packet is what the client sends next. If that comes to nothing, the
/// client has been told why.
pub async fn change_user(changing: Changing, relogin: Relogin) -> Result<Opened, Failure> {
    let mut client = Reader::new(changing.client);
    if changing.out_of_turn {
        // The next answer of the database would be taken for its verdict.
        tell(&mut client, &ErrorPacket::out_of_order()).await;
        let reason = "the client did not wait for the answer to its last command";
        return Err(refused(reason));
    }
    let mut backend = Reader::new(changing.backend);
    let limit = relogin.patience;
    let deadline = Instant::now() + limit;
    let Ok(command) = timeout_at(deadline, read(&mut client)).await else {
        tell(&mut client, &ErrorPacket::client_too_slow()).await;
        return Err(Failure::Late(limit, Phase::LetIn));
    };
    let command = command?;
    let begun = begin(relogin.session, &command, changing.passed);
    let (mut exchange, first) = match begun {
        Ok(begun) => begun,
        Err((error, reason)) => {
            tell(&mut client, &error).await;
            return Err(refused(reason));
        }
    };
    let talk = Talk {
        backend: &relogin.backend,
        on_rejection: OnRejection::GoOn,
        deadline,
        limit,
    };
    let carried = talk.carry(&mut exchange, first, &mut client, &mut backend);
    if let Err(ending) = carried.await {
        if let Some(words) = ending.words {
            farewell(&mut client.leg, &words).await;
        }
        return Err(ending.failure);
    }
    Ok(Opened {
        client: client.into_leg(),
        backend: backend.into_leg(),
        relogin: Some(Relogin {
            session: exchange.session(),
            ..relogin
        }),
    })
}

async fn read(client: &mut Reader) -> Result<Owned, Failure> {
    loop {
        match client.take() {
            Ok(Some(command)) => return Ok(command),
            Ok(None) => client.read().await.map_err(Failure::Client)?,
            Err(error) => {
                tell(client, &ErrorPacket::packet_too_large()).await;
                return Err(refused(error));
            }
        }
    }
}

/// Begins the login with a command of which so many bytes have gone to the database before anybody
/// knew what it was.
fn begin(
    session: Session,
    command: &Owned,
    passed: usize,
) -> Result<(Exchange, Step), (ErrorPacket, String)> {
    let begun = Exchange::change_user(session, command.as_packet());
    let (exchange, mut first) = begun.map_err(|error| (error.packet(), error.to_string()))?;
    if !matches!(first.then, Then::Continue) {
        return Ok((exchange, first));
    }
    let sealed = first.to_server.len() != command.payload.len() + HEADER_LEN;
    if sealed && passed > 0 {
        // The database was told another length already.
        let reason = "a change of user that has to be sealed comes in pieces";
        return Err((ErrorPacket::unsupported_login(reason), reason.to_owned()));
    }
    first.to_server.drain(..passed);
    Ok((exchange, first))
}

/// Says goodbye with an error in answer to the command.
async fn tell(client: &mut Reader, error: &ErrorPacket) {
    let mut words = Vec::new();
    // A command is the first packet of its exchange.
    error.write(1, &mut words);
    farewell(&mut client.leg, &words).await;
}
