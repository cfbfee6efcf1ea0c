//! A daemon's configuration file, put together from parts.

use std::{fmt::Write as _, path::Path};

use super::pki::Files;

/// What a configuration file is to say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Configuration {
    /// Lines before any table, such as `watch = false`.
    pub(crate) lines: Vec<String>,
    /// The identities, in order.
    pub(crate) identities: Vec<String>,
    /// The folders of identities, in order.
    pub(crate) identity_dirs: Vec<String>,
    /// Whole tables after these, such as identities with keys of other kinds.
    pub(crate) tables: Vec<String>,
    /// The listeners, in order.
    pub(crate) listeners: Vec<Listener>,
}

impl Configuration {
    /// Sets a key that stands before any table, in the place of what it was.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        let is_it = |line: &str| line.split_once(" = ").is_some_and(|(it, _)| it == key);
        self.lines.retain(|line| !is_it(line));
        self.lines.push(format!("{key} = {value}"));
    }

    /// Returns the listener of this name to change it.
    pub(crate) fn listener(&mut self, name: &str) -> &mut Listener {
        let mut listeners = self.listeners.iter_mut();
        listeners.find(|it| it.name == name).unwrap()
    }

    /// Returns the file's text, with identities in `folder`.
    pub(crate) fn text(&self, folder: &Path) -> String {
        let mut text = self.lines.join("\n") + "\n";
        for name in &self.identities {
            let Files { cert, key } = Files::of(folder, name);
            let (cert, key) = (cert.display(), key.display());
            let _ = writeln!(
                text,
                "\n[[identity]]\nname = {name:?}\ncert = \"{cert}\"\nkey = \"{key}\""
            );
        }
        for name in &self.identity_dirs {
            let path = folder.join(name);
            let path = path.display();
            let _ = writeln!(
                text,
                "\n[[identity_dir]]\nname = {name:?}\npath = \"{path}\""
            );
        }
        for table in &self.tables {
            let _ = writeln!(text, "\n{table}");
        }
        for listener in &self.listeners {
            let Listener {
                name,
                bind,
                protocol,
                backend,
                others,
                lines,
            } = listener;
            let backend = if others.is_empty() {
                format!("{backend:?}")
            } else {
                format!(
                    "{:?}",
                    [std::slice::from_ref(backend), &others[..]].concat()
                )
            };
            let _ = writeln!(
                text,
                "\n[[listener]]\nname = {name:?}\nbind = {bind:?}\nprotocol = {protocol:?}\n\
                 backend = {backend}\n{}",
                lines.join("\n")
            );
        }
        text
    }
}

/// A listener of a configuration file.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    /// Its name.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) bind: String,
    /// What it speaks.
    pub(crate) protocol: String,
    /// Where its sessions go.
    pub(crate) backend: String,
    /// Where else they may go.
    pub(crate) others: Vec<String>,
    /// Its other keys, such as `identities = ["other"]`.
    pub(crate) lines: Vec<String>,
}

impl Listener {
    /// Returns one that speaks TLS from the first byte, at a port of its own.
    pub(crate) fn tcp(name: &str, backend: &str) -> Self {
        Self {
            name: name.to_owned(),
            bind: "127.0.0.1:0".to_owned(),
            protocol: "tcp".to_owned(),
            backend: backend.to_owned(),
            others: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Goes here too, where it cannot go to those before.
    pub(crate) fn or(mut self, backend: &str) -> Self {
        self.others.push(backend.to_owned());
        self
    }

    /// Speaks this protocol instead.
    pub(crate) fn protocol(mut self, protocol: &str) -> Self {
        protocol.clone_into(&mut self.protocol);
        self
    }

    /// Listens here instead.
    pub(crate) fn bind(mut self, bind: &str) -> Self {
        bind.clone_into(&mut self.bind);
        self
    }

    /// Adds a key, such as `identities = ["other"]`.
    pub(crate) fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }
}
