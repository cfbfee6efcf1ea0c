//! Attempts to connect to a backend's address.

use std::{io, net::IpAddr};

use socket2::SockRef;
use tokio::net::{TcpStream, UnixStream};

use super::super::socket::{Socket, tune};
use crate::config::Address;

/// Connects to `address`, trying each address its name has in turn.
pub(super) async fn open(address: &Address) -> io::Result<Socket> {
    match address {
        Address::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        Address::Tcp { host, port } => {
            let stream = match host.parse::<IpAddr>() {
                Ok(ip) => TcpStream::connect((ip, *port)).await?,
                Err(_) => TcpStream::connect((host.as_str(), *port)).await?,
            };
            tune(&SockRef::from(&stream))?;
            Ok(Socket::Tcp(stream))
        }
    }
}
