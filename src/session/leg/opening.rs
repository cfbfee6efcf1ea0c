//! A leg whose session does not relay yet, or no more: whole messages are awaited, and TLS begins.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use super::{Leg, LegError, Received};
use crate::{
    session::scratch::{Scratch, with_scratch},
    tls::stream::{TlsError, TlsStream, holds_client_hello},
};

/// The most plaintext that a client may have sent while its opening is still being read.
pub(super) const MAX_OPENING: usize = 1 << 20;

/// What was heard from a leg whose opening is being read.
enum Heard {
    /// Bytes, or only what TLS itself had to say.
    Bytes,
    /// The peer sends nothing more.
    End,
}

impl Leg {
    /// Does a step by itself: what it leaves to be sent is kept.
    fn step<R>(&mut self, act: impl FnOnce(&mut Self, &mut Scratch) -> R) -> R {
        with_scratch(|scratch| {
            scratch.begin();
            let done = act(self, scratch);
            self.settle(scratch);
            done
        })
    }

    /// Receives what comes next, and sends what has to be answered as far as the socket takes it.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<u8>,
    ) -> Poll<Result<Heard, LegError>> {
        self.step(|leg, scratch| {
            let received = ready!(leg.poll_receive(cx, scratch));
            if let Poll::Ready(sent) = leg.poll_flush(cx, scratch)
                && received.is_ok()
            {
                sent?;
            }
            Poll::Ready(Ok(match received? {
                Received::Bytes(span) => {
                    into.extend_from_slice(scratch.get(span));
                    Heard::Bytes
                }
                Received::End => Heard::End,
            }))
        })
    }

    /// Receives at least one byte, to the end of `into`.
    pub async fn receive(&mut self, into: &mut Vec<u8>) -> Result<(), LegError> {
        let before = into.len();
        while into.len() == before {
            match poll_fn(|cx| self.poll_next(cx, into)).await? {
                Heard::Bytes => {}
                Heard::End => return Err(LegError::Ended),
            }
        }
        if into.len() > MAX_OPENING {
            return Err(LegError::TooLong);
        }
        Ok(())
    }

    /// Sends all of `bytes`.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), LegError> {
        let said = poll_fn(|cx| {
            Poll::Ready(self.step(|leg, scratch| {
                let said = leg.say(bytes, scratch);
                match leg.poll_flush(cx, scratch) {
                    Poll::Ready(Err(error)) => Err(error),
                    _ => said,
                }
            }))
        });
        said.await?;
        self.flush().await
    }

    /// Sends all that was kept.
    pub async fn flush(&mut self) -> Result<(), LegError> {
        poll_fn(|cx| self.step(|leg, scratch| leg.poll_flush(cx, scratch))).await
    }

    /// Says that nothing more will be sent, and waits until that has gone out.
    pub async fn close(&mut self) -> Result<(), LegError> {
        poll_fn(|cx| self.step(|leg, scratch| leg.poll_close(cx, scratch))).await
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

    /// Begins TLS here as the client.
    pub async fn connect_tls(&mut self, tls: TlsStream) -> Result<(), LegError> {
        self.tls = Some(Box::new(tls));
        self.handshake(Vec::new()).await
    }

    /// Finishes a handshake, beginning with the bytes in `first`.
    async fn handshake(&mut self, mut first: Vec<u8>) -> Result<(), LegError> {
        let mut early = Vec::new();
        let begun = poll_fn(|cx| Poll::Ready(self.begin_handshake(cx, &mut first, &mut early)));
        begun.await?;
        while self.is_handshaking() {
            self.flush().await?;
            match poll_fn(|cx| self.poll_next(cx, &mut early)).await? {
                // The peer's last message of the handshake and its goodbye may come together.
                Heard::End if self.is_handshaking() => return Err(LegError::Ended),
                Heard::Bytes | Heard::End => {}
            }
        }
        self.early = early;
        self.flush().await
    }

    /// Takes in bytes that were received before, which may be more than are read at once.
    fn begin_handshake(
        &mut self,
        cx: &mut Context<'_>,
        first: &mut [u8],
        early: &mut Vec<u8>,
    ) -> Result<(), LegError> {
        self.step(|leg, scratch| {
            let Some(tls) = &mut leg.tls else {
                return Ok(());
            };
            let before = scratch.out.len();
            let result = tls.receive(first, early, &mut scratch.out);
            leg.ended |= tls.peer_closed();
            leg.queue_made(before, scratch);
            if let Poll::Ready(sent) = leg.poll_flush(cx, scratch)
                && result.is_ok()
            {
                sent?;
            }
            Ok(result?)
        })
    }

    fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }
}
