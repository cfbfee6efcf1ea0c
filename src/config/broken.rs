//! What can be said of a configuration whose file is broken or gone.

use std::path::PathBuf;

use super::{Source, read};

/// The least that makes a text a configuration, whatever it says beside.
const LEAST: &str = "\n[[listener]]\nbind = \"127.0.0.1:1\"\nbackend = \"127.0.0.1:2\"\n";

/// The keys that decide where the control socket is.
const KEYS: [&str; 2] = ["control_socket", "state_dir"];

impl Source {
    /// Returns where the control socket of a daemon is that read the file before it broke, as far as the file still
    /// says that; `None` if nothing says it.
    #[must_use]
    pub fn control_socket_of_broken(&self) -> Option<PathBuf> {
        let text = self.file().and_then(|file| read::text(file).ok());
        let said = said(&text.unwrap_or_default());
        let config = self.parse(said + LEAST);
        let config = config.or_else(|_| self.parse(LEAST.to_owned()));
        config.ok().map(|it| it.control_socket)
    }
}

/// Returns the lines of a broken text that decide it.
fn said(text: &str) -> String {
    let lines = text.lines().map(str::trim_start);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let decides = |line: &&str| {
        let key = line.split('=').next().unwrap_or_default();
        KEYS.contains(&key.trim())
    };
    let lines: Vec<&str> = lines.filter(decides).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::config::{Given, fixture::environment};

    fn socket(text: Option<&str>) -> PathBuf {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxyd.toml");
        if let Some(text) = text {
            fs::write(&file, text).unwrap();
        }
        let given = Given {
            config: Some(file),
            ..Given::default()
        };
        let source = Source::new(&given, &environment()).unwrap();
        source.control_socket_of_broken().unwrap()
    }

    #[test]
    fn it_is_where_the_broken_file_still_says() {
        let usual = socket(None);
        for (text, expected) in [
            ("control_socket = \"/a/b\"\n[[listener", Path::new("/a/b")),
            (
                "  control_socket=\"/a/b\"\nworkers = = 3",
                Path::new("/a/b"),
            ),
            ("workers = 3\n[x]\ncontrol_socket = \"/a/b\"", &usual),
            ("control_socket = \"/a/b", &usual),
            ("", &usual),
        ] {
            assert_eq!(socket(Some(text)), expected, "{text}");
        }
    }
}
