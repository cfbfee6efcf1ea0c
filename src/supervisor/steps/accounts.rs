//! The user that workers run as, and the group that may use the control socket.

use super::{Findings, Ground};
use crate::{
    config::Config,
    supervisor::refusal::Refusal,
    sys::privileges::{self, Account},
};

pub(super) fn attempt(ground: &Ground<'_>, findings: &mut Findings) {
    match ground.account() {
        Err(error) => findings.obstacle(error),
        Ok(account) => {
            if let Err(error) = check_groups(ground.config, account.as_ref()) {
                findings.obstacle(error);
            }
        }
    }
}

/// Returns the user that workers run as; `None` is the supervisor's.
pub(in crate::supervisor) fn account(config: &Config) -> Result<Option<Account>, Refusal> {
    privileges::worker_account(config.user.as_deref()).map_err(|error| error.to_string())
}

/// Fails if the configuration makes workers members of the group that may use the control socket: an
/// attacker who controls a worker could then have commands run as root.
pub(super) fn check_groups(config: &Config, account: Option<&Account>) -> Result<(), Refusal> {
    let group = control_group(config)?;
    match (group, account) {
        (Some(group), Some(account)) if config.user.is_some() && account.gid == group => {
            Err(format!(
                "control_group is the group that workers run in as `user` = \"{}\"; name another, or \
             an attacker who controls a worker could command the supervisor",
                account.name
            ))
        }
        _ => Ok(()),
    }
}

/// Returns the id of the group that may use the control socket.
pub(super) fn control_group(config: &Config) -> Result<Option<u32>, Refusal> {
    let Some(name) = &config.control_group else {
        return Ok(None);
    };
    privileges::group_id(name)
        .map_err(|error| format!("control_group \"{name}\": {error}"))?
        .ok_or_else(|| format!("control_group \"{name}\": there is no such group"))
        .map(Some)
}
