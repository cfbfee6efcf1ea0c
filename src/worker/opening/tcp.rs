//! Any TCP service: TLS from the first byte.

use super::{Context, Failure, Opened, accept_tls, connect, read_client, secure};
use crate::{
    config::TlsMode,
    protocol::TLS_HANDSHAKE,
    worker::{farewell::farewell, leg::Leg},
};

/// Opens a session.
pub(super) async fn open(context: &Context, mut client: Leg) -> Result<Opened, Failure> {
    match context.service.listener.tls.mode {
        TlsMode::Required => accept_tls(context, &mut client, Vec::new()).await?,
        TlsMode::Preferred => {
            let mut first = Vec::new();
            read_client(&mut client, &mut first).await?;
            if first.first() == Some(&TLS_HANDSHAKE) {
                accept_tls(context, &mut client, first).await?;
            } else {
                client.unread(&first);
            }
        }
    }
    let mut backend = match connect(context).await {
        Ok(backend) => backend,
        Err(failure) => return Err(leave(client, failure).await),
    };
    match secure(context, &mut backend).await {
        Ok(()) => Ok(Opened {
            client,
            backend,
            relogin: None,
        }),
        Err(failure) => Err(leave(client, failure).await),
    }
}

async fn leave(mut client: Leg, failure: Failure) -> Failure {
    farewell(&mut client, &[]).await;
    failure
}
