//! One of the two connections of a session: a socket, TLS on it or not, and what could not be
//! sent yet.
//!
//! Buffers belong to the thread, not to the connection: an idle leg owns none.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

mod error;
mod kept;
mod ledger;
mod opening;
mod unsent;

use self::unsent::Unsent;
pub use self::{error::LegError, kept::OtherSocket, ledger::Ledger};
use super::{
    scratch::{Area, READ_SIZE, Scratch, Span},
    socket::{Socket, SocketEnd},
};
use crate::tls::{records::Wear, stream::TlsStream};

/// One of the two connections of a session.
#[expect(
    clippy::struct_excessive_bools,
    reason = "none of them depends on another"
)]
pub struct Leg {
    socket: Socket,
    tls: Option<Box<TlsStream>>,
    unsent: Unsent,
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
    /// TLS has failed, whether or not the leg has said so yet.
    has_failed: bool,
    /// Whole records may wait among the bytes that TLS holds.
    has_more: bool,
    /// The connection was reset; the kernel says so once, and may have told an earlier worker.
    ends_cut: bool,
    /// Bytes of a kept Unix socket that count as taken and are still to be taken from it.
    peeked: u32,
    /// Where it is noted what is done with a kept Unix socket.
    ledger: Option<Ledger>,
}

/// What waits in it may be secret; only how many bytes wait is shown.
impl fmt::Debug for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leg")
            .field("socket", &self.socket)
            .field("tls", &self.tls)
            .field("unsent", &self.unsent)
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
#[derive(Debug, Clone, Copy)]
pub enum Received {
    /// These bytes; none if only TLS itself had something to say.
    Bytes(Span),
    /// The peer sends nothing more.
    End,
}

impl Leg {
    /// Makes a leg of a connected socket, in plaintext.
    pub fn new(socket: Socket) -> Self {
        Self {
            socket,
            tls: None,
            unsent: Unsent::Nothing,
            early: Vec::new(),
            fault: None,
            ended: false,
            spoken: false,
            write: WriteSide::Open,
            taken: 0,
            queued: 0,
            has_failed: false,
            has_more: false,
            ends_cut: false,
            peeked: 0,
            ledger: None,
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

    /// Receives what the peer sent next. What has to be answered is put behind what is to be sent.
    pub fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Result<Received, LegError>> {
        if !self.early.is_empty() {
            let start = scratch.plain.len();
            scratch.plain.put(&std::mem::take(&mut self.early));
            let span = Span::new(Area::Plain, start, scratch.plain.len());
            return Poll::Ready(Ok(Received::Bytes(span)));
        }
        if let Some(fault) = self.fault.take() {
            return Poll::Ready(Err(*fault));
        }
        if self.ended {
            return Poll::Ready(Ok(Received::End));
        }
        let (input, _, _) = scratch.parts();
        let held = self.tls.as_ref().map_or(&[][..], |tls| tls.held());
        let start = held.len();
        input[..start].copy_from_slice(held);
        if std::mem::take(&mut self.has_more) {
            return Poll::Ready(self.take_in(start, scratch));
        }
        let read = ready!(self.poll_read(cx, &mut input[start..start + READ_SIZE]))?;
        if read == 0 && self.ends_cut {
            let reset = io::Error::from_raw_os_error(nix::libc::ECONNRESET);
            return Poll::Ready(Err(reset.into()));
        }
        if read == 0 {
            self.ended = true;
            return Poll::Ready(Ok(Received::End));
        }
        self.spoken = true;
        self.taken += read as u64;
        Poll::Ready(self.take_in(start + read, scratch))
    }

    /// Reads from the socket. From one whose reads the kernel does not count it takes nothing yet.
    fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.ledger.is_some() {
            let read = ready!(self.socket.poll_peek(cx, space))?;
            self.peeked = u32::try_from(read).unwrap_or(u32::MAX);
            return Poll::Ready(Ok(read));
        }
        let mut space = ReadBuf::new(space);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut space))?;
        Poll::Ready(Ok(space.filled().len()))
    }

    /// Takes in the first `length` bytes of the input.
    fn take_in(&mut self, length: usize, scratch: &mut Scratch) -> Result<Received, LegError> {
        if self.tls.is_none() {
            return Ok(Received::Bytes(Span::new(Area::Input, 0, length)));
        }
        let start = scratch.plain.len();
        let decrypted = self.decrypt(length, scratch);
        let span = Span::new(Area::Plain, start, scratch.plain.len());
        if let Err(error) = decrypted {
            self.has_failed = true;
            if span.is_empty() {
                return Err(error);
            }
            // What came before is passed on, however the network has cut the two.
            self.fault = Some(Box::new(error));
        }
        Ok(match (span.is_empty(), self.ended) {
            (true, true) => Received::End,
            _ => Received::Bytes(span),
        })
    }

    fn decrypt(&mut self, length: usize, scratch: &mut Scratch) -> Result<(), LegError> {
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        let before = scratch.out.len();
        let (input, plain, out) = scratch.parts();
        let result = tls.receive(&mut input[..length], plain, out);
        self.ended |= tls.peer_closed();
        self.queue_made(before, scratch);
        Ok(result?)
    }

    /// Puts bytes behind what is to be sent.
    pub fn submit(&mut self, span: Span, scratch: &mut Scratch) -> Result<(), LegError> {
        match &mut self.tls {
            None => {
                self.queue(span, scratch);
                Ok(())
            }
            Some(tls) => {
                let before = scratch.out.len();
                let (bytes, out) = scratch.to_seal(span);
                let sealed = tls.send(bytes, out);
                // After an error that is the alert, behind what was sealed before.
                self.queue_made(before, scratch);
                Ok(sealed?)
            }
        }
    }

    /// Puts words of our own behind what is to be sent.
    pub fn say(&mut self, words: &[u8], scratch: &mut Scratch) -> Result<(), LegError> {
        let before = scratch.out.len();
        let said = match &mut self.tls {
            None => {
                scratch.out.put(words);
                Ok(())
            }
            Some(tls) => tls.send(words, &mut scratch.out),
        };
        self.queue_made(before, scratch);
        Ok(said?)
    }

    /// Puts what was made since the space for that held `before` bytes behind what is to be sent.
    fn queue_made(&mut self, before: usize, scratch: &Scratch) {
        self.queue(Span::new(Area::Out, before, scratch.out.len()), scratch);
    }

    fn queue(&mut self, span: Span, scratch: &Scratch) {
        self.queued += span.len() as u64;
        self.unsent.add(span, scratch);
    }

    /// Sends what is to be sent.
    pub fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &Scratch,
    ) -> Poll<Result<(), LegError>> {
        loop {
            let bytes = self.unsent.bytes(scratch);
            if bytes.is_empty() {
                self.unsent = Unsent::Nothing;
                return Poll::Ready(Ok(()));
            }
            let before = self.queued - bytes.len() as u64;
            if let Some(ledger) = &self.ledger {
                ledger.note_written(before, true);
            }
            let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
            if let Some(ledger) = &self.ledger {
                let more = match &written {
                    Poll::Ready(Ok(written)) => *written as u64,
                    _ => 0,
                };
                ledger.note_written(before + more, false);
            }
            self.unsent.skip(ready!(written)?);
        }
    }

    /// Moves what could not be sent out of the scratch space; returns whether anything was there.
    pub fn settle(&mut self, scratch: &Scratch) -> bool {
        self.unsent.settle(scratch)
    }

    /// Returns whether something was kept that the peer has not taken yet.
    pub fn is_held_up(&self) -> bool {
        self.unsent.len() > 0
    }

    /// Returns how the peer has ended behind what was not received from it yet.
    pub fn end_ahead(&self) -> Option<SocketEnd> {
        let received = self.ended.then_some(SocketEnd::Closed);
        received.or_else(|| self.socket.end())
    }

    /// Returns whether the peer's TLS ended without saying so, as it does when an attacker cuts the
    /// connection (RFC 8446 §6.1).
    pub fn was_cut(&self) -> bool {
        self.ended && self.tls.as_ref().is_some_and(|tls| !tls.peer_closed())
    }

    /// Lets [`Self::poll_close`] leave out the end of TLS, so that the peer knows of a cut too; returns whether that
    /// has changed anything.
    pub fn cut(&mut self) -> bool {
        let is_new = self.write == WriteSide::Open;
        if is_new {
            self.write = WriteSide::Closing;
        }
        is_new
    }

    /// Puts the end of TLS behind what is to be sent, once; returns whether that has changed anything.
    pub fn begin_close(&mut self, scratch: &mut Scratch) -> bool {
        if self.write != WriteSide::Open {
            return false;
        }
        self.write = WriteSide::Closing;
        if let Some(tls) = &mut self.tls {
            let before = scratch.out.len();
            tls.close(&mut scratch.out);
            self.queue_made(before, scratch);
        }
        true
    }

    /// Says that nothing more will be sent: first in TLS, then by the socket.
    pub fn poll_close(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Result<(), LegError>> {
        self.begin_close(scratch);
        ready!(self.poll_flush(cx, scratch))?;
        if self.write == WriteSide::Closing {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            self.write = WriteSide::Closed;
        }
        Poll::Ready(Ok(()))
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
}

#[cfg(test)]
mod tests;
