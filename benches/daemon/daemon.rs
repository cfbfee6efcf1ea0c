//! A `proxyd` of the release build, in a folder of its own.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use proxyd::{
    control::{ReloadReport, Request, Response, Status, WorkerState, client::Client},
    facts::{Partial, Reads},
};
use tempfile::TempDir;

use crate::{Failure, pki::Leaf};

/// How long anything that a daemon is asked may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a daemon that starts is looked at.
const GLANCE: Duration = Duration::from_millis(2);

/// A daemon that runs; it is ended, and its folder removed, when this is dropped.
pub(crate) struct Daemon {
    child: Child,
    folder: TempDir,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The one that is its backend.
    behind: Option<Box<Self>>,
}

impl Daemon {
    /// Starts one before `backend` that presents `leaf`, and waits until all its workers serve.
    pub(crate) fn start(workers: usize, leaf: &Leaf, backend: SocketAddr) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        present(folder.path(), leaf)?;
        let identity = identity(folder.path());
        Self::run(folder, workers, &identity, backend, "")
    }

    /// Does the same with a further table in its configuration.
    pub(crate) fn start_with_table(
        workers: usize,
        leaf: &Leaf,
        backend: SocketAddr,
        table: &str,
    ) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        present(folder.path(), leaf)?;
        let identities = format!("{}\n\n{table}", identity(folder.path()));
        Self::run(folder, workers, &identities, backend, "")
    }

    /// Starts one whose backend is another, before `backend`, with TLS between the two.
    pub(crate) fn start_with_tls_backend(
        workers: usize,
        leaf: &Leaf,
        backend: SocketAddr,
    ) -> Result<Self, Failure> {
        let behind = Self::start(workers, leaf, backend)?;
        let folder = tempfile::tempdir()?;
        present(folder.path(), leaf)?;
        let identity = identity(folder.path());
        let leg = "backend_tls = { mode = \"require\" }";
        let mut daemon = Self::run(folder, workers, &identity, behind.address, leg)?;
        daemon.behind = Some(Box::new(behind));
        Ok(daemon)
    }

    /// Starts one that presents what lies in `folder`.
    pub(crate) fn start_with_folder(
        workers: usize,
        identities: &Path,
        backend: SocketAddr,
    ) -> Result<Self, Failure> {
        let path = identities.display();
        let identities = format!("watch = false\n[[identity_dir]]\npath = \"{path}\"");
        Self::run(tempfile::tempdir()?, workers, &identities, backend, "")
    }

    /// Does the same and watches the folder.
    pub(crate) fn start_with_watched_folder(
        workers: usize,
        identities: &Path,
        backend: SocketAddr,
    ) -> Result<Self, Failure> {
        let path = identities.display();
        let identities = format!("watch = true\n[[identity_dir]]\npath = \"{path}\"");
        Self::run(tempfile::tempdir()?, workers, &identities, backend, "")
    }

    fn run(
        folder: TempDir,
        workers: usize,
        identities: &str,
        backend: SocketAddr,
        lines: &str,
    ) -> Result<Self, Failure> {
        let config = configuration(folder.path(), workers, identities, backend, lines);
        fs::write(folder.path().join("proxyd.toml"), config)?;
        let mut daemon = Self {
            child: spawn(folder.path())?,
            folder,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            behind: None,
        };
        let status = daemon.serving(workers)?;
        let listener = status.listeners.first().ok_or("it has no listener")?;
        daemon.address = listener.bind.parse()?;
        Ok(daemon)
    }

    /// Returns the supervisor's process.
    pub(crate) fn supervisor(&self) -> u32 {
        self.child.id()
    }

    /// Runs the program that is on disk in the place of the one that runs.
    pub(crate) fn upgrade(&self) -> Result<(), Failure> {
        self.ctl(&["upgrade"])
    }

    /// Ends the supervisor so that the next one goes on, and starts that one.
    pub(crate) fn restart(&mut self, workers: usize) -> Result<(), Failure> {
        self.ctl(&["stop", "--for-restart"])?;
        self.child.wait()?;
        self.start_again(workers)
    }

    /// Kills the supervisor, and starts the next one.
    pub(crate) fn kill_supervisor(&mut self, workers: usize) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        self.start_again(workers)
    }

    fn start_again(&mut self, workers: usize) -> Result<(), Failure> {
        self.child = spawn(self.folder.path())?;
        self.serving(workers)?;
        Ok(())
    }

    /// Returns how many workers there are that a supervisor before this one has started.
    pub(crate) fn orphans(&self) -> Result<usize, Failure> {
        let workers = self.status()?.workers.into_iter();
        let states = [WorkerState::Orphaned, WorkerState::HandingOver];
        Ok(workers.filter(|it| states.contains(&it.state)).count())
    }

    fn ctl(&self, arguments: &[&str]) -> Result<(), Failure> {
        let output = Command::new(env!("CARGO_BIN_EXE_proxyctl"))
            .arg("--socket")
            .arg(control_socket(self.folder.path()))
            .args(["--timeout", "60s"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("proxyctl {arguments:?}: {}: {said}", output.status).into())
    }

    /// Returns what it has logged.
    pub(crate) fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.folder.path().join("log"))
    }

    /// Returns the workers' processes.
    pub(crate) fn workers(&self) -> Result<Vec<u32>, Failure> {
        let workers = self.status()?.workers;
        Ok(workers.iter().filter_map(|worker| worker.pid).collect())
    }

    /// Returns the only worker's process.
    pub(crate) fn worker(&self) -> Result<u32, Failure> {
        match self.workers()?[..] {
            [worker] => Ok(worker),
            _ => Err("there is not exactly one worker".into()),
        }
    }

    /// Puts another certificate on disk.
    pub(crate) fn present(&self, leaf: &Leaf) -> io::Result<()> {
        present(self.folder.path(), leaf)
    }

    /// Has the TLS files read again; returns the new generation's number.
    pub(crate) fn reload_tls(&self) -> Result<u64, Failure> {
        let report = self.reload()?;
        if report.changed {
            return Ok(report.generation);
        }
        Err(format!("a reload brought nothing new: {:?}", report.problems).into())
    }

    /// Has the TLS files read again, whether there is anything new or not.
    pub(crate) fn reload(&self) -> Result<ReloadReport, Failure> {
        self.reload_reading(Reads::Changed)
    }

    /// Does the same, and has every file read.
    pub(crate) fn reload_all(&self) -> Result<ReloadReport, Failure> {
        self.reload_reading(Reads::All)
    }

    fn reload_reading(&self, reads: Reads) -> Result<ReloadReport, Failure> {
        match self.ask(&Request::ReloadTls(Partial::Allow, reads))? {
            Response::Reloaded(report) => Ok(report),
            other => Err(format!("that is no result of a reload: {other:?}").into()),
        }
    }

    /// Has what is on disk judged.
    pub(crate) fn verify(&self) -> Result<(), Failure> {
        match self.ask(&Request::Verify)? {
            Response::Verified(_) => Ok(()),
            other => Err(format!("that is no verdict: {other:?}").into()),
        }
    }

    pub(crate) fn status(&self) -> Result<Status, Failure> {
        match self.ask(&Request::Status)? {
            Response::Status(status) => Ok(*status),
            other => Err(format!("that is no status: {other:?}").into()),
        }
    }

    fn ask(&self, request: &Request) -> Result<Response, Failure> {
        let socket = control_socket(self.folder.path());
        Ok(Client::connect(&socket, PATIENCE)?.ask(request)?)
    }

    fn serving(&mut self, workers: usize) -> Result<Status, Failure> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Ok(status) = self.status()
                && serve(&status) == workers
            {
                return Ok(status);
            }
            if Instant::now() > until || self.child.try_wait()?.is_some() {
                let log = fs::read_to_string(self.folder.path().join("log"))?;
                return Err(format!("proxyd does not serve:\n{log}").into());
            }
            pause(GLANCE);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let leader = Pid::from_raw(self.child.id().cast_signed());
        // SIGINT once drains, twice ends at once; who does not listen is killed.
        let _ = kill(leader, Signal::SIGINT);
        pause(GLANCE);
        let _ = kill(leader, Signal::SIGINT);
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            pause(GLANCE);
        }
        let _ = killpg(leader, Signal::SIGKILL);
        let _ = self.child.wait();
        drop(self.behind.take());
    }
}

/// Waits where there is nothing that would tell of what is waited for.
#[expect(
    clippy::disallowed_methods,
    reason = "no runtime's thread comes through here"
)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

fn spawn(folder: &Path) -> Result<Child, Failure> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))?;
    let child = Command::new(env!("CARGO_BIN_EXE_proxyd"))
        .arg("--config")
        .arg(folder.join("proxyd.toml"))
        .env_clear()
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?;
    Ok(child)
}

fn serve(status: &Status) -> usize {
    let workers = status.workers.iter();
    workers
        .filter(|worker| worker.state == WorkerState::Serving)
        .count()
}

fn control_socket(folder: &Path) -> PathBuf {
    folder.join("control.sock")
}

/// Writes both files aside and moves them to their places.
fn present(folder: &Path, leaf: &Leaf) -> io::Result<()> {
    for (name, text) in [("server.pem", &leaf.cert), ("server.key", &leaf.key)] {
        let aside = folder.join("aside");
        fs::write(&aside, text)?;
        fs::set_permissions(&aside, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        fs::rename(&aside, folder.join(name))?;
    }
    Ok(())
}

/// Returns the lines of the identity that [`present`] puts into a folder.
fn identity(folder: &Path) -> String {
    let at = folder.display();
    format!("watch = false\n[[identity]]\ncert = \"{at}/server.pem\"\nkey = \"{at}/server.key\"")
}

/// Returns a configuration, with further lines for its listener.
fn configuration(
    folder: &Path,
    workers: usize,
    identities: &str,
    backend: SocketAddr,
    lines: &str,
) -> String {
    let at = folder.display();
    let socket = control_socket(folder);
    let socket = socket.display();
    format!(
        r#"workers = {workers}
state_dir = "{at}/state"
control_socket = "{socket}"
pid_file = "{at}/proxyd.pid"
log = {{ level = "warn" }}

{identities}

[[listener]]
name = "bench"
bind = "127.0.0.1:0"
protocol = "tcp"
backend = "{backend}"
{lines}
"#
    )
}
