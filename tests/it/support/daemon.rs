//! A daemon of the built program, in a folder of its own.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixDatagram, UnixStream},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    PATIENCE,
    backend::Backend,
    builder::Builder,
    configuration::Configuration,
    eventually,
    passing::Passing,
    pause,
    pki::Files,
    process::{self, Known},
    program::{Outcome, run},
};

/// A daemon. With it, all its processes end.
pub(crate) struct TestDaemon {
    folder: TempDir,
    /// The backend that a listener has unless it names another.
    pub(crate) backend: Backend,
    /// What its configuration file says, unless a text was written there instead.
    pub(crate) configuration: Configuration,
    how: Start,
    child: Option<Child>,
    /// Supervisors that were started, and workers that may outlive theirs.
    known: Vec<Known>,
}

/// How a daemon is started, beside its configuration.
#[derive(Debug)]
pub(super) struct Start {
    /// Further arguments.
    pub(super) arguments: Vec<String>,
    /// Variables of its environment.
    pub(super) environment: Vec<(String, String)>,
    /// The built program.
    pub(super) program: PathBuf,
    /// The words before it, of a program that becomes it.
    pub(super) wrapper: Vec<String>,
    /// The sockets that it is passed.
    pub(super) passing: Passing,
}

impl TestDaemon {
    pub(super) fn new(
        folder: TempDir,
        backend: Backend,
        configuration: Configuration,
        how: Start,
    ) -> Self {
        Self {
            folder,
            backend,
            configuration,
            how,
            child: None,
            known: Vec::new(),
        }
    }

    /// Begins to put one together.
    pub(crate) fn builder() -> Builder {
        Builder::new()
    }

    /// Returns the folder that everything of it is in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the path of something in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Returns the path of its control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("control.sock")
    }

    /// Returns the files of an identity.
    pub(crate) fn files(&self, identity: &str) -> Files {
        Files::of(self.folder(), identity)
    }

    /// Returns all that was logged and written to standard error.
    pub(crate) fn log(&self) -> String {
        let text = |name| fs::read(self.path(name)).unwrap_or_default();
        String::from_utf8_lossy(&[text("log"), text("stderr")].concat()).into_owned()
    }

    /// Writes its configuration file, which it reads at the next reload.
    pub(crate) fn write_configuration(&self, text: &str) {
        super::pki::replace(&self.path("proxyd.toml"), text);
    }

    /// Changes its configuration and writes the file, which it reads at the next reload.
    pub(crate) fn reconfigure(&mut self, change: impl FnOnce(&mut Configuration)) {
        change(&mut self.configuration);
        self.write_configuration(&self.configuration.text(self.folder()));
    }

    /// Adds variables to the environment in which it is started.
    pub(crate) fn set_environment(&mut self, variables: &[(&str, String)]) {
        let variables = variables.iter().cloned();
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        self.how.environment.extend(variables);
    }

    /// Returns the sockets that it is passed at each start.
    pub(crate) fn passing(&mut self) -> &mut Passing {
        &mut self.how.passing
    }

    /// Returns the command that starts it, with nothing of the settings of whoever runs the tests.
    pub(crate) fn command(&self) -> Command {
        let program = self.how.program.as_os_str();
        let wrapper = self.how.wrapper.iter().map(OsStr::new);
        let passing = self.how.passing.words();
        let passing = passing.iter().map(OsStr::new);
        let mut words = wrapper.chain(passing).chain([program]);
        let mut command = Command::new(words.next().unwrap_or(program));
        command
            .args(words)
            .arg("--config")
            .arg(self.path("proxyd.toml"))
            .args(&self.how.arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(
                self.how
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .current_dir("/");
        command
    }

    /// Runs it with further arguments until it ends by itself, as it does when it cannot start.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.command();
        command.args(arguments);
        run(command, PATIENCE)
    }

    /// Starts it and waits until it says that it serves (`sd_notify(3)`), and all workers do.
    pub(crate) fn start(&mut self) {
        let address = self.path("notify.sock");
        // The name is free again when an earlier start has left it.
        let _ = fs::remove_file(&address);
        let notified = UnixDatagram::bind(&address).unwrap();
        fs::set_permissions(&address, fs::Permissions::from_mode(0o777)).unwrap();
        notified
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let stderr = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("stderr"))
            .unwrap();
        let child = self
            .command()
            .env("NOTIFY_SOCKET", &address)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            // What a terminal sends to the tests is not for it.
            .process_group(0)
            .spawn()
            .unwrap();
        self.known.extend(Known::new(child.id()));
        self.child = Some(child);
        eventually("the daemon serves", PATIENCE, || {
            if let Some(status) = self.exit_status() {
                panic!("the daemon ended with {status}");
            }
            let mut space = [0; 512];
            let read = notified.recv(&mut space).unwrap_or(0);
            let text = String::from_utf8_lossy(&space[..read]).into_owned();
            text.lines().any(|line| line == "READY=1").then_some(())
        });
        if self.socket().exists() {
            // The daemon serves as soon as one of them does.
            self.await_status("all workers serve", |status| {
                let mut workers = status["workers"].as_array().unwrap().iter();
                workers.all(|worker| worker["state"] == "serving")
            });
        }
    }

    /// Returns the supervisor's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it was started").id()
    }

    /// Returns how the supervisor ended; `None` while it runs.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().unwrap()
    }

    /// Waits until the supervisor has ended; returns its exit status.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        self.know_workers();
        eventually("the supervisor ends", deadline, || self.exit_status())
    }

    /// Sends the supervisor a signal.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.know_workers();
        assert!(process::send(self.pid(), signal), "{signal}");
    }

    fn know_workers(&mut self) {
        if let Some(child) = &self.child {
            self.known.extend(
                process::children(child.id())
                    .into_iter()
                    .filter_map(Known::new),
            );
        }
    }

    /// Returns the command that asks it something.
    pub(crate) fn ctl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxyctl"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .arg("--socket")
            .arg(self.socket())
            .args(["--timeout", "30s"])
            .args(arguments);
        command
    }

    /// Asks it something by `proxyctl`.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Outcome {
        run(self.ctl_command(arguments), PATIENCE * 2)
    }

    /// Asks it something by `proxyctl --json`; returns the answer, whatever the exit status.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let outcome = self.ctl(&[&["--json"], arguments].concat());
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome:#?}"))
    }

    /// Returns the status document.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.json(&["status"])
    }

    /// Waits until something in the status document is as it should be; returns the document.
    #[track_caller]
    pub(crate) fn await_status(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        eventually(what, PATIENCE, || Some(self.status()).filter(&is_it))
    }

    /// Returns the events so far.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        let lines = self.ctl(&["--json", "events"]).answer();
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Returns where the first listener really listens.
    #[track_caller]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address_of(&self.configuration.listeners[0].name)
    }

    /// Returns where a listener really listens.
    #[track_caller]
    pub(crate) fn address_of(&self, listener: &str) -> SocketAddr {
        let status = self.status();
        let listeners = status["listeners"].as_array().unwrap();
        let found = listeners.iter().find(|it| it["name"] == listener).unwrap();
        found["bind"].as_str().unwrap().parse().unwrap()
    }

    /// Returns the process ids of the workers that status knows, by slot.
    #[track_caller]
    pub(crate) fn workers(&self) -> Vec<u32> {
        let status = self.status();
        let workers = status["workers"].as_array().unwrap();
        let pid = |worker: &Value| u32::try_from(worker["pid"].as_u64()?).ok();
        workers.iter().filter_map(pid).collect()
    }

    /// Has so many lines logged: one for each connection to the control socket that speaks another
    /// protocol.
    pub(crate) fn log_lines(&self, count: usize) {
        for _ in 0..count {
            let mut stream = UnixStream::connect(self.socket()).unwrap();
            let mut answer = Vec::new();
            // It hangs up as soon as it has seen enough.
            let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
            let _ = stream.read_to_end(&mut answer);
        }
    }

    /// Returns whether its workers obey, as those of a build for tests do.
    fn obeys(&self) -> bool {
        self.how.program != Path::new(env!("CARGO_BIN_EXE_proxyd"))
    }

    /// Takes care of a process that this daemon has started in another way.
    pub(crate) fn adopt(&mut self, pid: u32) {
        self.known.extend(Known::new(pid));
    }
}

impl Drop for TestDaemon {
    fn drop(&mut self) {
        let mut ended = Vec::new();
        for known in std::mem::take(&mut self.known) {
            // Stopped, it starts no further workers while they are counted.
            known.send(Signal::SIGSTOP);
            if known.is_alive() {
                let children = process::children(known.pid);
                ended.extend(children.into_iter().filter_map(Known::new));
            }
            ended.push(known);
        }
        for known in &ended {
            known.send(Signal::SIGKILL);
        }
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
        for _ in 0..100 {
            if !ended.iter().any(Known::is_alive) {
                break;
            }
            pause(Duration::from_millis(10));
        }
        let log = self.log();
        if thread::panicking() {
            // Past the test runner's capture of what is printed, which does not show it in order.
            let _ = writeln!(
                io::stderr(),
                "--- what the daemon logged\n{log}--- end of its log"
            );
        } else {
            // Workers that obey are told to make calls that they may not.
            let refused = (!self.obeys()).then_some("a system call of this");
            for sign in ["panicked at"].into_iter().chain(refused) {
                assert!(!log.contains(sign), "the daemon says `{sign}`:\n{log}");
            }
        }
    }
}
