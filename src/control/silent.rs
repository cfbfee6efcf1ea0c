//! Clients that connect and have not shown the cookie.

use std::{collections::VecDeque, time::Duration};

use tokio::{sync::oneshot, time::Instant};

/// How long a connection may go without the cookie before it has to give way to another client. `proxyctl`
/// speaks first, before it is accepted, and then needs as long as it takes to read a small file.
pub(super) const SILENCE: Duration = Duration::from_millis(100);

/// Connections that have not shown the cookie, the oldest first. Each gives way to another client
/// when there is no room, or no descriptor, for that one.
#[derive(Debug, Default)]
pub(super) struct Silent(VecDeque<(Instant, oneshot::Sender<()>)>);

impl Silent {
    /// Takes a connection; what is returned ends when it has to give way.
    pub(super) fn enter(&mut self) -> oneshot::Receiver<()> {
        self.0.retain(|(_, connection)| !connection.is_closed());
        let (connection, sent_away) = oneshot::channel();
        self.0.push_back((Instant::now(), connection));
        sent_away
    }

    /// Sends the oldest connection away, unless it had no time to show the cookie.
    pub(super) fn send_one_away(&mut self) {
        self.0.retain(|(_, connection)| !connection.is_closed());
        if self
            .0
            .front()
            .is_some_and(|(since, _)| since.elapsed() >= SILENCE)
        {
            self.0.pop_front();
        }
    }
}
