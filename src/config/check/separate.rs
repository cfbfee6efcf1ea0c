//! The daemon's own files and folders must not be in each other's place.

use std::path::Path;

use super::{Address, Check, Config, Problem};
use crate::config::control_cookie;

/// What the file beside the control socket is called in problems.
const COOKIE: &str = "the control cookie";

impl Check<'_> {
    /// Notes where a file of the daemon has the path of another, or of a folder that the daemon needs.
    pub(super) fn separate(&mut self, config: &Config) {
        let problems = clashes(config).into_iter();
        self.problems.extend(problems.map(|message| Problem {
            message,
            span: None,
        }));
    }
}

fn clashes(config: &Config) -> Vec<String> {
    let cookie = control_cookie(&config.control_socket);
    let listeners = config.listeners.iter();
    let sockets = listeners.filter_map(|listener| match &listener.bind {
        Address::Unix(path) => Some((format!("the socket of listener `{}`", listener.name), path)),
        Address::Tcp { .. } => None,
    });
    let log = config.log.file.iter();
    let files: Vec<(String, &Path)> = [("`pid_file`".to_owned(), &config.pid_file)]
        .into_iter()
        .chain(log.map(|path| ("the log file".to_owned(), path)))
        .chain([("`control_socket`".to_owned(), &config.control_socket)])
        .chain([(COOKIE.to_owned(), &cookie)])
        .chain(sockets)
        .map(|(what, path)| (what, path.as_path()))
        .collect();
    let state = ("`state_dir`".to_owned(), config.state_dir.as_path());
    let mut clashes = Vec::new();
    for (index, (what, file)) in files.iter().enumerate() {
        let later = files[index + 1..].iter().chain([&state]);
        for (other, path) in later {
            if file == path && !both_sockets(what, other) {
                clashes.push(format!(
                    "{what} and {other} have the same path, {}; choose another for one of them",
                    file.display()
                ));
            }
        }
        // What is said of the control socket need not be said of its cookie too.
        let all = files.iter().filter(|(what, _)| what != COOKIE);
        let all = all.chain([&state]);
        for (other, path) in all.filter(|(_, path)| path.starts_with(file) && path != file) {
            clashes.push(format!(
                "{other} is at {}, below {}, which is {what} and no folder; choose another path for one \
                 of them",
                path.display(),
                file.display()
            ));
        }
    }
    clashes
}

/// Whether both are sockets, of which the check of addresses says that they have one path.
fn both_sockets(one: &str, other: &str) -> bool {
    one.contains("socket") && other.contains("socket")
}
