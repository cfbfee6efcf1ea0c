//! Where `demo` plays: a temporary folder, a backend that echoes, and a daemon of its own.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::DirBuilderExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

use super::pause;
use crate::{
    control::{
        Request, Response, Status, SupervisorState, WorkerState,
        client::{Client, ClientError},
    },
    store::create,
    tls::probe::{ProbeError, Session},
};

const STEP: Duration = Duration::from_millis(50);
const WORKERS: usize = 2;
const TAIL: usize = 20;

/// Why the demonstration failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error("cannot {step}: {source}")]
    Prepare {
        step: &'static str,
        source: io::Error,
    },
    #[error("{} is not there; the demonstration needs it beside proxyctl", .0.display())]
    NoProgram(PathBuf),
    #[error("the daemon ended by itself ({0})")]
    Ended(std::process::ExitStatus),
    #[error("the daemon did not serve in time")]
    NotServing,
    #[error("it was interrupted")]
    Interrupted,
    #[error("cannot issue a certificate: {0}")]
    Issue(String),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error("{0}")]
    Wrong(&'static str),
}

trait Prepared<T> {
    fn prepared(self, step: &'static str) -> Result<T, DemoError>;
}

impl<T> Prepared<T> for io::Result<T> {
    fn prepared(self, step: &'static str) -> Result<T, DemoError> {
        self.map_err(|source| DemoError::Prepare { step, source })
    }
}

/// A folder that is removed with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn create() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("proxyd-demo-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A daemon of our own, ended when this is dropped; its folder goes after it.
pub(super) struct Stage {
    daemon: Child,
    folder: Folder,
    timeout: Duration,
    interrupted: Arc<AtomicBool>,
}

impl Stage {
    /// Starts a backend and a daemon in front of it.
    pub(super) fn open(timeout: Duration) -> Result<Self, DemoError> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signal_hook::flag::register(signal as i32, Arc::clone(&interrupted))
                .prepared("catch signals")?;
        }
        let backend = echo_backend().prepared("start a backend")?;
        let folder = Folder::create().prepared("create a temporary folder")?;
        let daemon = start(&folder.0, backend)?;
        Ok(Self {
            daemon,
            folder,
            timeout,
            interrupted,
        })
    }

    /// Waits until all workers serve, and returns the status that says so.
    pub(super) fn serving(&mut self) -> Result<Status, DemoError> {
        let until = Instant::now() + self.timeout;
        while Instant::now() < until {
            self.living()?;
            match self.status() {
                Ok(status) if all_serve(&status) => return Ok(status),
                _ => pause(STEP),
            }
        }
        Err(DemoError::NotServing)
    }

    /// Fails once there is no point in going on.
    pub(super) fn living(&mut self) -> Result<(), DemoError> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(DemoError::Interrupted);
        }
        match self.daemon.try_wait().prepared("watch the daemon")? {
            Some(status) => Err(DemoError::Ended(status)),
            None => Ok(()),
        }
    }

    /// Returns how long a step may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn ask(&self, request: &Request) -> Result<Response, DemoError> {
        let socket = self.folder.0.join("proxyd.sock");
        Ok(Client::connect(&socket, self.timeout)?.ask(request)?)
    }

    fn status(&self) -> Result<Status, DemoError> {
        match self.ask(&Request::Status)? {
            Response::Status(status) => Ok(*status),
            _ => Err(ClientError::Unexpected.into()),
        }
    }

    /// Puts a new certificate on disk.
    pub(super) fn issue(&self) -> Result<(), DemoError> {
        let folder = self.folder.0.join("tls");
        let issued = create::issue_server(&folder, &["localhost"], Timestamp::now());
        issued.map_err(|error| DemoError::Issue(error.to_string()))?;
        Ok(())
    }

    /// Connects as a client that trusts the daemon's own authority.
    pub(super) fn connect(&self, status: &Status) -> Result<Session, DemoError> {
        let listener = status
            .listeners
            .first()
            .and_then(|first| first.bind.parse().ok());
        let address: SocketAddr = listener.ok_or(DemoError::Wrong("there is no listener"))?;
        let ca = fs::read(self.folder.0.join("tls/ca.pem")).prepared("read the authority")?;
        Ok(Session::open(address, server_name(status), &ca)?)
    }

    /// Returns the last lines of the daemon's log.
    pub(super) fn log_tail(&self) -> Vec<String> {
        let mut log = Vec::new();
        let read = File::open(self.folder.0.join("log")).and_then(|mut f| f.read_to_end(&mut log));
        let log = read
            .map(|_| String::from_utf8_lossy(&log))
            .unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL)..];
        tail.iter().map(|line| (*line).to_owned()).collect()
    }

    fn ended_within(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if !matches!(self.daemon.try_wait(), Ok(None)) {
                return true;
            }
            pause(STEP);
        }
        false
    }
}

impl Drop for Stage {
    /// Ends the daemon: politely, at once, by force.
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.daemon.id().cast_signed());
        for patience in [Duration::from_secs(2), Duration::from_secs(1)] {
            if self.ended_within(Duration::ZERO) {
                break;
            }
            let _ = kill(pid, Signal::SIGTERM);
            if self.ended_within(patience) {
                break;
            }
        }
        // The group outlives its leader as long as a worker does.
        let _ = killpg(pid, Signal::SIGKILL);
        let _ = self.daemon.wait();
    }
}

fn all_serve(status: &Status) -> bool {
    let serves = |state| state == WorkerState::Serving;
    status.supervisor.state == SupervisorState::Serving
        && status.workers.len() == WORKERS
        && status.workers.iter().all(|worker| serves(worker.state))
}

fn server_name(status: &Status) -> &str {
    let names = status
        .tls
        .identities
        .iter()
        .flat_map(|identity| &identity.dns_names);
    let usable = |name: &&String| name.as_str() == "localhost" || name.as_str() == "127.0.0.1";
    names
        .clone()
        .find(usable)
        .or(names.clone().next())
        .map_or("localhost", String::as_str)
}

fn start(folder: &Path, backend: SocketAddr) -> Result<Child, DemoError> {
    let program = std::env::current_exe()
        .prepared("find proxyctl")?
        .with_file_name("proxyd");
    if !program.is_file() {
        return Err(DemoError::NoProgram(program));
    }
    let log = File::create(folder.join("log")).prepared("create a log")?;
    let mut command = Command::new(program);
    command
        .args(["--listen", "127.0.0.1:0", "--backend", &backend.to_string()])
        .args([
            "--protocol",
            "tcp",
            "--workers",
            &WORKERS.to_string(),
            "--log-format",
            "text",
        ])
        .arg("--state-dir")
        .arg(folder)
        .arg("--control-socket")
        .arg(folder.join("proxyd.sock"))
        .arg("--pid-file")
        .arg(folder.join("proxyd.pid"));
    for variable in [
        "PROXYD_CONFIG",
        "PROXYD_SOCKET",
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "WATCHDOG_USEC",
    ] {
        command.env_remove(variable);
    }
    // In a group of its own, Ctrl-C reaches us alone and we end it in order.
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command.spawn().prepared("start proxyd")
}

/// Starts threads that echo, which live as long as this program.
fn echo_backend() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || echo(&stream));
        }
    });
    Ok(address)
}

fn echo(mut stream: &TcpStream) -> io::Result<u64> {
    let mut reader = stream;
    io::copy(&mut reader, &mut stream)
}
