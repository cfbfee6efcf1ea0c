//! The last words of a session to both sides.

use std::time::Duration;

use super::ended::{Ended, SecondLoginFault};
use crate::session::{
    leg::{Leg, LegError},
    lingering_close::lingering_close,
};

/// How long a session that failed may take to say goodbye.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Tells both sides that the session has ended, except the one that failed, as far as they can be told.
pub(super) async fn say_goodbye(ended: &Ended, client: &mut Leg, backend: &mut Leg) {
    let telling = async {
        match ended {
            Ended::Closed | Ended::ClientClosed | Ended::BackendClosed => {}
            Ended::Client(error) => say_goodbye_behind(client, error, backend).await,
            Ended::Backend(error) => say_goodbye_behind(backend, error, client).await,
            Ended::SecondLogin(end) => {
                if matches!(end.fault, SecondLoginFault::Client(_)) {
                    let _ = backend.close().await;
                } else {
                    let _ = tokio::join!(lingering_close(client, &end.words), backend.close());
                }
            }
            Ended::Idle | Ended::HalfClosed | Ended::Stopped(_) => {
                for leg in [&mut *client, &mut *backend] {
                    // It does not have all there was.
                    if leg.is_held_up() {
                        leg.cut();
                    }
                }
                let _ = tokio::join!(client.close(), backend.close());
            }
        }
    };
    // A peer that does not listen cannot be told.
    let _ = tokio::time::timeout(LAST_WORDS, telling).await;
}

/// Tells one leg of the end of the other, which failed, and whether it was cut.
async fn say_goodbye_behind(failed: &mut Leg, error: &LegError, other: &mut Leg) {
    if failed.tls().is_some() && !error.is_told() {
        other.cut();
    }
    if matches!(error, LegError::Dead(_)) {
        failed.socket().give_up();
    }
    let alerting = async {
        // The alert may wait behind what the peer has not taken yet.
        if error.is_tls() {
            let _ = failed.flush().await;
        }
    };
    let _ = tokio::join!(alerting, other.close());
}
