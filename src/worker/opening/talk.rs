//! The packets of a login of MySQL, carried until the database has decided.

use super::{Failure, failed_at, mysql::refused, reader::Reader};
use crate::{
    config::Address,
    protocol::mysql::auth::{Exchange, Step, Then},
    tls::seal,
    worker::farewell::farewell,
};

/// How a login is carried.
pub(super) struct Talk<'a> {
    /// Where the database is.
    pub(super) backend: &'a Address,
    /// What follows when the database says no.
    pub(super) on_rejection: OnRejection,
}

/// What follows when the database says no.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OnRejection {
    /// The connection ends, as it does after the first login.
    Close,
    /// The database decides.
    GoOn,
}

impl Talk<'_> {
    /// Carries packets until the login is decided.
    pub(super) async fn carry(
        &self,
        exchange: &mut Exchange,
        first: Step,
        client: &mut Reader,
        backend: &mut Reader,
    ) -> Result<(), Failure> {
        let mut step = first;
        while !self.apply(exchange, step, client, backend).await? {
            step = self.next(exchange, client, backend).await?;
        }
        Ok(())
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Failure {
        failed_at(self.backend, error)
    }

    /// Reads the next packet of either side and gives it to the exchange.
    async fn next(
        &self,
        exchange: &mut Exchange,
        client: &mut Reader,
        backend: &mut Reader,
    ) -> Result<Step, Failure> {
        loop {
            let taken = backend.take();
            if let Some(packet) = taken.map_err(|error| self.failed(&error))? {
                return exchange
                    .from_server(packet.as_packet())
                    .map_err(|error| self.failed(&error));
            }
            if let Some(packet) = client.take().map_err(refused)? {
                return exchange.from_client(packet.as_packet()).map_err(refused);
            }
            tokio::select! {
                read = backend.read() => read.map_err(|error| self.failed(&error))?,
                read = client.read() => read.map_err(Failure::Client)?,
            }
        }
    }

    /// Sends what a step asks for; returns whether the login is decided.
    async fn apply(
        &self,
        exchange: &mut Exchange,
        mut step: Step,
        client: &mut Reader,
        backend: &mut Reader,
    ) -> Result<bool, Failure> {
        loop {
            if !step.to_server.is_empty() {
                let sent = backend.leg.send(&step.to_server).await;
                sent.map_err(|error| self.failed(&error))?;
            }
            match step.then {
                Then::Refused(reason) => {
                    farewell(&mut client.leg, &step.to_client).await;
                    return Err(refused(reason));
                }
                Then::Rejected if self.on_rejection == OnRejection::Close => {
                    farewell(&mut client.leg, &step.to_client).await;
                    return Err(Failure::Done);
                }
                Then::Accepted | Then::Continue | Then::Encrypt(_) | Then::Rejected => {
                    let sent = client.leg.send(&step.to_client).await;
                    sent.map_err(Failure::Client)?;
                }
            }
            match step.then {
                Then::Encrypt(sealing) => {
                    let sealed = seal::seal(&sealing.key, &sealing.message)
                        .map_err(|error| self.failed(&error))?;
                    step = exchange.encrypted(&sealed).map_err(refused)?;
                }
                Then::Accepted | Then::Rejected => return Ok(true),
                _ => return Ok(false),
            }
        }
    }
}
