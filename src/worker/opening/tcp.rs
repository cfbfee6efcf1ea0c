//! Any TCP service: TLS from the first byte.

use super::{
    Context, Failure, Opened, Phase, accept_tls, in_time,
    reach::{First, reach},
    read_client,
};
use crate::{
    config::TlsMode,
    protocol::TLS_HANDSHAKE,
    worker::{farewell::farewell, leg::Leg},
};

/// Opens a session.
pub(super) async fn open(context: &mut Context, mut client: Leg) -> Result<Opened, Failure> {
    match context.service.listener.tls.mode {
        TlsMode::Required => accept_tls(context, &mut client, Vec::new()).await?,
        TlsMode::Preferred => {
            let mut first = Vec::new();
            let reading = read_client(&mut client, &mut first);
            in_time(context, Phase::Request, reading).await?;
            if first.first() == Some(&TLS_HANDSHAKE) {
                accept_tls(context, &mut client, first).await?;
            } else {
                client.unread(&first);
            }
        }
    }
    match reach(context, &client, First::Nothing).await {
        Ok(backend) => Ok(Opened {
            client,
            backend,
            relogin: None,
        }),
        Err(failure) => {
            farewell(&mut client, &[]).await;
            Err(failure)
        }
    }
}
