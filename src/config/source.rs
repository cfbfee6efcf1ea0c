//! Where a configuration comes from, so that a reload asks the same places as the start.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    BackendTls, ChannelBinding, ClientAuth, Config, ConfigError, Environment, Given, Limits,
    Listener, LogFormat, LogLevel, ProxyProtocol, Report, TlsPolicy, check, file::File, read,
};
use crate::protocol::Protocol;

/// The file that is read when neither the command line nor the environment names one.
pub const DEFAULT_FILE: &str = "/etc/proxyd/proxyd.toml";

/// Where a configuration comes from.
///
/// All paths in it are absolute, so it stays good when the process changes its directory, and it
/// can be handed to the program's next version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    file: Option<PathBuf>,
    overrides: Overrides,
    environment: Environment,
}

/// What the command line says in place of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Overrides {
    pub(super) workers: Option<usize>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) control_socket: Option<PathBuf>,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) log_level: Option<LogLevel>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) listener: Option<Listener>,
}

impl Source {
    /// Decides from the command line and the environment where the configuration comes from.
    pub fn new(given: &Given, environment: &Environment) -> Result<Self, ConfigError> {
        let resolve = |path: Option<&PathBuf>| {
            path.map(|path| resolve(path, environment.current_dir.as_deref()))
                .transpose()
        };
        let file = match (&given.config, &given.listen) {
            (Some(file), _) => Some(file.clone()),
            (None, Some(_)) => None,
            (None, None) => Some(environment.config.clone().unwrap_or(DEFAULT_FILE.into())),
        };
        let socket = given
            .control_socket
            .as_ref()
            .or(environment.control_socket.as_ref());
        Ok(Self {
            file: resolve(file.as_ref())?,
            overrides: Overrides {
                workers: given.workers.map(usize::from),
                state_dir: resolve(given.state_dir.as_ref())?,
                control_socket: resolve(socket)?,
                pid_file: resolve(given.pid_file.as_ref())?,
                log_level: given.log_level,
                log_format: given.log_format,
                listener: listener(given),
            },
            environment: environment.clone(),
        })
    }

    /// Returns the configuration file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Returns the folder in which paths on the command line begin.
    #[must_use]
    pub fn directory(&self) -> Option<PathBuf> {
        self.environment.current_dir.clone()
    }

    /// Reads the file again, if there is one, and returns what it and the command line say now.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let text = self.file().map(read::text).transpose()?;
        self.parse(text.unwrap_or_default())
    }

    /// Returns what the configuration would be if the file held `text`.
    pub fn parse(&self, text: String) -> Result<Config, ConfigError> {
        let (file, problems) = match &self.file {
            Some(path) => {
                if let Some(line) = read::pem_line(&text) {
                    let path = path.clone();
                    return Err(ConfigError::Pem { path, line });
                }
                read::parse(&text)
            }
            None => (File::default(), Vec::new()),
        };
        match check::check(file, problems, self) {
            Ok(config) => Ok(Config {
                text: text.as_str().into(),
                ..config
            }),
            Err(problems) => Err(Report::new(self.file.clone(), text, problems).into()),
        }
    }

    pub(super) fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// Makes `path` absolute and refuses what neither the status nor a worker could be told.
fn resolve(path: &Path, current_dir: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let whole = match current_dir {
        _ if path.is_absolute() => path.to_owned(),
        Some(current_dir) => current_dir.join(path),
        None => return Err(ConfigError::NoCurrentDirectory { path: path.into() }),
    };
    match whole.to_str() {
        Some(_) => Ok(whole.components().collect()),
        None => Err(ConfigError::PathNotText { path: whole }),
    }
}

/// Returns the listener that the command line describes.
fn listener(given: &Given) -> Option<Listener> {
    Some(Listener {
        name: super::DEFAULT_NAME.to_owned(),
        bind: given.listen.clone()?,
        freebind: false,
        protocol: given.protocol.unwrap_or(Protocol::Tcp),
        backends: given.backend.clone()?.into(),
        identities: vec![super::DEFAULT_NAME.to_owned()],
        server_names: Vec::new(),
        channel_binding: ChannelBinding::default(),
        allow_cleartext_password: false,
        tls: TlsPolicy::default(),
        client_auth: ClientAuth::default(),
        backend_tls: BackendTls::default(),
        proxy_protocol: ProxyProtocol::default(),
        limits: Limits::default(),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{cli::proxyd::Args, config::fixture::environment};

    fn source(line: &str, environment: &Environment) -> Source {
        let given = Args::try_parse_from(line.split_whitespace())
            .unwrap()
            .given();
        Source::new(&given, environment).unwrap()
    }

    #[test]
    fn the_file_is_the_one_typed_then_the_exported_then_the_usual() {
        let exported = Environment {
            config: Some("/exported.toml".into()),
            ..environment()
        };
        for (line, environment, file) in [
            ("proxyd", &environment(), Some(DEFAULT_FILE)),
            ("proxyd", &exported, Some("/exported.toml")),
            (
                "proxyd --config ./typed.toml",
                &exported,
                Some("/srv/op/typed.toml"),
            ),
            ("proxyd --listen h:1 --backend h:2", &exported, None),
        ] {
            let source = source(line, environment);
            assert_eq!(source.file(), file.map(Path::new), "{line}");
        }
    }

    #[test]
    fn the_command_line_alone_is_enough() {
        let line = "proxyd --listen [::]:0 --backend unix:/db --protocol postgres \
            --state-dir st --control-socket c.sock --pid-file /p --workers 7 \
            --log-format json --log-level debug";
        let config = source(line, &environment()).load().unwrap();
        let [listener] = &config.listeners[..] else {
            panic!()
        };
        assert_eq!(config.source, None);
        assert_eq!(listener.name, "default");
        assert_eq!(listener.protocol, Protocol::Postgres);
        assert_eq!(listener.identities, ["default"]);
        assert_eq!(config.workers, 7);
        assert_eq!(config.state_dir, Path::new("/srv/op/st"));
        assert_eq!(config.control_socket, Path::new("/srv/op/c.sock"));
        assert_eq!(config.pid_file, Path::new("/p"));
        assert_eq!(config.log.format, LogFormat::Json);
        assert_eq!(config.log.level, LogLevel::Debug);
        assert_eq!(
            config.identities[0].cert,
            Path::new("/srv/op/st/tls/server.pem")
        );
    }

    #[test]
    fn the_socket_is_the_one_typed_then_the_exported_then_the_written() {
        let exported = Environment {
            control_socket: Some("/exported".into()),
            ..environment()
        };
        let text = "control_socket = \"/written\"\n\
            [[listener]]\nbind = \"h:1\"\nbackend = \"h:2\"\n";
        for (line, environment, socket) in [
            ("proxyd", &environment(), "/written"),
            ("proxyd", &exported, "/exported"),
            ("proxyd --control-socket /typed", &exported, "/typed"),
        ] {
            let config = source(line, environment).parse(text.to_owned()).unwrap();
            assert_eq!(config.control_socket, Path::new(socket));
        }
    }

    #[test]
    fn a_relative_path_without_a_current_directory_is_refused() {
        let lost = Environment {
            current_dir: None,
            ..environment()
        };
        let given = Given {
            config: Some("x.toml".into()),
            ..Given::default()
        };
        let error = Source::new(&given, &lost).unwrap_err().to_string();
        assert!(
            error.contains("x.toml: the current directory is unknown"),
            "{error}"
        );
    }

    #[test]
    fn a_path_that_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStrExt;

        let given = Given {
            pid_file: Some(std::ffi::OsStr::from_bytes(b"/\xff").into()),
            ..Given::default()
        };
        let error = Source::new(&given, &environment()).unwrap_err();
        assert!(matches!(error, ConfigError::PathNotText { .. }));
    }
}
