//! A client of MySQL that logs in again within its session.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    Failure, Opened, Phase,
    mysql::{backend_down, refused},
    reader::Reader,
    talk::{OnRejection, Talk},
};
use crate::{
    config::Address,
    protocol::mysql::{
        ErrorPacket,
        auth::{Exchange, Session, Then},
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

/// Carries a change of user, whose packet is what the client sends next.
pub async fn change_user(changing: Changing, relogin: Relogin) -> Result<Opened, Failure> {
    let patience = relogin.patience;
    let carried = timeout(patience, carry(changing, relogin)).await;
    carried.unwrap_or(Err(Failure::Late(patience, Phase::LetIn)))
}

async fn carry(changing: Changing, relogin: Relogin) -> Result<Opened, Failure> {
    let mut client = Reader::new(changing.client);
    let mut backend = Reader::new(changing.backend);
    let command = loop {
        match client.take().map_err(refused)? {
            Some(command) => break command,
            None => client.read().await.map_err(Failure::Client)?,
        }
    };
    let begun = Exchange::change_user(relogin.session, command.as_packet());
    let (mut exchange, mut first) = begun.map_err(refused)?;
    let sealed = first.to_server.len() != command.payload.len() + HEADER_LEN;
    if changing.passed > 0 && sealed && !first.to_server.is_empty() {
        // The database was told another length already.
        let reason = "a change of user that has to be sealed comes in pieces";
        let error = ErrorPacket::unsupported_login(reason);
        farewell(&mut client.leg, &exchange.fail(&error)).await;
        return Err(refused(reason));
    }
    if matches!(first.then, Then::Continue) {
        // The rest of a packet whose beginning went out before anybody knew what it was.
        first.to_server.drain(..changing.passed);
    }
    let talk = Talk {
        backend: &relogin.backend,
        on_rejection: OnRejection::GoOn,
    };
    let carried = talk.carry(&mut exchange, first, &mut client, &mut backend);
    if let Err(failure) = carried.await {
        if matches!(failure, Failure::Backend(_)) {
            farewell(&mut client.leg, &exchange.fail(&backend_down())).await;
        }
        return Err(failure);
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
