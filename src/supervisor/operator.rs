//! The names of operators, for log lines and events.

use std::time::Duration;

use nix::unistd::{Uid, User};
use tokio::{task::spawn_blocking, time::timeout};

use super::workers::text;

/// How long the system's user database may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns the name of a user; its number if the system does not say the name in time.
pub(super) async fn name(uid: u32) -> String {
    if uid == 0 {
        return "root".to_owned();
    }
    let user = spawn_blocking(move || User::from_uid(Uid::from_raw(uid)));
    match timeout(PATIENCE, user).await {
        Ok(Ok(Ok(Some(user)))) => text(user.name),
        _ => format!("uid {uid}"),
    }
}
