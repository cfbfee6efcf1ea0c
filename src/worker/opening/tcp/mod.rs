//! Any TCP service: TLS from the first byte.

use super::{Context, Failure, Opened, accept_tls, in_time, proxy, read_client};
#[cfg(feature = "orders")]
use crate::worker::orders;
use crate::{
    config::TlsMode,
    protocol::TLS_HANDSHAKE,
    session::{farewell::farewell, leg::Leg},
    worker::{
        backends::BackendError,
        connect::{Connector, begin_tls, connect},
        deadline::Phase,
    },
};

/// TLS if the leg has it; else a connection is all that can be had.
struct Secured;

impl Connector for Secured {
    async fn prepare(&self, context: &Context, backend: &mut Leg) -> Result<(), BackendError> {
        begin_tls(context, backend).await
    }

    fn is_proof(&self, _: &Context) -> bool {
        true
    }

    fn awaited(&self, _: &Context, _: &Leg) -> Phase {
        Phase::BackendTls
    }
}

/// Opens a session.
pub(super) async fn open(context: &mut Context, mut client: Leg) -> Result<Opened, Failure> {
    match context.service.listener.tls.mode {
        TlsMode::Required => accept_tls(context, &mut client, Vec::new()).await?,
        TlsMode::Preferred => {
            let mut first = Vec::new();
            let reading = read_client(&mut client, &mut first);
            in_time(context, Phase::Request, reading).await?;
            #[cfg(feature = "orders")]
            if let Some(first) = first.strip_prefix(orders::GREETING) {
                return Err(orders::obey(&mut client, first).await);
            }
            if first.first() == Some(&TLS_HANDSHAKE) {
                accept_tls(context, &mut client, first).await?;
            } else {
                client.unread(&first);
            }
        }
    }
    let header = proxy::header(context, client.tls());
    match connect(context, &header, &Secured).await {
        Ok(backend) => Ok(Opened {
            client,
            backend,
            relogin: None,
        }),
        Err(failure) => {
            farewell(&mut client, &[]).await;
            Err(failure.into())
        }
    }
}
