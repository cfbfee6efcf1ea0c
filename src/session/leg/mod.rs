//! One of the two connections of a session: a socket, TLS on it or not, and what could not be
//! sent yet.
//!
//! Buffers belong to the thread, not to the connection: an idle leg owns none.

use std::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

mod kept;

pub use self::kept::OtherSocket;
use super::socket::{Socket, SocketEnd};
pub use crate::tls::stream::Outgoing;
use crate::tls::{
    records::Fault,
    records::Wear,
    stream::{MAX_HELD, TlsError, TlsStream, holds_client_hello},
};

/// How much is read from a socket at once: four full TLS records.
const READ_SIZE: usize = 64 * 1024;

/// The most plaintext that a client may have sent while its opening is still being read.
pub const MAX_OPENING: usize = 1 << 20;

/// Space that every connection of a thread uses in turn.
pub struct Scratch {
    input: Vec<u8>,
    plain: Vec<u8>,
    pub(super) out: Outgoing,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        input: vec![0; MAX_HELD + READ_SIZE],
        plain: Vec::with_capacity(READ_SIZE),
        out: Outgoing::default(),
    });
}

/// Calls `act` with this thread's scratch space.
///
/// `act` must not call it again: nothing that polls may be called from inside.
pub fn with_scratch<R>(act: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with_borrow_mut(act)
}

/// One of the two connections of a session.
pub struct Leg {
    socket: Socket,
    tls: Option<Box<TlsStream>>,
    unsent: Vec<u8>,
    early: Vec<u8>,
    /// Why the leg has failed behind what was received last.
    fault: Option<Box<LegError>>,
    ended: bool,
    spoken: bool,
    write: WriteSide,
    /// Bytes that were taken from the socket.
    taken: u64,
    /// Bytes that were made for the socket.
    queued: u64,
}

/// What waits in it may be secret; only how many bytes wait is shown.
impl fmt::Debug for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leg")
            .field("socket", &self.socket)
            .field("tls", &self.tls)
            .field("unsent", &self.unsent.len())
            .field("early", &self.early.len())
            .field("ended", &self.ended)
            .field("write", &self.write)
            .finish_non_exhaustive()
    }
}

/// How far the closing of our direction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteSide {
    /// Bytes may be sent.
    Open = 0,
    /// TLS was told, or is not to be told; the socket was not.
    Closing = 1,
    /// The peer was told by the socket.
    Closed = 2,
}

/// What came from a leg.
#[derive(Debug)]
pub enum Received<'s> {
    /// These bytes; none if only TLS itself had something to say.
    Bytes(&'s [u8]),
    /// The peer sends nothing more.
    End,
}

/// Why a leg failed.
#[derive(Debug, thiserror::Error)]
pub enum LegError {
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// TLS failed.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The peer left in the middle.
    #[error("it closed the connection")]
    Ended,
    /// The peer sent more than its opening can need.
    #[error("it sent more than {MAX_OPENING} bytes before its opening was over")]
    TooLong,
    /// The peer acknowledged nothing for so long, while something waited for that.
    #[error(
        "it has acknowledged nothing for {:.1} s of what was sent to it (limits.dead_peer_timeout)",
        .0.as_secs_f64()
    )]
    Dead(Duration),
}

impl LegError {
    /// Returns the number of the system's error, if it is one (errno(3)).
    pub fn os_error(&self) -> Option<i32> {
        match self {
            Self::Io(error) => error.raw_os_error(),
            _ => None,
        }
    }

    /// Returns whether a TLS key that cannot be renewed has protected as much as it may.
    pub fn is_key_used_up(&self) -> bool {
        matches!(self, Self::Tls(TlsError::Session(Fault::KeysExhausted(_))))
    }

    /// Returns whether TLS failed, and not the connection below it.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Returns whether the peer itself said in TLS that it ends; an attacker on the network can cause all
    /// other errors.
    pub fn is_told(&self) -> bool {
        matches!(self, Self::Tls(error) if error.is_told())
    }
}

impl Leg {
    /// Makes a leg of a connected socket, in plaintext.
    pub fn new(socket: Socket) -> Self {
        Self {
            socket,
            tls: None,
            unsent: Vec::new(),
            early: Vec::new(),
            fault: None,
            ended: false,
            spoken: false,
            write: WriteSide::Open,
            taken: 0,
            queued: 0,
        }
    }

    /// Returns the socket.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Returns the TLS state, if there is TLS.
    pub fn tls(&self) -> Option<&TlsStream> {
        self.tls.as_deref()
    }

    /// Returns whether the peer has sent anything at all.
    pub fn has_spoken(&self) -> bool {
        self.spoken
    }

    /// Puts plaintext back in front of what [`Self::poll_receive`] brings next.
    pub fn unread(&mut self, bytes: &[u8]) {
        self.early.splice(0..0, bytes.iter().copied());
    }

    /// Receives what the peer sent next.
    pub fn poll_receive<'s>(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &'s mut Scratch,
    ) -> Poll<Result<(Received<'s>, &'s mut Outgoing), LegError>> {
        let Scratch { input, plain, out } = scratch;
        plain.clear();
        if !self.early.is_empty() {
            plain.extend_from_slice(&std::mem::take(&mut self.early));
            return Poll::Ready(Ok((Received::Bytes(plain), out)));
        }
        if let Some(fault) = self.fault.take() {
            return Poll::Ready(Err(*fault));
        }
        if self.ended {
            return Poll::Ready(Ok((Received::End, out)));
        }
        let held = self.tls.as_ref().map_or(&[][..], |tls| tls.held());
        let start = held.len();
        input[..start].copy_from_slice(held);
        let mut space = ReadBuf::new(&mut input[start..start + READ_SIZE]);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut space))?;
        let read = space.filled().len();
        if read == 0 {
            self.ended = true;
            return Poll::Ready(Ok((Received::End, out)));
        }
        self.spoken = true;
        self.taken += read as u64;
        if self.tls.is_none() {
            return Poll::Ready(Ok((Received::Bytes(&input[..read]), out)));
        }
        if let Err(error) = self.decrypt(cx, &mut input[..start + read], plain, out) {
            if plain.is_empty() {
                return Poll::Ready(Err(error));
            }
            // What came before is passed on, however the network has cut the two.
            self.fault = Some(Box::new(error));
        }
        let received = match (plain.is_empty(), self.ended) {
            (true, true) => Received::End,
            _ => Received::Bytes(plain),
        };
        Poll::Ready(Ok((received, out)))
    }

    fn decrypt(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Outgoing,
    ) -> Result<(), LegError> {
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        out.clear();
        let result = tls.receive(bytes, plain, out);
        self.ended |= tls.peer_closed();
        self.write_or_keep(cx, out.filled())?;
        Ok(result?)
    }

    /// Sends `bytes`, keeping what the socket does not take now for [`Self::poll_flush`].
    pub fn submit(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        out: &mut Outgoing,
    ) -> Result<(), LegError> {
        match &mut self.tls {
            None => self.write_or_keep(cx, bytes),
            Some(tls) => {
                out.clear();
                let sealed = tls.send(bytes, out);
                // After an error that is the alert, behind what was sealed before.
                self.write_or_keep(cx, out.filled())?;
                Ok(sealed?)
            }
        }
    }

    fn write_or_keep(&mut self, cx: &mut Context<'_>, mut bytes: &[u8]) -> Result<(), LegError> {
        self.queued += bytes.len() as u64;
        while self.unsent.is_empty() && !bytes.is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, bytes)? {
                Poll::Ready(written) => bytes = &bytes[written..],
                Poll::Pending => break,
            }
        }
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }

    /// Sends what was kept.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LegError>> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match Pin::new(&mut self.socket).poll_write(cx, &self.unsent[sent..])? {
                Poll::Ready(written) => sent += written,
                Poll::Pending => {
                    self.unsent.drain(..sent);
                    return Poll::Pending;
                }
            }
        }
        if sent > 0 {
            self.unsent = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Returns whether something was kept that the peer has not taken yet.
    pub fn is_held_up(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Returns how the peer has ended behind what was not received from it yet.
    pub fn end_ahead(&self) -> Option<SocketEnd> {
        let received = self.ended.then_some(SocketEnd::Closed);
        received.or_else(|| self.socket.end())
    }

    /// Returns whether the peer's TLS ended without saying so, as it does when somebody cuts the
    /// connection (RFC 8446 §6.1).
    pub fn was_cut(&self) -> bool {
        self.ended && self.tls.as_ref().is_some_and(|tls| !tls.peer_closed())
    }

    /// Lets [`Self::poll_close`] leave out the end of TLS, so that the peer knows of a cut too.
    pub fn cut(&mut self) {
        if self.write == WriteSide::Open {
            self.write = WriteSide::Closing;
        }
    }

    /// Says that nothing more will be sent: first in TLS, then by the socket.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LegError>> {
        if self.write == WriteSide::Open {
            self.write = WriteSide::Closing;
            if let Some(tls) = &mut self.tls {
                let mut out = Outgoing::default();
                tls.close(&mut out);
                self.write_or_keep(cx, out.filled())?;
            }
        }
        ready!(self.poll_flush(cx))?;
        if self.write == WriteSide::Closing {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            self.write = WriteSide::Closed;
        }
        Poll::Ready(Ok(()))
    }

    /// Receives at least one byte, to the end of `into`.
    pub async fn receive(&mut self, into: &mut Vec<u8>) -> Result<(), LegError> {
        let before = into.len();
        while into.len() == before {
            poll_fn(|cx| {
                with_scratch(|scratch| match ready!(self.poll_receive(cx, scratch))?.0 {
                    Received::Bytes(bytes) => {
                        into.extend_from_slice(bytes);
                        Poll::Ready(Ok(()))
                    }
                    Received::End => Poll::Ready(Err(LegError::Ended)),
                })
            })
            .await?;
        }
        if into.len() > MAX_OPENING {
            return Err(LegError::TooLong);
        }
        Ok(())
    }

    /// Sends all of `bytes`.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), LegError> {
        poll_fn(|cx| {
            Poll::Ready(with_scratch(|scratch| {
                self.submit(cx, bytes, &mut scratch.out)
            }))
        })
        .await?;
        self.flush().await
    }

    /// Sends all that was kept.
    pub async fn flush(&mut self) -> Result<(), LegError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Says that nothing more will be sent, and waits until that has gone out.
    pub async fn close(&mut self) -> Result<(), LegError> {
        poll_fn(|cx| self.poll_close(cx)).await
    }

    /// Ends TLS here as the server, with `first` already read.
    ///
    /// `begin` chooses the configuration once the client has spoken, and not before.
    pub async fn accept_tls(
        &mut self,
        mut first: Vec<u8>,
        begin: impl FnOnce(&[u8]) -> Result<TlsStream, TlsError>,
    ) -> Result<(), LegError> {
        while !holds_client_hello(&first)? {
            self.receive(&mut first).await?;
        }
        match begin(&first) {
            Ok(tls) => self.tls = Some(Box::new(tls)),
            Err(error) => {
                self.send(error.alert()).await?;
                return Err(error.into());
            }
        }
        self.handshake(first).await
    }

    /// Forgets TLS that has failed, so that the connection can be closed without it.
    ///
    /// The alert that tells the peer is on its way or kept to be sent.
    pub fn give_up_tls(&mut self) {
        self.tls = None;
        self.early = Vec::new();
    }

    /// Frees what is only needed to move bytes, until some move again.
    pub fn rest(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.rest();
        }
    }

    /// Frees what only the opening of a session has to know of TLS: names and certificates.
    pub fn forget_opening(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.forget_opening();
        }
    }

    /// Returns, once, which key of TLS has protected most of what it may and cannot be renewed.
    pub fn limit_news(&mut self) -> Option<Wear> {
        self.tls.as_mut()?.limit_news()
    }

    /// Begins TLS here as the client.
    pub async fn connect_tls(&mut self, tls: TlsStream) -> Result<(), LegError> {
        self.tls = Some(Box::new(tls));
        self.handshake(Vec::new()).await
    }

    /// Finishes a handshake, beginning with the bytes in `first`.
    async fn handshake(&mut self, mut first: Vec<u8>) -> Result<(), LegError> {
        let mut early = Vec::new();
        poll_fn(|cx| {
            Poll::Ready(with_scratch(|scratch| {
                self.decrypt(cx, &mut first, &mut early, &mut scratch.out)
            }))
        })
        .await?;
        while self.is_handshaking() {
            self.flush().await?;
            poll_fn(|cx| {
                with_scratch(|scratch| match ready!(self.poll_receive(cx, scratch))?.0 {
                    Received::Bytes(bytes) => {
                        early.extend_from_slice(bytes);
                        Poll::Ready(Ok(()))
                    }
                    // The peer's last message of the handshake and its goodbye may come together.
                    Received::End if !self.is_handshaking() => Poll::Ready(Ok(())),
                    Received::End => Poll::Ready(Err(LegError::Ended)),
                })
            })
            .await?;
        }
        self.early = early;
        self.flush().await
    }

    fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }
}

#[cfg(test)]
mod tests;
