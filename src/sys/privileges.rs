//! The user that workers run as.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Group, Uid, User};

use super::acl::{self, Acl, Ids};

/// The user a worker runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's name.
    pub name: String,
    /// The user's id.
    pub uid: u32,
    /// The id of the user's primary group. A worker is a member of no other: `std::process::Command` drops
    /// those of root when it changes the user.
    pub gid: u32,
}

/// A right of a process that root has all of (`capabilities(7)`); the number is that of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// To give a file to any user.
    Chown = 0,
    /// To become a member of any group.
    SetGroup = 6,
    /// To become any user.
    SetUser = 7,
}

impl Capability {
    /// Whether this process has it; `true` where the kernel does not say.
    #[must_use]
    pub fn is_held(self) -> bool {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        held(&status).is_none_or(|held| held & (1 << self as u32) != 0)
    }
}

/// Returns the rights in force, as bits, from the text of `/proc/PID/status`.
fn held(status: &str) -> Option<u64> {
    let bits = status.lines().find_map(|it| it.strip_prefix("CapEff:"))?;
    u64::from_str_radix(bits.trim(), 16).ok()
}

/// Why no user could be chosen.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// A user was named, but only root may run workers as another user.
    #[error("`user` = \"{0}\" needs proxyd to be started as root; leave it out, or start as root")]
    NotRoot(String),
    /// Workers are to be another user, but this process may not make them that.
    #[error(
        "workers cannot run as {0}: proxyd is root but lacks CAP_SETUID or CAP_SETGID; start it with \
         these capabilities, or as the user itself"
    )]
    NoCapability(String),
    /// There is no such user.
    #[error("`user` = \"{0}\": there is no such user; create it, or name another")]
    Unknown(String),
    /// Neither the usual user nor `nobody` is there.
    #[error(
        "no user to run workers as: create the user `proxyd`, or set `user`, to a number such as \
         \"65534\" where there is no /etc/passwd"
    )]
    NoDefault,
    /// The user database did not answer.
    #[error("looking up the user `{name}`: {source}")]
    Lookup {
        /// The name that was looked up.
        name: String,
        /// What the system said.
        source: nix::Error,
    },
    /// There is no user database, so that only numbers can be used.
    #[error(
        "looking up the user `{0}`: there is no user database, /etc/passwd; name the user by a \
         number, such as \"65534\""
    )]
    NoDatabase(String),
}

/// The users tried, in order, when the configuration names none.
const DEFAULT_USERS: [&str; 2] = ["proxyd", "nobody"];

/// Returns the user that workers run as; `None` is the supervisor's user.
///
/// If the supervisor runs as root, that is `wanted`, a name or a numeric id. Without it, that is `proxyd`
/// if there is such a user, and otherwise `nobody`. Under any other user it is always `None`.
pub fn worker_account(wanted: Option<&str>) -> Result<Option<Account>, AccountError> {
    let account = choose(wanted)?;
    let may = || [Capability::SetUser, Capability::SetGroup].map(Capability::is_held) == [true; 2];
    match &account {
        Some(Account { name, uid, gid }) if (*uid, *gid) != own_ids() && !may() => {
            Err(AccountError::NoCapability(name.clone()))
        }
        _ => Ok(account),
    }
}

fn own_ids() -> (u32, u32) {
    (Uid::effective().as_raw(), Gid::effective().as_raw())
}

fn choose(wanted: Option<&str>) -> Result<Option<Account>, AccountError> {
    match wanted {
        Some(name) if Uid::effective().is_root() => find(name)?
            .map(Some)
            .ok_or_else(|| AccountError::Unknown(name.to_owned())),
        Some(name) => match find(name)? {
            Some(account) if account.uid == Uid::effective().as_raw() => Ok(None),
            Some(_) => Err(AccountError::NotRoot(name.to_owned())),
            None => Err(AccountError::Unknown(name.to_owned())),
        },
        None if Uid::effective().is_root() => default_account().map(Some),
        None => Ok(None),
    }
}

fn default_account() -> Result<Account, AccountError> {
    for name in DEFAULT_USERS {
        match find(name) {
            Ok(Some(account)) => return Ok(account),
            Ok(None) | Err(AccountError::NoDatabase(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(AccountError::NoDefault)
}

/// Finds a user by name, or by a numeric id that need not be in the user database.
fn find(name: &str) -> Result<Option<Account>, AccountError> {
    match (User::from_name(name), numeric_id(name)) {
        (Ok(Some(user)), _) => Ok(Some(user.into())),
        (_, Some(uid)) => numbered(name, uid).map(Some),
        (Ok(None), None) => Ok(None),
        (Err(error), None) => Err(unanswered(name, error)),
    }
}

/// Returns the user with this id; a user that the database does not know gets the group of the same
/// number.
fn numbered(name: &str, uid: u32) -> Result<Account, AccountError> {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => Ok(user.into()),
        Ok(None) | Err(nix::Error::ENOENT) => Ok(Account {
            name: name.to_owned(),
            uid,
            gid: uid,
        }),
        Err(error) => Err(unanswered(name, error)),
    }
}

/// Returns why the user database gave no answer: if its file is missing, the error is ENOENT and not
/// "unknown".
fn unanswered(name: &str, error: nix::Error) -> AccountError {
    let name = name.to_owned();
    match error {
        nix::Error::ENOENT => AccountError::NoDatabase(name),
        source => AccountError::Lookup { name, source },
    }
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        }
    }
}

/// Returns a text of digits as an id; not the highest number, which means "no change" (setreuid(2)).
fn numeric_id(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let id = text.parse().ok().filter(|_| digits)?;
    (id != u32::MAX).then_some(id)
}

impl Account {
    /// Returns the first folder on the way to the socket at `path` that this user may not pass, or the
    /// socket itself if the user may not use it; `None` if the user has access or nothing is there yet.
    ///
    /// Where there is an access control list that is not understood, the user is taken to have access.
    pub fn is_kept_from(&self, path: &Path) -> Option<PathBuf> {
        let folders: Vec<&Path> = path.ancestors().skip(1).collect();
        let closed = folders
            .into_iter()
            .rev()
            .find(|folder| !self.may(folder, 0o1));
        let closed = closed.or_else(|| (!self.may(path, 0o2)).then_some(path));
        closed.map(Path::to_owned)
    }

    /// Whether the user may run the program at `path`, once it is found; `true` if its access control list
    /// is not understood.
    pub fn may_run(&self, path: &Path) -> bool {
        self.may(path, 0o1)
    }

    /// Whether the user has a right, given as the lowest octal digit of a mode, to the file at `path`.
    fn may(&self, path: &Path, right: u32) -> bool {
        let Ok(metadata) = fs::metadata(path) else {
            return true;
        };
        let owner = Ids {
            uid: metadata.uid(),
            gid: metadata.gid(),
        };
        let who = Ids {
            uid: self.uid,
            gid: self.gid,
        };
        self.uid == 0
            || match Acl::of(path) {
                Acl::None => by_mode(metadata.mode(), owner, who, right),
                Acl::Posix(entries) => acl::allows(&entries, owner, who, right),
                Acl::Unknown => true,
            }
    }
}

fn by_mode(mode: u32, owner: Ids, who: Ids, right: u32) -> bool {
    let shift = match (owner.uid == who.uid, owner.gid == who.gid) {
        (true, _) => 6,
        (false, true) => 3,
        (false, false) => 0,
    };
    mode & (right << shift) != 0
}

/// Whether this process may give its files to a group.
#[must_use]
pub fn may_give_to(group: u32) -> bool {
    let member = || {
        let groups = rustix::process::getgroups().unwrap_or_default();
        groups.iter().any(|it| it.as_raw() == group)
    };
    Gid::effective().as_raw() == group || member() || Capability::Chown.is_held()
}

/// Finds a group's id by its name; `None` if there is no such group.
///
/// The error is a sentence for people.
pub fn group_id(name: &str) -> Result<Option<u32>, String> {
    match Group::from_name(name) {
        Ok(group) => Ok(group.map(|group| Gid::as_raw(group.gid))),
        Err(nix::Error::ENOENT) => {
            Err("there is no group database: /etc/group does not exist".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_number_is_a_user_whom_the_database_need_not_know() {
        let account = find("4000000123").unwrap().unwrap();
        assert_eq!((account.uid, account.gid), (4_000_000_123, 4_000_000_123));
        assert_eq!(find("0").unwrap().unwrap().name, "root");
        for name in ["4294967295", "4294967296", "-1", "+1", "1x", ""] {
            assert_eq!(find(name).unwrap(), None, "{name}");
        }
    }

    #[test]
    fn capabilities_are_read_from_the_status() {
        let bits = held("Name:\tx\nCapEff:\t00000000a80425fb\n").unwrap();
        assert_ne!(bits & (1 << Capability::SetUser as u32), 0);
        assert_eq!(held("Name:\tx\n"), None);
    }

    #[test]
    fn a_database_that_is_not_there_is_named() {
        let told = unanswered("it", nix::Error::ENOENT).to_string();
        assert!(told.contains("/etc/passwd"), "{told}");
    }

    #[test]
    fn a_folder_that_is_closed_to_others_is_named() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let socket = inner.join("socket");
        fs::write(&socket, "").unwrap();
        let stranger = Account {
            name: "stranger".to_owned(),
            uid: u32::MAX - 1,
            gid: u32::MAX - 1,
        };
        let ask = |folder: u32, end: u32| {
            let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
            set(outer.path(), 0o755).unwrap();
            set(&inner, folder).unwrap();
            set(&socket, end).unwrap();
            stranger.is_kept_from(&socket)
        };
        assert_eq!(ask(0o750, 0o777), Some(inner.clone()));
        assert_eq!(ask(0o755, 0o755), Some(socket.clone()));
        assert_eq!(ask(0o711, 0o777), None);
        assert_eq!(stranger.is_kept_from(&inner.join("absent")), None);
    }

    #[test]
    fn an_access_control_list_counts_before_the_mode() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let account = |id| Account {
            name: "stranger".to_owned(),
            uid: id,
            gid: id,
        };
        let (named, other) = (account(4_000_000_123), account(4_000_000_124));
        // As the kernel writes it: owner, named user, owning group, mask, others.
        let entry = |(tag, rights, id): (u16, u16, u32)| {
            let words = [tag.to_le_bytes(), rights.to_le_bytes()].concat();
            [words, id.to_le_bytes().to_vec()].concat()
        };
        let set = |user: u16, others: u16| {
            let rest = u32::MAX;
            let list = [(1, 7, rest), (2, user, named.uid), (4, 5, rest)];
            let list = [&list[..], &[(0x10, 5, rest), (0x20, others, rest)]].concat();
            let entries: Vec<u8> = list.into_iter().flat_map(entry).collect();
            let text = [&2_u32.to_le_bytes()[..], &entries].concat();
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(file.path(), "system.posix_acl_access", &text, flags)
        };
        if set(5, 0) == Err(rustix::io::Errno::OPNOTSUPP) {
            return;
        }
        assert!(named.may_run(file.path()));
        assert!(!other.may_run(file.path()));
        set(0, 5).unwrap();
        assert!(!named.may_run(file.path()));
        assert!(other.may_run(file.path()));
    }
}
