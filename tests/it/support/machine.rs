//! A Debian of the test's own in which systemd is process 1.
//!
//! It is a container that shares the network of the machine and nothing else. What is written there is
//! gone when it ends: all of them are layers over the root that `tests/run` made and names by
//! `PROXYD_TEST_SYSTEMD`.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    PATIENCE, eventually, is_root,
    process::{self, Known},
    program::{Outcome, clean_command, run},
    servers::found,
    skip, until,
};

/// The service's unit.
pub(crate) const UNIT: &str = "proxyd.service";

/// The configuration that the unit names.
pub(crate) const CONFIGURATION: &str = "/etc/proxyd/proxyd.toml";

/// Where control groups can be, with a hierarchy for systemd in one or two of them.
const HIERARCHIES: [&str; 3] = [
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/systemd",
    "/sys/fs/cgroup/unified",
];

/// What installs the service, by paths in the repository and there.
const SERVICE: [(&str, &str); 3] = [
    (
        "packaging/proxyd.service",
        "/usr/lib/systemd/system/proxyd.service",
    ),
    (
        "packaging/proxyd.socket",
        "/usr/lib/systemd/system/proxyd.socket",
    ),
    (
        "packaging/sysusers.d/proxyd.conf",
        "/usr/lib/sysusers.d/proxyd.conf",
    ),
];

/// A Debian that runs; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Machine {
    container: Child,
    /// Its process 1, as seen from outside.
    init: Known,
    groups: Vec<PathBuf>,
    address: SocketAddr,
    /// What is seen there as `/mnt`.
    shared: TempDir,
}

impl Machine {
    /// Boots one in which the service is installed, but neither configured nor started; `None` skips
    /// the test.
    pub(crate) fn with_service() -> Option<Self> {
        let there = [
            (env!("CARGO_BIN_EXE_proxyd"), "/usr/bin/proxyd"),
            (env!("CARGO_BIN_EXE_proxyctl"), "/usr/bin/proxyctl"),
        ];
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = SERVICE.map(|(source, target)| (repository.join(source), target));
        let programs = there.map(|(source, target)| (PathBuf::from(source), target));
        let machine = Self::boot(&[&programs[..], &files[..]].concat())?;
        machine.run(&["systemd-sysusers"]).answer();
        Some(machine)
    }

    /// Boots one that knows nothing of proxyd; `None` skips the test.
    pub(crate) fn bare() -> Option<Self> {
        Self::boot(&[])
    }

    fn boot(files: &[(PathBuf, &str)]) -> Option<Self> {
        /// Tests may run at once in one process.
        static NUMBER: AtomicU16 = AtomicU16::new(0);
        let root = found("systemd", "PROXYD_TEST_SYSTEMD")?;
        if !is_root() {
            skip("only root can boot a Debian");
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("proxyd-test-{}-{number}", std::process::id());
        let groups = own_groups(&name)
            .inspect_err(|error| skip(&format!("no control group for a container: {error}")))
            .ok()?;
        let shared = TempDir::new().unwrap();
        let console = fs::File::create(shared.path().join("console")).unwrap();
        let container = nspawn(&groups)
            .arg(format!("--machine={name}"))
            .arg("--directory")
            .arg(root)
            .arg(format!("--bind={}:/mnt", shared.path().display()))
            .args(files.iter().map(|(source, target)| {
                let source = source.display();
                format!("--bind-ro={source}:{target}")
            }))
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .spawn()
            .unwrap();
        let machine = Self {
            // Others make the container, and have ended by then.
            init: eventually("the container has a process 1", PATIENCE, || {
                let mut children = process::children(container.id()).into_iter();
                children
                    .find(|pid| inner_id(*pid).as_deref() == Some("1"))
                    .and_then(Known::new)
            }),
            container,
            groups,
            address: own_address(number),
            shared,
        };
        until("the container has booted", || {
            let state = ["systemctl", "is-system-running", "--wait"];
            machine.run(&state).is_success()
        });
        Some(machine)
    }

    /// Returns an address of the host's network that only this machine uses.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the id of its process 1 outside.
    pub(crate) fn init(&self) -> u32 {
        self.init.pid
    }

    /// Returns a folder of the host that is seen there as `/mnt`.
    pub(crate) fn shared(&self) -> &Path {
        self.shared.path()
    }

    /// Returns a command that runs there.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = clean_command("nsenter");
        command
            .args(["--all", "--target", &self.init.pid.to_string(), "--"])
            .args(words);
        command
    }

    /// Runs a command there to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Outcome {
        run(self.command(words), Duration::from_secs(60))
    }

    /// Returns where a file of it is for this process.
    pub(crate) fn path(&self, absolute: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{absolute}", self.init.pid))
    }

    /// Writes a file there, and the folders that lead to it.
    pub(crate) fn write(&self, absolute: &str, contents: impl AsRef<[u8]>) {
        let path = self.path(absolute);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    /// Changes the service's unit by a drop-in.
    pub(crate) fn drop_in(&self, text: &str) {
        self.write("/etc/systemd/system/proxyd.service.d/test.conf", text);
        self.run(&["systemctl", "daemon-reload"]).answer();
    }

    /// Asks systemd to do something with the service.
    pub(crate) fn service(&self, verb: &str) -> Outcome {
        self.run(&["systemctl", verb, UNIT])
    }

    /// Starts the service.
    #[track_caller]
    pub(crate) fn start(&self) {
        let outcome = self.service("start");
        assert!(outcome.is_success(), "{outcome:#?}\n{}", self.journal(&[]));
    }

    /// Returns a property of the service as systemd tells it.
    pub(crate) fn property(&self, name: &str) -> String {
        self.run(&["systemctl", "show", "--value", "--property", name, UNIT])
            .answer()
    }

    /// Returns the id of the service's main process outside; `None` if there is none.
    pub(crate) fn main_process(&self) -> Option<Known> {
        outside(self.init.pid, &self.property("MainPID"))
    }

    /// Waits until all workers serve, so that one can be spared; returns one of them.
    #[track_caller]
    pub(crate) fn worker(&self) -> Known {
        eventually("all workers serve", PATIENCE, || {
            let status = self.ctl(&["--json", "status"]).answer();
            let status: Value = serde_json::from_str(&status).unwrap();
            let workers = status["workers"].as_array().unwrap();
            let serves = |worker: &Value| worker["state"] == "serving";
            let inside = workers.first()?["pid"].to_string();
            let main = self.main_process().filter(|_| workers.iter().all(serves))?;
            outside(main.pid, &inside)
        })
    }

    /// Returns the service's lines in the journal that these options choose.
    pub(crate) fn journal(&self, options: &[&str]) -> String {
        let command = ["journalctl", "--unit", UNIT, "--output=cat", "--quiet"];
        self.run(&[&command[..], options].concat()).answer()
    }

    /// Runs `proxyctl` there.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Outcome {
        self.run(&[&["proxyctl"][..], arguments].concat())
    }
}

/// Enters the groups `$2`, `$3` and so on, as many as `$1` says, and becomes what follows.
const ENTER_GROUPS: &str = "
count=$1
shift
while [ \"$count\" -gt 0 ]; do
    echo $$ >\"$1/cgroup.procs\"
    shift
    count=$((count - 1))
done
exec \"$@\"
";

/// What makes and boots a container. With a root that is read only it can be the root of several.
const NSPAWN: [&str; 8] = [
    "systemd-nspawn",
    "--boot",
    "--read-only",
    "--volatile=overlay",
    "--register=no",
    "--keep-unit",
    "--settings=no",
    "--console=pipe",
];

/// Returns the child of `parent` that has the id `inside` in the machine.
fn outside(parent: u32, inside: &str) -> Option<Known> {
    let mut children = process::children(parent).into_iter();
    children
        .find(|pid| inner_id(*pid).as_deref() == Some(inside))
        .and_then(Known::new)
}

/// Returns the id of a process in the innermost of its containers; `None` if that is the machine.
fn inner_id(pid: u32) -> Option<String> {
    let ids = process::status_line(pid, "NSpid")?;
    ids.split_whitespace().nth(1).map(str::to_owned)
}

/// Returns an address that no other test uses: all of 127.0.0.0/8 is loopback.
fn own_address(number: u16) -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, 100 + high, middle, low], 3307 + number))
}

/// Returns the command that boots a container in these groups.
fn nspawn(groups: &[PathBuf]) -> Command {
    let mut command = Command::new("setpriv");
    command
        // A test that is killed takes it along.
        .args(["--pdeathsig=TERM", "sh", "-ec", ENTER_GROUPS, "sh"])
        .arg(groups.len().to_string())
        .args(groups)
        .args(NSPAWN)
        // Its filter of system calls forbids Landlock.
        .env("SYSTEMD_SECCOMP", "0");
    command
}

/// Makes a group of this name in each hierarchy.
fn own_groups(name: &str) -> io::Result<Vec<PathBuf>> {
    let hierarchies = HIERARCHIES
        .iter()
        .map(Path::new)
        .filter(|hierarchy| hierarchy.join("cgroup.procs").exists());
    let groups: Vec<_> = hierarchies.map(|hierarchy| hierarchy.join(name)).collect();
    if groups.is_empty() {
        return Err(io::Error::other("there is no hierarchy of them"));
    }
    for group in &groups {
        fs::create_dir(group)?;
    }
    Ok(groups)
}

/// Removes a group and those in it.
fn remove_group(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_group(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() {
            let journal = run(self.command(&["journalctl", "--quiet"]), PATIENCE);
            // Past the test runner's capture of what is printed, which does not show it in order.
            let _ = writeln!(io::stderr(), "--- the journal\n{}\n---", journal.stdout);
        }
        // With it the kernel ends all that runs there.
        self.init.send(Signal::SIGKILL);
        let _ = self.container.wait();
        for group in &self.groups {
            if thread::panicking() {
                let _ = remove_group(group);
            } else {
                until("the container's groups are empty", || {
                    remove_group(group).is_ok()
                });
            }
        }
    }
}
