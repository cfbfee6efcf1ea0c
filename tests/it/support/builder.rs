//! Putting a daemon together.

use std::{
    fs,
    os::{fd::AsFd, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{
    backend::Backend,
    configuration::{Configuration, Listener},
    daemon::{Start, TestDaemon},
    passing::Passing,
    pki::{Files, Leaf},
};

/// What a daemon will be started with.
#[must_use]
pub(crate) struct Builder {
    folder: TempDir,
    backend: Backend,
    configuration: Configuration,
    text: Option<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    program: PathBuf,
    wrapper: Vec<String>,
    passing: Passing,
}

impl Builder {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Workers are somebody else when the tests are root, and reach a Unix backend in it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut configuration = Configuration::default();
        configuration.set("workers", "1");
        configuration.set("watch", "false");
        configuration.set("state_dir", "\"state\"");
        configuration.set("control_socket", "\"control.sock\"");
        configuration.set("pid_file", "\"pid\"");
        configuration.set("log", "{ file = \"log\" }");
        Self {
            folder,
            backend: Backend::tcp(),
            configuration,
            text: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            program: env!("CARGO_BIN_EXE_proxyd").into(),
            wrapper: Vec::new(),
            passing: Passing::default(),
        }
    }

    /// Returns the folder that everything of this daemon is in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the backend that a listener has unless it names another.
    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Starts so many workers instead of one.
    pub(crate) fn workers(self, workers: usize) -> Self {
        self.set("workers", &workers.to_string())
    }

    /// Lets it read the disk by itself, which it otherwise does only when told.
    pub(crate) fn watch(self) -> Self {
        self.set("watch", "true")
    }

    /// Sets a key that stands before any table; the value is TOML.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.configuration.set(key, value);
        self
    }

    /// Adds an identity and its files.
    ///
    /// Without one, the daemon creates a certificate of its own.
    pub(crate) fn identity(mut self, name: &str, leaf: &Leaf) -> Self {
        Files::of(self.folder(), name).put(leaf);
        self.configuration.identities.push(name.to_owned());
        self
    }

    /// Adds a folder of identities, which is there and empty.
    pub(crate) fn identity_dir(mut self, name: &str) -> Self {
        fs::create_dir(self.folder().join(name)).unwrap();
        self.configuration.identity_dirs.push(name.to_owned());
        self
    }

    /// Adds a whole table, in TOML.
    pub(crate) fn table(mut self, table: &str) -> Self {
        self.configuration.tables.push(table.to_owned());
        self
    }

    /// Puts a file into the daemon's folder, which its owner alone may read.
    pub(crate) fn file(self, name: &str, contents: impl AsRef<[u8]>) -> Self {
        let path = self.folder().join(name);
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self
    }

    /// Adds an identity whose files are in its folder already.
    pub(crate) fn known_identity(mut self, name: &str) -> Self {
        self.configuration.identities.push(name.to_owned());
        self
    }

    /// Adds a listener.
    ///
    /// Without one, there is one called `main` in front of [`Self::backend`].
    pub(crate) fn listener(mut self, listener: Listener) -> Self {
        self.configuration.listeners.push(listener);
        self
    }

    /// Takes this text for the configuration file instead of all that was said.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.text = Some(text.to_owned());
        self
    }

    /// Adds arguments.
    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        self.arguments.extend(arguments);
        self
    }

    /// Adds a variable to its environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs this build of it.
    pub(crate) fn program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// Has it run by a program such as `setpriv`, which must become it.
    pub(crate) fn wrapped(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Passes it this socket at each start, as systemd does.
    pub(crate) fn passing(mut self, name: &str, socket: &impl AsFd) -> Self {
        self.passing.add(name, socket);
        self
    }

    /// Writes the configuration file and returns a daemon that was not started.
    pub(crate) fn prepare(mut self) -> TestDaemon {
        if self.configuration.listeners.is_empty() {
            let listener = Listener::tcp("main", &self.backend.address());
            self.configuration.listeners.push(listener);
        }
        let text = self.text.take();
        let start = Start {
            arguments: self.arguments,
            environment: self.environment,
            program: self.program,
            wrapper: self.wrapper,
            passing: self.passing,
        };
        let daemon = TestDaemon::new(self.folder, self.backend, self.configuration, start);
        let text = text.unwrap_or_else(|| daemon.configuration.text(daemon.folder()));
        daemon.write_configuration(&text);
        daemon
    }

    /// Starts it and waits until it serves.
    pub(crate) fn start(self) -> TestDaemon {
        let mut daemon = self.prepare();
        daemon.start();
        daemon
    }
}
