//! What the tests of this room start from.

use std::path::PathBuf;

use super::{Config, ConfigError, Environment, Given, Source};

/// A user with a home and nothing else.
pub(crate) fn environment() -> Environment {
    Environment {
        uid: 1000,
        cpus: 4,
        current_dir: Some("/srv/op".into()),
        home: Some("/home/op".into()),
        xdg_state_home: None,
        xdg_runtime_dir: None,
        state_directory: None,
        runtime_directory: None,
        logs_directory: None,
        config: None,
        control_socket: None,
    }
}

/// The file `/etc/proxyd/proxyd.toml`, which need not exist.
pub(super) fn source() -> Source {
    let given = Given {
        config: Some(PathBuf::from("/etc/proxyd/proxyd.toml")),
        ..Given::default()
    };
    Source::new(&given, &environment()).unwrap()
}

/// What the file would mean if it held `text`.
pub(super) fn parse(text: &str) -> Result<Config, ConfigError> {
    source().parse(text.to_owned())
}

/// The least that is a configuration.
pub(super) fn config() -> Config {
    parse("[[listener]]\nbind = \"[::]:3307\"\nbackend = \"db:3306\"").unwrap()
}
