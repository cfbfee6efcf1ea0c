//! PROXY protocol headers, from clients' load balancers and to backends.

use super::{Context, Failure, read_client};
use crate::{
    config::ProxyHeaderVersion,
    protocol::proxy_header::{self, Found, Header, v1, v2},
    worker::leg::Leg,
};

/// Takes the header that a client must begin with, and notes whom it speaks for.
pub(super) async fn accept(context: &mut Context, client: &mut Leg) -> Result<(), Failure> {
    let mut buffer = Vec::new();
    loop {
        read_client(client, &mut buffer).await?;
        let found = proxy_header::parse(&buffer)
            .map_err(|error| Failure::Refused(format!("PROXY header: {error}")))?;
        match found {
            Found::NeedMore => {}
            Found::Nothing => {
                return Err(Failure::Refused(
                    "the client does not begin with a PROXY header".to_owned(),
                ));
            }
            Found::Header(header, length) => {
                if let Header::Proxied { endpoints, .. } = header {
                    context.endpoints = Some(endpoints);
                }
                client.unread(&buffer[length..]);
                return Ok(());
            }
        }
    }
}

/// Returns the header to send to the backend; nothing if the listener sends none.
pub(super) fn header(context: &Context) -> Vec<u8> {
    let mut header = Vec::new();
    match context.service.listener.proxy_protocol.send {
        ProxyHeaderVersion::Off => {}
        ProxyHeaderVersion::V1 => v1::write(context.endpoints, &mut header),
        ProxyHeaderVersion::V2 => v2::write(context.endpoints, None, &mut header),
    }
    header
}
