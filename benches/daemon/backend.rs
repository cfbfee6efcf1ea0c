//! The service behind: it echoes, swallows or pours out, as the first byte of a session says.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener as StdTcpListener},
    thread,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::Failure;

/// A session that begins with this is echoed from its second byte on.
pub(crate) const ECHO: u8 = b'E';

/// A session that begins with this, and a length, has so many bytes swallowed and acknowledged by
/// one, as often as wanted.
pub(crate) const SWALLOW: u8 = b'S';

/// A session that begins with this, and a length, is sent so many bytes, as often as wanted.
pub(crate) const POUR: u8 = b'P';

/// How much is moved at once.
const CHUNK: usize = 256 * 1024;

/// Starts a backend on a thread of its own, which lives as long as the program.
pub(crate) fn start() -> Result<SocketAddr, Failure> {
    let listener = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    thread::spawn(move || runtime.block_on(serve(listener)));
    Ok(address)
}

async fn serve(listener: StdTcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(session(stream));
    }
}

async fn session(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mode = stream.read_u8().await?;
    if mode == ECHO {
        return echo(stream).await;
    }
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = stream.read_u64().await?;
        if mode == SWALLOW {
            swallow(&mut stream, length, &mut chunk).await?;
            stream.write_u8(0).await?;
        } else {
            pour(&mut stream, length, &chunk).await?;
        }
    }
}

/// Echoes with no more than a little space, so that many may be idle.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut space = [0; 256];
    loop {
        let read = stream.read(&mut space).await?;
        if read == 0 {
            return Ok(());
        }
        stream.write_all(&space[..read]).await?;
    }
}

async fn swallow(stream: &mut TcpStream, length: u64, space: &mut [u8]) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        let most = usize::try_from(left).map_or(space.len(), |left| left.min(space.len()));
        match stream.read(&mut space[..most]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => left -= read as u64,
        }
    }
    Ok(())
}

async fn pour(stream: &mut TcpStream, length: u64, chunk: &[u8]) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        let most = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
        stream.write_all(&chunk[..most]).await?;
        left -= most as u64;
    }
    Ok(())
}
