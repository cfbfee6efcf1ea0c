//! The end of a session that came to nothing.

use std::{io, time::Duration};

use tokio::time::timeout;

use super::leg::{Leg, LegError};

/// Whether a client left without having said anything, as health checks do.
pub fn is_silence(error: &LegError, received: usize) -> bool {
    match error {
        LegError::Ended => received == 0,
        LegError::Io(error) => received == 0 && error.kind() == io::ErrorKind::ConnectionReset,
        LegError::Tls(_) | LegError::FailedBefore | LegError::TooLong | LegError::Dead(_) => false,
    }
}

/// Says goodbye to a client whose session came to nothing.
///
/// What the client sends meanwhile is read and forgotten, because closing a socket with unread
/// bytes resets it, and the reset can overtake the goodbye.
pub async fn lingering_close(client: &mut Leg, words: &[u8]) {
    const PATIENCE: Duration = Duration::from_secs(1);
    const MOST: usize = 64 * 1024;
    let goodbye = async {
        client.send(words).await?;
        client.close().await?;
        let mut ignored = Vec::new();
        while ignored.len() < MOST {
            client.receive(&mut ignored).await?;
        }
        Ok::<(), LegError>(())
    };
    // A client that does not listen cannot be told.
    let _ = timeout(PATIENCE, goodbye).await;
}
