//! Holds the parts of a worker through which a session comes to be to using only those below them.

use std::path::{Path, PathBuf};

/// From the lowest to the highest.
const LAYERS: [&str; 7] = [
    "deadline", "backends", "service", "context", "connect", "opening", "serve",
];

/// Returns the sources of a part, which is a file or a folder.
fn sources(part: &str) -> Vec<PathBuf> {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/worker");
    let mut found = Vec::new();
    let mut open = vec![room.join(part), room.join(format!("{part}.rs"))];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = path.read_dir().unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

/// Whether code, not a comment, names something in a part.
fn uses(source: &str, part: &str) -> bool {
    let code = source
        .lines()
        .filter(|it| !it.trim_start().starts_with("//"));
    let starts_there =
        |before: &str| !before.ends_with(|it: char| it.is_alphanumeric() || it == '_');
    let name = format!("{part}::");
    let mut named = code.flat_map(|line| {
        let places = line.match_indices(&name);
        places.map(|(place, _)| &line[..place]).collect::<Vec<_>>()
    });
    named.any(starts_there)
}

#[test]
fn a_part_uses_only_those_below_it() {
    for (height, part) in LAYERS.iter().enumerate() {
        let sources = sources(part);
        assert!(!sources.is_empty(), "{part} is found");
        for path in sources {
            let source = std::fs::read_to_string(&path).unwrap();
            for above in &LAYERS[height + 1..] {
                assert!(!uses(&source, above), "{} uses {above}", path.display());
            }
        }
    }
}
