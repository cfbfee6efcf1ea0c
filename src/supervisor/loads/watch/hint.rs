//! Change events from the kernel (inotify(7)): a hint to look at the files at once, never the truth.
//!
//! Watches run out, queues overflow, and network file systems do not report what other machines
//! write. Each of these only delays a load until the next comparison, so none of them is an error.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fmt, io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use nix::sys::statfs::statfs;
use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};
use tokio::{io::unix::AsyncFd, time::sleep};

use super::hops::{Folders, Names};

/// The events that mean that a folder itself was moved or removed.
const ITSELF: WatchFlags = WatchFlags::DELETE_SELF.union(WatchFlags::MOVE_SELF);

/// The events that mean that a name in a folder leads to something else, or its file was written to.
const ENTRIES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE);

/// How to add a watch: to those there are, because a folder that is mounted twice may be watched for
/// two reasons under two names.
const HOW: WatchFlags = WatchFlags::ONLYDIR.union(WatchFlags::MASK_ADD);

/// How long events gather before they are read, so that a busy folder does not wake the supervisor
/// for each.
const GATHER: Duration = Duration::from_millis(20);

/// Bytes read at one time: room for more than a hundred events.
const SPACE: usize = 4096;

/// Reads before other tasks have their turn.
const READS: usize = 256;

/// Why the kernel does not report all changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It reports none.
    Deaf(Errno),
    /// It reports none in this folder, and perhaps in others.
    Unwatched(PathBuf, Errno),
    /// This folder, and perhaps others, are on a file system that other machines write to.
    Remote(PathBuf),
}

impl Trouble {
    /// Whether this is the same kind of trouble as `other`, so that the log need not repeat it.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deaf(Errno::MFILE) => f.write_str(
                "the kernel has no inotify instance left for this user; raise \
                 fs.inotify.max_user_instances",
            ),
            Self::Deaf(error) => write!(f, "inotify does not work: {error}"),
            Self::Unwatched(folder, Errno::NOSPC) => write!(
                f,
                "the kernel has no inotify watch left for {}; raise fs.inotify.max_user_watches",
                folder.display()
            ),
            Self::Unwatched(folder, error) => {
                write!(f, "{} cannot be watched: {error}", folder.display())
            }
            Self::Remote(folder) => write!(
                f,
                "{} is on a network file system, where the kernel may not report changes",
                folder.display()
            ),
        }
    }
}

/// A folder that the kernel watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watch {
    names: Names,
    remote: bool,
}

/// Watched folders, by the kernel's watch descriptors.
pub(super) type Watches = HashMap<i32, Watch>;

/// The inotify instance, to which a thread that may block adds watches.
pub(super) type Instance = Arc<OwnedFd>;

/// A change of a name that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// A file was written to, and the writer may not be done.
    Writing(Entry),
    /// A file was closed after writing, or its name leads elsewhere now.
    Done(Entry),
    /// Another change, because of which the files should be compared.
    Stir,
}

/// A name in a watched folder.
pub(super) type Entry = (i32, OsString);

/// The receiver of the kernel's events. It receives none before [`aim`] was called, and none where
/// that fails.
#[derive(Debug, Default)]
pub(super) struct Hint {
    ear: Option<AsyncFd<Instance>>,
    watches: Watches,
}

/// The result of [`aim`].
#[derive(Debug)]
pub(super) struct Aimed {
    instance: Option<Instance>,
    watches: Watches,
    trouble: Option<Trouble>,
}

impl Hint {
    /// Returns what [`aim`] needs. Events are ignored until [`Self::take`] is called with the result.
    pub(super) fn lend(&mut self) -> (Option<Instance>, Watches) {
        let instance = self.ear.as_ref().map(|ear| Arc::clone(ear.get_ref()));
        (instance, std::mem::take(&mut self.watches))
    }

    /// Listens to the new watches; returns why the kernel does not report all changes, if so.
    pub(super) fn take(&mut self, aimed: Aimed) -> Option<Trouble> {
        self.watches = aimed.watches;
        if let (None, Some(instance)) = (&self.ear, aimed.instance) {
            match listen_at(instance) {
                Ok(ear) => self.ear = Some(ear),
                Err(error) => return Some(Trouble::Deaf(errno(&error))),
            }
        }
        aimed.trouble
    }

    /// Returns whether the kernel has been asked for events.
    pub(super) fn is_listening(&self) -> bool {
        self.ear.is_some()
    }

    /// Returns what has been reported since the last call of this or of [`Self::listen`].
    pub(super) fn heard(&mut self) -> Vec<Heard> {
        let Some(ear) = &self.ear else {
            return Vec::new();
        };
        read(ear.get_ref(), &mut self.watches).0
    }

    /// Waits until something is heard; for ever if that cannot be.
    pub(super) async fn listen(&mut self) -> Vec<Heard> {
        let Some(ear) = &self.ear else {
            return std::future::pending().await;
        };
        let Ok(mut ready) = ear.readable().await else {
            // The runtime is ending.
            return std::future::pending().await;
        };
        sleep(GATHER).await;
        let (heard, more) = read(ear.get_ref(), &mut self.watches);
        if !more {
            ready.clear_ready();
        }
        heard
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, for a promise that an owned descriptor keeps"
)]
fn listen_at(instance: Instance) -> io::Result<AsyncFd<Instance>> {
    AsyncFd::new(instance)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::INVAL)
}

/// Reads the kernel's events; also returns whether there may be more.
fn read(instance: &OwnedFd, watches: &mut Watches) -> (Vec<Heard>, bool) {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut reader = Reader::new(instance, &mut space);
    let (mut heard, mut reads) = (Vec::new(), 0);
    loop {
        if reader.is_buffer_empty() {
            if reads == READS {
                return (heard, true);
            }
            reads += 1;
        }
        match reader.next() {
            Ok(event) => {
                let name = event
                    .file_name()
                    .map(|name| OsStr::from_bytes(name.to_bytes()));
                heard.extend(understand(event.wd(), event.events(), name, watches));
            }
            Err(Errno::INTR) => {}
            Err(_) => return (heard, false),
        }
    }
}

/// Returns what an event means; `None` if it does not matter.
fn understand(
    watch: i32,
    what: ReadFlags,
    name: Option<&OsStr>,
    watches: &mut Watches,
) -> Option<Heard> {
    if what.contains(ReadFlags::QUEUE_OVERFLOW) {
        return Some(Heard::Stir);
    }
    if what.contains(ReadFlags::IGNORED) {
        // The kernel dropped this watch. A watch that the supervisor dropped is no longer in the map.
        return watches.remove(&watch).map(|_| Heard::Stir);
    }
    let names = &watches.get(&watch)?.names;
    let Some(name) = name else {
        return Some(Heard::Stir);
    };
    if !names.hold(name) {
        return None;
    }
    let entry = (watch, name.to_owned());
    Some(if what.contains(ReadFlags::MODIFY) {
        Heard::Writing(entry)
    } else if what.contains(ReadFlags::ATTRIB) {
        Heard::Stir
    } else {
        Heard::Done(entry)
    })
}

/// Watches `folders()` instead of what was watched before. Blocks.
///
/// A change between the call of `folders()` and the adding of its watches would go unnoticed, so this
/// is repeated until a call finds all its folders watched already.
pub(super) fn aim(
    instance: Option<Instance>,
    before: Watches,
    mut folders: impl FnMut() -> Folders,
) -> Aimed {
    /// A bound, because folders may be exchanged all the time; the next comparison comes soon.
    const TRIES: usize = 4;

    let flags = CreateFlags::NONBLOCK | CreateFlags::CLOEXEC;
    let instance = match instance.map_or_else(|| inotify::init(flags).map(Arc::new), Ok) {
        Ok(instance) => instance,
        Err(error) => {
            return Aimed {
                instance: None,
                watches: Watches::new(),
                trouble: Some(Trouble::Deaf(error)),
            };
        }
    };
    let (mut watches, mut trouble) = (before, None);
    for _ in 0..TRIES {
        let (now, found) = add(&instance, &folders(), &watches);
        trouble = found;
        let settled = now == watches;
        for gone in watches.keys().filter(|gone| !now.contains_key(gone)) {
            // The watch may be gone together with its folder.
            let _ = inotify::remove_watch(&*instance, *gone);
        }
        watches = now;
        if settled {
            break;
        }
    }
    Aimed {
        instance: Some(instance),
        watches,
        trouble,
    }
}

/// Adds watches for all folders, including those watched already: another folder may have taken the
/// path meanwhile.
fn add(instance: &OwnedFd, folders: &Folders, before: &Watches) -> (Watches, Option<Trouble>) {
    let mut watches = Watches::new();
    let (mut refused, mut remote) = (None, None);
    for (folder, names) in folders {
        let entries = if names.any() {
            ENTRIES
        } else {
            WatchFlags::empty()
        };
        match inotify::add_watch(instance, folder, HOW | ITSELF | entries) {
            Ok(number) => {
                let watch = watches.entry(number).or_insert_with(|| Watch {
                    names: names.clone(),
                    remote: match before.get(&number) {
                        Some(known) => known.remote,
                        None => is_remote(folder),
                    },
                });
                watch.names.join(names);
                if watch.remote && names.any() && remote.is_none() {
                    remote = Some(Trouble::Remote(folder.clone()));
                }
            }
            // The folder has just gone, which the next call of `folders()` will show.
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => refused = refused.or(Some(Trouble::Unwatched(folder.clone(), error))),
        }
    }
    (watches, refused.or(remote))
}

/// Whether a folder is on a file system that other machines may write to without this kernel's
/// knowledge.
fn is_remote(folder: &std::path::Path) -> bool {
    /// AFS (two of them), 9P, Ceph, CIFS, Coda, FUSE, GFS2, GPFS, Lustre, NCP, NFS, OCFS2, SMB
    /// (two of them), as statfs(2) and the kernel's magic.h number them.
    const REMOTE: [u32; 15] = [
        0x5346_414f,
        0x6b41_4653,
        0x0102_1997,
        0x00c3_6400,
        0xff53_4d42,
        0x7375_7245,
        0x6573_5546,
        0x0116_1970,
        0x4750_4653,
        0x0bd0_0bd0,
        0x0000_564c,
        0x0000_6969,
        0x7461_636f,
        0x0000_517b,
        0xfe53_4d42,
    ];
    statfs(folder).is_ok_and(|about| {
        let number = about.filesystem_type().0 & 0xffff_ffff;
        REMOTE.iter().any(|remote| i64::from(*remote) == number)
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs, path::Path};

    use super::*;

    fn only(folder: &Path, name: &str) -> Folders {
        let names = Names::Only(HashSet::from([OsString::from(name)]));
        Folders::from([(folder.to_owned(), names)])
    }

    /// Returns an instance that watches one name in a folder.
    fn listening(folder: &Path, name: &str) -> (Instance, Watches) {
        let aimed = aim(None, Watches::new(), || only(folder, name));
        assert_eq!(aimed.trouble, None);
        assert_eq!(aimed.watches.len(), 1);
        (aimed.instance.unwrap(), aimed.watches)
    }

    #[test]
    fn only_names_that_matter_are_heard() {
        let folder = tempfile::tempdir().unwrap();
        let (instance, mut watches) = listening(folder.path(), "cert");
        fs::write(folder.path().join("other"), "x").unwrap();
        assert_eq!(read(&instance, &mut watches), (Vec::new(), false));
        fs::write(folder.path().join("cert"), "x").unwrap();
        let entry = (*watches.keys().next().unwrap(), OsString::from("cert"));
        let expected = [
            Heard::Done(entry.clone()),
            Heard::Writing(entry.clone()),
            Heard::Done(entry),
        ];
        assert_eq!(read(&instance, &mut watches).0, expected);
    }

    #[test]
    fn a_folder_that_moves_or_goes_is_heard() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let (instance, mut watches) = listening(&folder, "cert");
        fs::rename(&folder, place.path().join("away")).unwrap();
        assert_eq!(read(&instance, &mut watches).0, [Heard::Stir]);
        fs::remove_dir(place.path().join("away")).unwrap();
        let heard = read(&instance, &mut watches).0;
        assert_eq!(heard, [Heard::Stir, Heard::Stir]);
        assert!(watches.is_empty());
    }

    #[test]
    fn another_folder_of_the_same_name_gets_the_watch() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let (instance, watches) = listening(&folder, "cert");
        fs::rename(&folder, place.path().join("away")).unwrap();
        fs::create_dir(&folder).unwrap();
        let aimed = aim(Some(Arc::clone(&instance)), watches, || {
            only(&folder, "cert")
        });
        let mut watches = aimed.watches;
        let (_, more) = read(&instance, &mut watches);
        assert!(!more);
        fs::write(place.path().join("away/cert"), "x").unwrap();
        assert_eq!(read(&instance, &mut watches).0, []);
        fs::write(folder.join("cert"), "x").unwrap();
        assert_eq!(read(&instance, &mut watches).0.len(), 3);
    }

    #[test]
    fn the_question_is_asked_until_the_watches_came_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut asked = 0;
        let aimed = aim(None, Watches::new(), || {
            asked += 1;
            only(folder.path(), if asked == 1 { "old" } else { "new" })
        });
        assert_eq!(asked, 3);
        let watch = aimed.watches.values().next().unwrap();
        assert!(watch.names.hold(OsStr::new("new")));
    }

    #[test]
    fn a_queue_that_overflowed_is_a_reason_to_look() {
        let folder = tempfile::tempdir().unwrap();
        let (instance, mut watches) = listening(folder.path(), "cert");
        let length = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let length: usize = length.trim().parse().unwrap();
        let names = ["one", "two"].map(|name| folder.path().join(name));
        // Two names in turn: the kernel merges two equal events that follow one another.
        for number in 0..=length {
            fs::File::create(&names[number % 2]).unwrap();
        }
        let mut heard = Vec::new();
        loop {
            let (some, more) = read(&instance, &mut watches);
            heard.extend(some);
            if !more {
                break;
            }
        }
        assert_eq!(heard, [Heard::Stir]);
    }

    #[test]
    fn what_cannot_be_watched_is_told_with_what_to_do() {
        let troubles = [
            (Trouble::Deaf(Errno::MFILE), "max_user_instances"),
            (Trouble::Deaf(Errno::NOSYS), "inotify does not work"),
            (
                Trouble::Unwatched("/tls".into(), Errno::NOSPC),
                "watch left for /tls; raise fs.inotify.max_user_watches",
            ),
            (
                Trouble::Unwatched("/tls".into(), Errno::ACCESS),
                "/tls cannot be watched: Permission denied",
            ),
            (Trouble::Remote("/tls".into()), "/tls is on a network"),
        ];
        for (trouble, words) in &troubles {
            assert!(trouble.to_string().contains(words), "{trouble}");
        }
        assert!(troubles[0].0.is_like(&troubles[1].0));
        assert!(!troubles[1].0.is_like(&troubles[2].0));
    }

    #[test]
    fn local_folders_are_not_remote() {
        assert!(!is_remote(Path::new("/proc")));
        assert!(!is_remote(Path::new("/nowhere")));
    }
}
