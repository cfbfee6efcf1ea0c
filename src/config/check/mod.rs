//! From what the file says to what the engine may rely on.
//!
//! Nothing stops at the first problem: each is noted, something harmless takes the value's place,
//! and the rest is checked too. A configuration comes out only if nothing was noted.

mod client_auth;
mod identity_dir;
mod listener;
mod pair;
mod separate;

use std::{
    collections::HashSet,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::Spanned;

use self::pair::PairKeys;
use super::{
    Address, Config, DEFAULT_NAME, DRAIN_TIMEOUT, ExitHook, IdentityFiles, Log, LogFormat,
    LogLevel, ORPHAN_TIMEOUT, Problem, Source, SourceText, WORKERS_MAX,
    address::{Overlap, UNIX_PATH_MAX},
    file::{self, File, Parsed, Table, Word},
    value::{Name, Text, Time},
};

/// The shortest deadline that can be meant; shorter ones would fail whatever they are set for.
const SHORTEST: Duration = Duration::from_millis(10);

/// A worker under load may well be silent for less than this.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(100);

/// The shortest time between two comparisons of the files that leaves time for anything else.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// The longest that a change may go unnoticed, or a broken file unreported.
const LONGEST_WATCH: Duration = Duration::from_secs(60 * 60);

/// After how long sessions are kept by default: clients that connect for one query do not pay for being kept.
const KEEP_AFTER: Duration = Duration::from_millis(100);

/// Returns the configuration that `file` and the rest of `source` describe, or all `problems`.
pub(super) fn check(
    file: File,
    problems: Vec<Problem>,
    source: &Source,
) -> Result<Config, Vec<Problem>> {
    let mut check = Check {
        base: source
            .file()
            .and_then(Path::parent)
            .unwrap_or(Path::new("/")),
        whole: problems.is_empty(),
        problems,
        taken: Vec::new(),
    };
    let config = check.config(file, source);
    match config {
        Some(config) if check.problems.is_empty() => Ok(config),
        _ => Err(check.problems),
    }
}

/// What is known while a file is checked.
struct Check<'a> {
    /// What relative paths in the file are relative to.
    base: &'a Path,
    /// Whether the file was read as it stands, with nothing cut out of it.
    whole: bool,
    problems: Vec<Problem>,
    /// The addresses that something listens at already, and what.
    taken: Vec<(Address, String)>,
}

/// The directory and the two files that the daemon is found by.
struct Places {
    state_dir: PathBuf,
    control_socket: PathBuf,
    pid_file: PathBuf,
}

impl Check<'_> {
    fn config(&mut self, file: File, source: &Source) -> Option<Config> {
        let places = self.places(&file, source);
        let metrics = file
            .metrics
            .as_ref()
            .and_then(|metrics| self.metrics(metrics));
        let state_dir = places
            .as_ref()
            .map_or(Path::new("/"), |places| &places.state_dir);
        let mut names = HashSet::new();
        let identities = if file.identity.is_empty() && !file.identity_dir.is_empty() {
            Vec::new()
        } else {
            self.identities(file.identity, state_dir, &mut names)
        };
        let identity_dirs = self.identity_dirs(&file.identity_dir, &mut names);
        let dirs = identity_dirs.iter().map(|dir| dir.name.as_str());
        let names: Vec<&str> = identities
            .iter()
            .map(|files| files.name.as_str())
            .chain(dirs)
            .collect();
        let listeners = match &source.overrides().listener {
            Some(listener) => vec![listener.clone()],
            None => self.listeners(file.listener, &names),
        };
        let workers = self.workers(file.workers, source);
        let on_exit_failure = file.on_exit_failure.map(|hook| self.hook(hook));
        let heartbeat_timeout = self.deadline(
            file.heartbeat_timeout.as_ref(),
            Duration::from_secs(5),
            SHORTEST_HEARTBEAT,
        );
        let watch_interval = self.watch_time(
            file.watch_interval.as_ref(),
            Duration::from_secs(5),
            SHORTEST_INTERVAL,
        );
        let watch_grace = self.watch_time(
            file.watch_grace.as_ref(),
            Duration::from_secs(10),
            Duration::ZERO,
        );
        let places = places?;
        let config = Config {
            source: source.file().map(Path::to_owned),
            text: SourceText::default(),
            workers,
            user: owned(file.user),
            state_dir: places.state_dir,
            control_socket: places.control_socket,
            control_group: owned(file.control_group),
            pid_file: places.pid_file,
            drain_timeout: file.drain_timeout.map_or(DRAIN_TIMEOUT, |drain| drain.0.0),
            heartbeat_timeout,
            keep_after: file
                .keep_after
                .map_or(Some(KEEP_AFTER), |keep_after| keep_after.0.0),
            orphan_timeout: file
                .orphan_timeout
                .map_or(ORPHAN_TIMEOUT, |orphan| orphan.0.0),
            watch: file.watch.unwrap_or(true),
            watch_interval,
            watch_grace,
            log: self.log(file.log, source),
            metrics,
            on_exit_failure: on_exit_failure.flatten(),
            identities,
            identity_dirs,
            listeners,
        };
        self.separate(&config);
        Some(config)
    }

    /// Notes a problem with what stands at `span`.
    fn wrong(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.push(Problem {
            message: message.into(),
            span: Some(span),
        });
    }

    /// Notes that something is not there.
    ///
    /// It may be there under a misspelt key; then it is enough to complain about that.
    fn absent(&mut self, span: Option<Range<usize>>, message: impl Into<String>) {
        if self.whole {
            self.problems.push(Problem {
                message: message.into(),
                span,
            });
        }
    }

    /// Returns the absolute path that `text` means in this file.
    fn path(&self, text: &Parsed<Text>) -> PathBuf {
        // Collecting the components drops `.` and doubled slashes.
        self.base.join(&text.0.0).components().collect()
    }

    /// Returns the deadline, which may not be shorter than `shortest`.
    fn deadline(
        &mut self,
        value: Option<&Spanned<Parsed<Time>>>,
        default: Duration,
        shortest: Duration,
    ) -> Duration {
        let Some(value) = value else { return default };
        let deadline = value.get_ref().0.0;
        if deadline < shortest {
            let least = shortest.as_millis();
            self.wrong(value.span(), format!("this is shorter than {least}ms"));
        }
        deadline
    }

    /// Returns the time, which may be neither shorter than `shortest` nor longer than an hour.
    fn watch_time(
        &mut self,
        value: Option<&Spanned<Parsed<Time>>>,
        default: Duration,
        shortest: Duration,
    ) -> Duration {
        let time = self.deadline(value, default, shortest);
        if let Some(value) = value.filter(|_| time > LONGEST_WATCH) {
            self.wrong(value.span(), "this is longer than 1h");
        }
        time
    }

    /// Notes that `bind` is for `what`, or that it is taken.
    fn take(&mut self, bind: &Address, span: Option<Range<usize>>, what: String) {
        // The system gives each port 0 a port of its own.
        if bind.port() == Some(0) {
            return;
        }
        let bind = bind.canonical();
        let message = self
            .taken
            .iter()
            .find_map(|(other, holder)| match bind.overlap(other)? {
                Overlap::Same => Some(format!("`{bind}` is taken already by {holder}")),
                Overlap::Covers => Some(format!(
                    "`{bind}` overlaps with `{other}`, which is taken already by {holder}; choose \
                     another port, or list addresses that do not overlap"
                )),
            });
        match (message, span) {
            (Some(message), Some(span)) => self.wrong(span, message),
            _ => self.taken.push((bind, what)),
        }
    }

    fn places(&mut self, file: &File, source: &Source) -> Option<Places> {
        let (overrides, environment) = (source.overrides(), source.environment());
        let state_dir = overrides
            .state_dir
            .clone()
            .or_else(|| Some(self.path(file.state_dir.as_ref()?)))
            .or_else(|| environment.default_state_dir());
        let Some(state_dir) = state_dir else {
            let message = "there is no place for the state directory, because neither \
                XDG_STATE_HOME nor HOME is set; give --state-dir or `state_dir`";
            self.absent(None, message);
            return None;
        };
        let pid_file = overrides
            .pid_file
            .clone()
            .or_else(|| Some(self.path(file.pid_file.as_ref()?)))
            .unwrap_or_else(|| environment.default_pid_file(&state_dir));
        let control_socket = self.control_socket(file, source, &state_dir);
        Some(Places {
            state_dir,
            control_socket,
            pid_file,
        })
    }

    fn control_socket(&mut self, file: &File, source: &Source, state_dir: &Path) -> PathBuf {
        let written = file.control_socket.as_ref();
        let (path, span) = match (&source.overrides().control_socket, written) {
            (Some(path), _) => (path.clone(), None),
            (None, Some(written)) => (self.path(written.get_ref()), Some(written.span())),
            (None, None) => (source.environment().default_control_socket(state_dir), None),
        };
        if path.as_os_str().len() > UNIX_PATH_MAX {
            self.problems.push(Problem {
                message: format!(
                    "the control socket's path {} is longer than {UNIX_PATH_MAX} bytes",
                    path.display()
                ),
                span,
            });
        }
        let address = Address::Unix(path.clone());
        self.take(&address, None, "the control socket".to_owned());
        path
    }

    fn workers(&mut self, written: Option<Spanned<i64>>, source: &Source) -> usize {
        let default = source.environment().default_workers();
        let from_file = written.map(|written| {
            let number = usize::try_from(*written.get_ref()).unwrap_or(0);
            if !(1..=WORKERS_MAX).contains(&number) {
                let message = format!("`workers` is a number from 1 to {WORKERS_MAX}");
                self.wrong(written.span(), message);
            }
            number
        });
        source.overrides().workers.or(from_file).unwrap_or(default)
    }

    fn log(&self, log: Table<file::Log>, source: &Source) -> Log {
        let (log, overrides) = (log.0, source.overrides());
        Log {
            level: overrides
                .log_level
                .or(word(log.level))
                .unwrap_or(LogLevel::Info),
            format: overrides
                .log_format
                .or(word(log.format))
                .unwrap_or(LogFormat::Text),
            sessions: log.sessions.unwrap_or(true),
            file: log.file.map(|file| self.log_file(&file, source)),
        }
    }

    /// Returns the log file, which is relative to the folder that systemd made for logs, if it did.
    fn log_file(&self, written: &Parsed<Text>, source: &Source) -> PathBuf {
        let folder = source.environment().logs_directory.as_deref();
        let whole = folder.unwrap_or(self.base).join(&written.0.0);
        whole.components().collect()
    }

    fn metrics(&mut self, metrics: &Spanned<Table<file::Metrics>>) -> Option<SocketAddr> {
        let Some(bind) = &metrics.get_ref().bind else {
            self.absent(Some(metrics.span()), "`metrics` has no `bind`");
            return None;
        };
        let address = bind.get_ref().0;
        let taken = Address::Tcp {
            host: address.ip().to_string(),
            port: address.port(),
        };
        self.take(&taken, Some(bind.span()), "the metrics page".to_owned());
        Some(address)
    }

    fn hook(&mut self, hook: Spanned<Table<file::ExitHook>>) -> Option<ExitHook> {
        let span = hook.span();
        let hook = hook.into_inner().0;
        let timeout = self.deadline(hook.timeout.as_ref(), Duration::from_secs(10), SHORTEST);
        let Some(command) = hook.command else {
            self.absent(Some(span), "`on_exit_failure` has no `command`");
            return None;
        };
        Some(ExitHook {
            command: self.command(&command),
            timeout,
        })
    }

    /// Returns a command, which must be one that can be run without a shell.
    fn command(&mut self, written: &Spanned<Vec<String>>) -> Vec<String> {
        let command = written.get_ref();
        match command.first() {
            None => self.wrong(written.span(), "this command is empty"),
            Some(program) if !Path::new(program).is_absolute() => {
                let message = format!("the program `{program}` needs its absolute path");
                self.wrong(written.span(), message);
            }
            Some(_) => {}
        }
        if command.iter().any(|word| word.contains('\0')) {
            self.wrong(written.span(), "this command holds a zero byte");
        }
        command.clone()
    }

    fn identities(
        &mut self,
        written: Vec<Spanned<Table<file::Identity>>>,
        state_dir: &Path,
        names: &mut HashSet<String>,
    ) -> Vec<IdentityFiles> {
        if written.is_empty() {
            let folder = state_dir.join("tls");
            let (cert, key) = (folder.join("server.pem"), folder.join("server-key.pem"));
            return vec![IdentityFiles {
                created: true,
                ..IdentityFiles::pem(DEFAULT_NAME, cert, key)
            }];
        }
        let numbered = (1..).zip(written);
        numbered
            .map(|(number, identity)| self.identity(number, &identity, names))
            .collect()
    }

    fn identity(
        &mut self,
        number: usize,
        identity: &Spanned<Table<file::Identity>>,
        names: &mut HashSet<String>,
    ) -> IdentityFiles {
        let (span, written) = (identity.span(), identity.get_ref());
        let name = self.name("identity", number, written.name.as_ref(), &span, names);
        let keys = PairKeys::from(&**written);
        if !keys.names_pair() {
            let message = format!("identity `{name}` has no `cert`; give that, or `pkcs12`");
            self.absent(Some(span), message);
        }
        let pair = self.pair(&keys).unwrap_or_default();
        IdentityFiles {
            name,
            cert: pair.cert,
            key: pair.key,
            form: pair.form,
            created: false,
        }
    }

    /// Returns the name of the `number`th thing of a `kind`, and notes if another has it.
    fn name(
        &mut self,
        kind: &str,
        number: usize,
        written: Option<&Spanned<Parsed<Name>>>,
        header: &Range<usize>,
        names: &mut HashSet<String>,
    ) -> String {
        let name = match written {
            Some(name) => name.get_ref().0.0.clone(),
            None if number == 1 => DEFAULT_NAME.to_owned(),
            None => format!("{kind}-{number}"),
        };
        if !names.insert(name.clone()) {
            let span = written.map_or_else(|| header.clone(), Spanned::span);
            self.wrong(span, format!("another {kind} is named `{name}`"));
        }
        name
    }
}

fn owned(text: Option<Parsed<Text>>) -> Option<String> {
    text.map(|text| text.0.0)
}

fn word<T>(word: Option<Word<T>>) -> Option<T> {
    word.map(|word| word.0)
}
