//! The end of a session: counted by its reason, and logged in one line.

use std::sync::Arc;

use tracing::{debug, info};

use super::{live::LiveSession, relay::Ended, stop::StopReason};
use crate::{
    facts::{EndReason, Reason as _},
    tls::RefusedCertificate,
};

/// How a session ended.
#[derive(Debug)]
pub struct SessionEnd {
    reason: EndReason,
    words: String,
    /// The client's certificate, if the client was refused because of it.
    refused: Option<Box<RefusedCertificate>>,
    /// The operator who ended it, if one did.
    by: Option<Arc<str>>,
}

impl SessionEnd {
    /// Returns the end of a session whose client was let in; `words` explain the reason.
    pub fn new(reason: EndReason, words: impl Into<String>) -> Self {
        Self {
            reason,
            words: words.into(),
            refused: None,
            by: None,
        }
    }

    /// Returns the end of a session that was told to stop; `words` explain the reason.
    pub fn stopped(reason: &StopReason, words: impl Into<String>) -> Self {
        Self {
            by: reason.operator().cloned(),
            ..Self::new(reason.reason(), words)
        }
    }

    /// Adds the certificate because of which the client was refused.
    #[must_use]
    pub fn refused_for(mut self, certificate: Option<&RefusedCertificate>) -> Self {
        self.refused = certificate.cloned().map(Box::new);
        self
    }

    /// Returns the reason by which the session is counted.
    pub fn reason(&self) -> EndReason {
        self.reason
    }

    /// Counts the end, and logs it if the log is to have it. Called exactly once for every session.
    pub fn note(&self, session: &LiveSession) {
        let lasted = session.has_opened().then(|| session.began.elapsed());
        session.counters.end(self.reason, lasted);
        if let Some(left_out) = session.counters.may_tell(self.reason) {
            self.tell(session, Some(left_out).filter(|it| *it > 0));
        }
    }

    fn tell(&self, session: &LiveSession, left_out: Option<u64>) {
        let facts = session.facts();
        let tls = facts.tls.as_ref();
        let refused = self.refused.as_deref();
        let shown = tls.and_then(|it| Some(&it.certificate.as_ref()?.shown));
        let (bytes_up, bytes_down) = session.bytes();
        let what = if self.reason.is_failure() {
            "failed"
        } else {
            "ended"
        };
        // A macro, because `tracing` needs the level of a line as a constant.
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    session = %session.id,
                    listener = session.counters.listener,
                    client = facts.peers.client.map(display),
                    via = facts.peers.via.map(display),
                    user = facts.user.as_deref(),
                    subject = refused
                        .map(|it| &*it.subject)
                        .or(shown.map(|it| &*it.subject)),
                    issuer = refused.map(|it| &*it.issuer),
                    serial = refused.map(|it| &*it.serial),
                    sha256 = refused
                        .map(|it| &*it.sha256)
                        .or(shown.map(|it| &*it.sha256)),
                    tls = tls.map(|it| it.version),
                    server_name = facts.server_name.as_deref(),
                    backend = facts.backend.as_deref(),
                    generation = facts.generation,
                    bytes_up,
                    bytes_down,
                    duration_s = seconds(session),
                    takeovers = Some(session.takeovers()).filter(|it| *it > 0),
                    reason = self.reason.name(),
                    by = self.by.as_deref(),
                    left_out,
                    "session {what}: {}",
                    self.words
                )
            };
        }
        if self.reason == EndReason::Silent {
            // Health checks would fill the log.
            line!(debug);
        } else {
            line!(info);
        }
    }
}

/// Returns how long a session has lasted, in seconds to the millisecond.
fn seconds(session: &LiveSession) -> f64 {
    let milliseconds = u32::try_from(session.began.elapsed().as_millis()).unwrap_or(u32::MAX);
    f64::from(milliseconds) / 1000.0
}

impl From<&Ended> for SessionEnd {
    fn from(ended: &Ended) -> Self {
        let words = match ended {
            Ended::Closed => "both sides have closed".to_owned(),
            Ended::ClientClosed => "the client closed".to_owned(),
            Ended::BackendClosed => "the backend closed".to_owned(),
            Ended::Idle => "no bytes came from either side for the idle timeout".to_owned(),
            Ended::HalfClosed => "one side had closed, and the other was silent".to_owned(),
            Ended::Client(error) => format!("client: {error}"),
            Ended::Backend(error) => format!("backend: {error}"),
            Ended::Stopped(reason) => {
                let words = match reason {
                    StopReason::Drained => "it was still open when the drain timeout was over",
                    StopReason::EndedBy(_) => "an operator ended it with `proxyctl end`",
                };
                return Self::stopped(reason, words);
            }
            Ended::SecondLogin(end) => format!("change of user: {}", end.fault),
        };
        Self::new(ended.reason(), words)
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use super::*;
    use crate::{
        session::leg::LegError,
        tls::{
            records::{
                Fault, Wear,
                limits::{Key, Spent},
            },
            stream::TlsError,
        },
    };

    fn lost() -> LegError {
        io::Error::from(io::ErrorKind::ConnectionReset).into()
    }

    fn used_up() -> LegError {
        let wear = Wear {
            key: Key::Sending,
            spent: Spent::Blocks(1 << 43),
            limit: 1 << 43,
        };
        TlsError::from(Fault::KeysExhausted(wear)).into()
    }

    #[test]
    fn tls_that_fails_is_told_from_a_connection_that_does() {
        for (ended, reason) in [
            (Ended::Client(lost()), EndReason::ClientLost),
            (
                Ended::Client(TlsError::from(Fault::BadRecord).into()),
                EndReason::ClientTls,
            ),
            (Ended::Backend(used_up()), EndReason::KeyUsedUp),
            (Ended::Client(used_up()), EndReason::KeyUsedUp),
            (Ended::Backend(lost()), EndReason::BackendLost),
            (
                Ended::Backend(TlsError::TooLong.into()),
                EndReason::BackendTls,
            ),
            (
                Ended::Client(LegError::Dead(Duration::from_secs(2))),
                EndReason::ClientDead,
            ),
            (
                Ended::Backend(LegError::Dead(Duration::from_secs(2))),
                EndReason::BackendDead,
            ),
            (Ended::Stopped(StopReason::Drained), EndReason::Drained),
            (
                Ended::Stopped(StopReason::EndedBy("root".into())),
                EndReason::EndedByOperator,
            ),
        ] {
            let end = SessionEnd::from(&ended);
            assert_eq!(end.reason, reason);
            assert!(!end.words.is_empty());
        }
    }
}
