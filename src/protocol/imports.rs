//! Holds this room to its promise that it uses no other room of the program.

use std::path::{Path, PathBuf};

/// What stands before the name of a room.
const ROOT: &str = concat!("crate", "::");

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().expect("a folder of sources");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                sources(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Returns what is named in `source` from outside of this room.
fn imports(source: &str) -> impl Iterator<Item = &str> {
    let named = source.split(ROOT).skip(1);
    let lines = named.map(|behind| behind.lines().next().unwrap_or_default());
    lines.filter(|line| !line.starts_with("protocol::"))
}

#[test]
fn this_room_uses_no_other() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/protocol");
    let sources = sources(&room);
    assert!(sources.len() > 20, "the sources are found");
    for path in sources {
        let source = std::fs::read_to_string(&path).expect("a readable file");
        let found: Vec<_> = imports(&source).collect();
        assert!(found.is_empty(), "{} uses {found:?}", path.display());
    }
}

#[test]
fn an_import_of_another_room_is_found_in_every_form() {
    for other in ["config::Listener", "{config, protocol::bytes}", "tls"] {
        let source = format!("use std::fmt;\nuse {ROOT}{other};\n");
        assert_eq!(imports(&source).count(), 1, "{other}");
    }
    let own = format!("use {ROOT}protocol::bytes::Reader;\n");
    assert_eq!(imports(&own).count(), 0);
}
