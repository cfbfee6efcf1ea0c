//! Who may use the control socket.
//!
//! The socket's mode keeps others out already; this is the second lock, and the one that knows
//! whom it turned away. It trusts only what the kernel says of a peer. That is not enough where workers run
//! as the daemon's own user: a worker that was taken over must not ask, nor what it has started. So the
//! daemon's children are refused, and every client must show a cookie that confined processes cannot read.

use std::{
    ffi::CString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::unistd::{Gid, Uid, User, getgrouplist};
use tokio::{net::UnixStream, task::spawn_blocking, time::timeout};

use super::cookie::{self, Cookie};
use crate::sys::own_children::OwnChildren;

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

/// Who may ask: root, the daemon's own user, and the members of one group, if they can show the cookie; but
/// not the daemon's own children.
#[derive(Debug, Clone)]
pub struct Access {
    own: u32,
    group: Option<u32>,
    cookie: Cookie,
    cookie_file: PathBuf,
    children: OwnChildren,
}

impl Access {
    /// Returns the rule for a daemon that runs as the current user and listens at `socket`.
    #[must_use]
    pub fn new(socket: &Path, group: Option<u32>, cookie: Cookie, children: OwnChildren) -> Self {
        Self {
            own: Uid::effective().as_raw(),
            group,
            cookie,
            cookie_file: cookie::path(socket),
            children,
        }
    }

    /// Returns the child of the daemon that `peer` is or belongs to, if it is one that may not ask.
    #[must_use]
    pub fn own_child(&self, peer: Peer) -> Option<u32> {
        self.children.behind(u32::try_from(peer.pid?).ok()?)
    }

    /// Returns whether a client has shown the daemon's cookie.
    #[must_use]
    pub fn knows(&self, shown: &Cookie) -> bool {
        self.cookie.is(shown)
    }

    /// Returns what to tell a client that showed no cookie.
    #[must_use]
    pub fn demand(&self) -> String {
        format!(
            "proxyd answers clients that show its cookie, which is in {}; run proxyctl where it can read \
             that file: in a container, mount the folder of the socket, or the cookie beside the socket",
            self.cookie_file.display()
        )
    }

    /// Returns what to tell a client that showed another cookie.
    #[must_use]
    pub fn wrong_cookie(&self) -> String {
        format!(
            "the cookie is not that of this proxyd, which is in {}; proxyd writes another at each start, so \
             read that file again: in a container, mount the folder of the socket, not single files",
            self.cookie_file.display()
        )
    }

    /// Returns whether `peer` may ask.
    pub async fn admits(&self, peer: Peer) -> bool {
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
    pub fn refusal(&self, peer: Peer) -> String {
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

    fn access(group: Option<u32>) -> Access {
        let cookie = Cookie::random().unwrap();
        let rule = Access::new("/run/s".as_ref(), group, cookie, OwnChildren::default());
        Access { own: 1234, ..rule }
    }

    #[tokio::test]
    async fn root_and_the_own_user_may_and_strangers_may_not() {
        let access = access(None);
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
        let access = access(Some(STRANGER.gid));
        assert!(access.admits(STRANGER).await);
        assert!(!access.admits(Peer { gid: 5, ..STRANGER }).await);
    }

    #[test]
    fn a_child_of_the_daemon_is_known_whatever_its_user() {
        let access = access(None);
        let peer = Peer {
            pid: Some(i32::MAX),
            ..STRANGER
        };
        assert_eq!(access.own_child(peer), None);
        let _listed = access.children.add(i32::MAX.unsigned_abs());
        assert_eq!(access.own_child(peer), Some(i32::MAX.unsigned_abs()));
        assert_eq!(access.own_child(STRANGER), None);
    }

    #[test]
    fn what_is_told_about_the_cookie_names_its_file() {
        let access = access(None);
        for told in [access.demand(), access.wrong_cookie()] {
            assert!(told.contains("/run/s.cookie"), "{told}");
        }
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
