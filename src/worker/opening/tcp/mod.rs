//! Any TCP service: TLS from the first byte.

use std::sync::Arc;

use super::{
    Context, Deadline, Failure, Opened, Phase, accept_tls, proxy, read_client, table::Opening,
};
#[cfg(feature = "orders")]
use crate::worker::orders;
use crate::{
    config::TlsMode,
    protocol::{TLS_HANDSHAKE, watcher::Watcher},
    session::{leg::Leg, lingering_close::lingering_close},
    worker::{
        backends::BackendError,
        connect::{Connector, Target, begin_tls, connect},
    },
};

/// TLS if the leg has it; else a connection is all that can be had.
struct Secured;

impl Connector for Secured {
    async fn prepare(&self, target: &Target, backend: &mut Leg) -> Result<(), BackendError> {
        begin_tls(target, backend).await
    }

    fn is_proof(&self, _: &Target) -> bool {
        true
    }

    fn awaited(&self, _: &Target, _: &Leg) -> Phase {
        Phase::BackendTls
    }
}

/// Opens sessions of any TCP service.
pub(super) struct Tcp;

impl Opening for Tcp {
    async fn open(
        context: &Arc<Context>,
        deadline: Deadline,
        mut client: Leg,
    ) -> Result<Opened, Failure> {
        match context.service.listener.tls.mode {
            TlsMode::Required => accept_tls(context, deadline, &mut client, Vec::new()).await?,
            TlsMode::Preferred => {
                let mut first = Vec::new();
                let reading = read_client(&mut client, &mut first);
                deadline.in_time(Phase::Request, reading).await?;
                #[cfg(feature = "orders")]
                if let Some(first) = first.strip_prefix(orders::GREETING) {
                    return Err(orders::obey(&mut client, first).await);
                }
                if first.first() == Some(&TLS_HANDSHAKE) {
                    accept_tls(context, deadline, &mut client, first).await?;
                } else {
                    client.unread(&first);
                }
            }
        }
        let header = proxy::header(context, client.tls());
        match connect(context, deadline, &header, &Secured).await {
            Ok((_, backend)) => Ok(Opened {
                client,
                backend,
                watcher: Watcher::None,
            }),
            Err(failure) => {
                lingering_close(&mut client, &[]).await;
                Err(failure.into())
            }
        }
    }
}
