//! Who may use the control socket.
//!
//! The socket's mode keeps others out already; this is the second lock, and the one that knows
//! whom it turned away. It trusts only what the kernel says of a peer.

use std::{ffi::CString, io, time::Duration};

use nix::unistd::{Gid, Uid, User, getgrouplist};
use tokio::{net::UnixStream, task::spawn_blocking, time::timeout};

const LOOK_UP_DEADLINE: Duration = Duration::from_secs(2);

/// The process at the other end of a control connection, as it was when it connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Its process id.
    pub pid: Option<i32>,
}

impl Peer {
    /// Asks the kernel who is at the other end of `stream`.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid(),
        })
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "uid {}", self.uid)?;
        match self.pid {
            Some(pid) => write!(f, " (pid {pid})"),
            None => Ok(()),
        }
    }
}

/// Who may ask: root, the daemon's own user, and the members of one group.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    own: u32,
    group: Option<u32>,
}

impl Access {
    /// Returns the rule for a daemon that runs as the current user.
    #[must_use]
    pub fn new(group: Option<u32>) -> Self {
        Self {
            own: Uid::effective().as_raw(),
            group,
        }
    }

    /// Returns whether `peer` may ask.
    pub async fn admits(self, peer: Peer) -> bool {
        if peer.uid == 0 || peer.uid == self.own {
            return true;
        }
        match self.group {
            None => false,
            Some(group) if group == peer.gid => true,
            Some(group) => is_member(peer, group).await,
        }
    }

    /// Returns what to tell a peer who may not.
    #[must_use]
    pub fn refusal(self, peer: Peer) -> String {
        let group = match self.group {
            Some(group) => format!("a member of group {group} (control_group)"),
            None => "a member of the control_group, once one is configured".to_owned(),
        };
        let (uid, own) = (peer.uid, self.own);
        format!(
            "uid {uid} may not control proxyd; run proxyctl as root, as uid {own}, or as {group}"
        )
    }
}

/// Asks the kernel first, then the user database.
///
/// The database is asked beside the loop, because a directory service may be slow.
async fn is_member(peer: Peer, group: u32) -> bool {
    if peer
        .pid
        .is_some_and(|pid| supplementary(pid).contains(&group))
    {
        return true;
    }
    let looked_up = spawn_blocking(move || groups(peer));
    match timeout(LOOK_UP_DEADLINE, looked_up).await {
        Ok(Ok(Ok(groups))) => groups.contains(&Gid::from_raw(group)),
        _ => false,
    }
}

/// Returns the supplementary groups of a process (proc(5)); none of one that has ended.
///
/// The socket's mode has let it connect by these groups already: should another process have its
/// id by now, that one is not let in by them alone.
fn supplementary(pid: i32) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    let numbers = groups.unwrap_or_default().split_whitespace();
    numbers.filter_map(|number| number.parse().ok()).collect()
}

fn groups(peer: Peer) -> nix::Result<Vec<Gid>> {
    let Some(user) = User::from_uid(Uid::from_raw(peer.uid))? else {
        return Ok(Vec::new());
    };
    let name = CString::new(user.name).map_err(|_| nix::Error::EINVAL)?;
    getgrouplist(&name, Gid::from_raw(peer.gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: Peer = Peer {
        uid: 4_000_000_001,
        gid: 4_000_000_002,
        pid: None,
    };

    #[tokio::test]
    async fn root_and_the_own_user_may_and_strangers_may_not() {
        let access = Access {
            own: 1234,
            group: None,
        };
        assert!(access.admits(Peer { uid: 0, ..STRANGER }).await);
        assert!(
            access
                .admits(Peer {
                    uid: 1234,
                    ..STRANGER
                })
                .await
        );
        assert!(!access.admits(STRANGER).await);
        assert!(access.refusal(STRANGER).contains("uid 4000000001 may not"));
    }

    #[tokio::test]
    async fn members_of_the_group_may() {
        let access = Access {
            own: 1234,
            group: Some(STRANGER.gid),
        };
        assert!(access.admits(STRANGER).await);
        assert!(!access.admits(Peer { gid: 5, ..STRANGER }).await);
    }

    #[test]
    fn supplementary_groups_come_from_the_user_database() {
        let root = Peer {
            uid: 0,
            gid: 77,
            pid: None,
        };
        assert!(groups(root).unwrap().contains(&Gid::from_raw(77)));
    }
}
