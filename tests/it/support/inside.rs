//! Tests that run once more where something of the machine is theirs alone: its network, or files.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use super::{is_root, program::run, servers::found, skip};

/// The address of a network of one's own that is not loopback's, and by what name it is known.
pub(crate) const ADDRESS: &str = "192.0.2.1";
const HOSTS: &str = "127.0.0.1 localhost\n192.0.2.1 proxy.test\n";

/// Gives the loopback interface its address and another.
const NETWORK: &str = "
import fcntl, socket, struct
SIOCSIFFLAGS, SIOCSIFADDR, IFF_UP = 0x8914, 0x8916, 1
control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for name, address in (b'lo', '127.0.0.1'), (b'lo:1', 'ADDRESS'):
    there = struct.pack('16sHH4s8x', name, socket.AF_INET, 0, socket.inet_aton(address))
    fcntl.ioctl(control, SIOCSIFADDR, there)
    fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack('16sH14x', name, IFF_UP))
";

/// Set there.
const INSIDE: &str = "PROXYD_TEST_INSIDE";

/// Whether this is in a network of the test's own, with [`ADDRESS`]. Outside it runs the test of this
/// name there, and the answer is no.
#[track_caller]
pub(crate) fn is_in_own_network(test: &str) -> bool {
    let Some(python) = found("python", "PROXYD_TEST_PYTHON") else {
        return false;
    };
    let folder = TempDir::new().unwrap();
    let hosts = folder.path().join("hosts");
    fs::write(&hosts, HOSTS).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let network = NETWORK.replace("ADDRESS", ADDRESS);
    let place = Place {
        own: &["--net", "--mount"],
        prepare: "mount --bind \"$1\" /etc/hosts\n\"$2\" -c \"$3\"",
        arguments: &[hosts.into(), python, network.into()],
    };
    place.is_here(test)
}

/// How a place is made in which a test has something for itself.
pub(crate) struct Place<'a> {
    /// What of the machine is not shared, as `unshare(1)` calls it.
    pub(crate) own: &'a [&'a str],
    /// What a shell does there first.
    pub(crate) prepare: &'a str,
    /// The shell's `$1` and those behind.
    pub(crate) arguments: &'a [OsString],
}

impl Place<'_> {
    /// Whether this is inside. Outside it runs the test of this name there, and the answer is no.
    #[track_caller]
    pub(crate) fn is_here(&self, test: &str) -> bool {
        if env::var_os(INSIDE).is_some() {
            return true;
        }
        if !self.can_be() {
            skip("a network or files of one's own need root and unshare");
            return false;
        }
        let this = env::current_exe().unwrap();
        let program = [this.as_os_str(), OsStr::new("--exact"), OsStr::new(test)];
        let mut command = Command::new("unshare");
        command
            .args(self.own)
            .args(["sh", "-e", "-c"])
            .arg(format!(
                "{}\nshift {}\nexec \"$@\"",
                self.prepare,
                self.arguments.len()
            ))
            .arg("sh")
            .args(self.arguments)
            .args(program)
            .arg("--nocapture")
            .env(INSIDE, "yes");
        let outcome = run(command, Duration::from_secs(120));
        assert!(outcome.is_success(), "{outcome:#?}");
        assert!(
            outcome.stdout.contains("test result: ok. 1 passed"),
            "{outcome:#?}"
        );
        false
    }

    fn can_be(&self) -> bool {
        let mut command = Command::new("unshare");
        command.args(self.own).arg("true");
        is_root() && command.status().is_ok_and(|status| status.success())
    }
}
