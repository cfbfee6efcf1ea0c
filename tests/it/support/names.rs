//! Names of the test's own: a name server, and a place where the daemon asks no other.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, Permissions},
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tempfile::TempDir;

use super::{inside::Place, pause};

/// Files of the machine that programs in the place need.
const KEPT: [&str; 3] = ["passwd", "group", "ld.so.cache"];

/// Files of the place's own.
const OWN: [(&str, &str); 3] = [
    (
        "nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\n",
    ),
    ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("resolv.conf", "nameserver 127.0.0.1\n"),
];

/// Lets the test see its own `/etc`, which it may change, and an empty `/run`.
const PREPARE: &str = "mount --bind \"$1\" /etc\nmount -t tmpfs -o mode=755 none /run";

/// Whether this is where the network and the names are the test's own. Outside it runs the test of this
/// name there, and the answer is no.
#[track_caller]
pub(crate) fn has_own_names(test: &str) -> bool {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    for kept in KEPT {
        let copy = folder.path().join(kept);
        // A machine without it needs none.
        if let Ok(contents) = fs::read(Path::new("/etc").join(kept)) {
            fs::write(copy, contents).unwrap();
        }
    }
    for (name, contents) in OWN {
        fs::write(folder.path().join(name), contents).unwrap();
    }
    let place = Place {
        own: &["--net", "--mount"],
        prepare: PREPARE,
        arguments: &[OsString::from(folder.path())],
    };
    let is_here = place.is_here(test);
    if is_here {
        raise_loopback();
    }
    is_here
}

/// Gives the loopback interface of a new network its addresses, as it gets them when it is raised
/// (rtnetlink(7)).
fn raise_loopback() {
    const RTM_NEWLINK: u16 = 16;
    const REQUEST_WITH_ANSWER: u16 = 1 | 4;
    const UP: u32 = 1;
    let mut message = Vec::new();
    message.extend(32_u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(REQUEST_WITH_ANSWER.to_ne_bytes());
    // Its sequence number and the port of the sender, then the family and kind of the interface.
    message.extend([0; 12]);
    message.extend(1_u32.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    let netlink = Socket::new(Domain::from(16), Type::RAW, Some(Protocol::from(0))).unwrap();
    netlink.send(&message).unwrap();
    let mut answer = [std::mem::MaybeUninit::uninit(); 64];
    netlink.recv(&mut answer).unwrap();
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).expect("the loopback interface is up");
}

/// Has `/etc/resolv.conf` lead to a file that says what it said.
pub(crate) fn lead_to(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::copy("/etc/resolv.conf", path).unwrap();
    fs::remove_file("/etc/resolv.conf").unwrap();
    symlink(path, "/etc/resolv.conf").unwrap();
}

/// How a name server answers for a name.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// These are its addresses.
    Addresses(Vec<IpAddr>),
    /// These are its addresses, after a while.
    Late(Duration, Vec<IpAddr>),
    /// Nothing at all.
    Nothing,
    /// Bytes that are no answer.
    Rubbish,
    /// These are the addresses, in an answer to another question.
    Stray(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// It cannot tell.
    Failure,
}

/// Codes of answers (RFC 1035, section 4.1.1).
const NO_ERROR: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NAME_ERROR: u8 = 3;

/// The kinds of records that are asked for.
const A: [u8; 2] = [0, 1];
const AAAA: [u8; 2] = [0, 28];

/// A name server on 127.0.0.1. Names that it was not told of do not exist.
#[derive(Debug)]
pub(crate) struct NameServer(Arc<Mutex<Names>>);

#[derive(Debug, Default)]
struct Names {
    says: HashMap<String, Says>,
    asked: HashMap<String, usize>,
}

impl NameServer {
    /// Starts it where [`has_own_names`] has programs ask.
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).unwrap();
        let names = Arc::new(Mutex::new(Names::default()));
        let server = Self(Arc::clone(&names));
        thread::spawn(move || {
            let socket = Arc::new(socket);
            let mut space = [0; 512];
            while let Ok((read, from)) = socket.recv_from(&mut space) {
                let Some(question) = Question::of(&space[..read]) else {
                    continue;
                };
                let says = names.lock().unwrap().ask(&question);
                let Some(answer) = question.answer(&says) else {
                    continue;
                };
                let socket = Arc::clone(&socket);
                thread::spawn(move || {
                    if let Says::Late(time, _) = says {
                        pause(time);
                    }
                    match socket.send_to(&answer, from) {
                        Err(error) if error.kind() != ErrorKind::ConnectionRefused => {
                            panic!("an answer could not be sent: {error}")
                        }
                        _ => {}
                    }
                });
            }
        });
        server
    }

    /// Says this for a name from now on.
    pub(crate) fn set(&self, name: &str, says: Says) {
        self.0.lock().unwrap().says.insert(name.to_owned(), says);
    }

    /// Returns how often it was asked for the IPv4 addresses of a name.
    pub(crate) fn asked(&self, name: &str) -> usize {
        let names = self.0.lock().unwrap();
        names.asked.get(name).copied().unwrap_or(0)
    }
}

impl Names {
    fn ask(&mut self, question: &Question) -> Says {
        if question.kind == A {
            *self.asked.entry(question.name.clone()).or_default() += 1;
        }
        let says = self.says.get(&question.name);
        says.cloned().unwrap_or(Says::NoSuchName)
    }
}

/// A question (RFC 1035, section 4.1).
struct Question {
    id: [u8; 2],
    name: String,
    kind: [u8; 2],
    /// The question as it was asked, which the answer repeats.
    bytes: Vec<u8>,
}

impl Question {
    fn of(message: &[u8]) -> Option<Self> {
        let (id, _) = message.split_first_chunk()?;
        let mut rest = message.get(12..)?;
        let mut labels = Vec::new();
        while let Some((length, after)) = rest.split_first() {
            let (label, after) = after.split_at_checked(usize::from(*length))?;
            rest = after;
            if label.is_empty() {
                break;
            }
            labels.push(String::from_utf8_lossy(label).to_lowercase());
        }
        let (kind, rest) = rest.split_first_chunk()?;
        let end = message.len() - rest.len() + 2;
        Some(Self {
            id: *id,
            name: labels.join("."),
            kind: *kind,
            bytes: message.get(12..end)?.to_vec(),
        })
    }

    /// Returns the bytes that are sent back, if any are.
    fn answer(&self, says: &Says) -> Option<Vec<u8>> {
        match says {
            Says::Nothing => None,
            Says::Rubbish => Some([&self.id[..], &[0xff; 40]].concat()),
            Says::NoSuchName => Some(self.message(self.id, NAME_ERROR, &[])),
            Says::Failure => Some(self.message(self.id, SERVER_FAILURE, &[])),
            Says::Addresses(addresses) | Says::Late(_, addresses) => {
                Some(self.message(self.id, NO_ERROR, addresses))
            }
            Says::Stray(addresses) => {
                let other = self.id.map(|byte| !byte);
                Some(self.message(other, NO_ERROR, addresses))
            }
        }
    }

    fn message(&self, id: [u8; 2], code: u8, addresses: &[IpAddr]) -> Vec<u8> {
        let records: Vec<_> = addresses.iter().filter_map(|it| self.record(*it)).collect();
        let count = u8::try_from(records.len()).unwrap();
        // An answer of a server that asks others, with one question.
        let header = [id[0], id[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
        [&header[..], &self.bytes, &records.concat()].concat()
    }

    /// Returns an address as a record, if it is of the kind that was asked for.
    fn record(&self, address: IpAddr) -> Option<Vec<u8>> {
        let bytes = match address {
            IpAddr::V4(v4) if self.kind == A => v4.octets().to_vec(),
            IpAddr::V6(v6) if self.kind == AAAA => v6.octets().to_vec(),
            _ => return None,
        };
        let length = u8::try_from(bytes.len()).unwrap();
        // The name is that of the question, the record is not to be kept.
        let head = [
            0xc0,
            12,
            self.kind[0],
            self.kind[1],
            0,
            1,
            0,
            0,
            0,
            0,
            0,
            length,
        ];
        Some([&head[..], &bytes].concat())
    }
}
