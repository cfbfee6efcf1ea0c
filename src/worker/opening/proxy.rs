//! PROXY protocol headers, from clients' load balancers and to backends.

use std::net::SocketAddr;

use super::{Context, Deadline, Failure, Phase, Refusal, read_client};
use crate::{
    config::{Listener, ProxyHeaderVersion, ProxyProtocol},
    protocol::proxy_header::{self, Endpoints, Found, Header, v1, v2},
    session::leg::Leg,
    tls::stream::TlsStream,
};

/// Where there are load balancers, takes the header that they must begin with, notes for which client
/// they speak, and returns both addresses of that client's connection; refuses a header from any other
/// client.
pub(super) async fn accept(
    context: &Context,
    deadline: Deadline,
    client: &mut Leg,
) -> Result<Option<Endpoints>, Failure> {
    if !context.service.listener.proxy_protocol.accept {
        return Ok(None);
    }
    if !is_balancer(&context.service.listener, context.session.peers().client) {
        return forbid(context, deadline, client).await.map(|()| None);
    }
    let (found, buffer) = look(deadline, client, Phase::ProxyHeader).await?;
    let Found::Header(header, length) = found else {
        return Err(Refusal::NoProxyHeader.into());
    };
    client.unread(&buffer[length..]);
    let Header::Proxied { endpoints, .. } = header else {
        return Ok(None);
    };
    context.session.speaks_for(endpoints.source);
    Ok(Some(endpoints))
}

/// Whether the peer is a load balancer, which must begin with a header. On a Unix socket, whose
/// permissions say who may connect, every peer is one.
pub fn is_balancer(listener: &Listener, peer: Option<SocketAddr>) -> bool {
    let ProxyProtocol { accept, from, .. } = &listener.proxy_protocol;
    let is_listed = |peer: SocketAddr| from.iter().any(|network| network.contains(peer.ip()));
    *accept && peer.is_none_or(is_listed)
}

/// Refuses a header from a client that is no load balancer.
///
/// Where the server speaks first, as MySQL's does, a client says nothing before it was greeted; what it
/// says then is looked at there.
async fn forbid(context: &Context, deadline: Deadline, client: &mut Leg) -> Result<(), Failure> {
    if context
        .service
        .listener
        .protocol
        .traits()
        .server_speaks_first
    {
        return Ok(());
    }
    let (found, buffer) = look(deadline, client, Phase::Request).await?;
    match found {
        Found::Header(..) => Err(Refusal::UnlistedBalancer.into()),
        Found::Nothing | Found::NeedMore => {
            client.unread(&buffer);
            Ok(())
        }
    }
}

/// Returns a better reason for refusing a client that began with `bytes`, if they are a header.
pub(super) fn explain(context: &Context, bytes: &[u8]) -> Option<Refusal> {
    match proxy_header::parse(bytes) {
        Ok(Found::Header(..)) if context.service.listener.proxy_protocol.accept => {
            Some(Refusal::UnlistedBalancer)
        }
        Ok(Found::Header(..)) => Some(Refusal::UnexpectedProxyHeader),
        _ => None,
    }
}

/// Reads until it is certain whether the client begins with a header; returns all that was read.
async fn look(
    deadline: Deadline,
    client: &mut Leg,
    phase: Phase,
) -> Result<(Found, Vec<u8>), Failure> {
    let mut buffer = Vec::new();
    loop {
        let reading = read_client(client, &mut buffer);
        deadline.in_time(phase, reading).await?;
        let found = proxy_header::parse(&buffer).map_err(Refusal::ProxyHeader)?;
        if found != Found::NeedMore {
            return Ok((found, buffer));
        }
    }
}

/// Returns the header to send to the backend; nothing if the listener sends none.
///
/// It has to come before anything else. Where the database speaks first, as MySQL does, that is
/// before the client's TLS, so nothing of that can be in it.
pub(super) fn header(context: &Context, client: Option<&TlsStream>) -> Vec<u8> {
    let mut header = Vec::new();
    match context.service.listener.proxy_protocol.send {
        ProxyHeaderVersion::Off => {}
        ProxyHeaderVersion::V1 => v1::write(context.endpoints, &mut header),
        ProxyHeaderVersion::V2 => {
            let tls = client.map(TlsStream::proxy_tlv);
            v2::write(context.endpoints, tls.as_ref(), &mut header);
        }
    }
    header
}
