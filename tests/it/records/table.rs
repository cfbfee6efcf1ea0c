//! The table of clauses in `docs/records.md` against the tests that it names.

use std::{collections::BTreeSet, fs, path::Path};

const TABLE: &str = include_str!("../../../docs/records.md");

/// Returns the tests that the table names: whatever stands between backquotes and has `::` before its
/// last part, which is a function of the file that the others name.
fn named() -> Vec<(String, String)> {
    let rows = TABLE.lines().filter(|line| line.starts_with('|'));
    let words = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    let tests = words.filter_map(|word| word.rsplit_once("::"));
    tests
        .map(|(module, test)| (module.to_owned(), test.to_owned()))
        .collect()
}

/// Returns the names of the tests in a file.
fn tests_of(path: &Path) -> BTreeSet<String> {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut parts = text.split("#[test]\n");
    parts.next();
    let name = |part: &str| {
        let (_, rest) = part.split_once("fn ")?;
        Some(rest.split_once('(')?.0.to_owned())
    };
    parts.filter_map(name).collect()
}

/// Returns the file of a module that the table names: `records::empty` is one of these tests, and
/// `tls::records::open` one of the program's own.
fn file_of(module: &str) -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = module.replace("::", "/");
    let folder = if module.starts_with("tls::") {
        "src"
    } else {
        "tests/it"
    };
    root.join(folder).join(path).with_extension("rs")
}

#[test]
fn every_test_that_the_table_of_clauses_names_is_there() {
    let named = named();
    assert!(named.len() > 50, "{named:?}");
    let missing: Vec<_> = named
        .iter()
        .filter(|(module, test)| !tests_of(&file_of(module)).contains(test))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_test_of_records_has_a_place_in_the_table_of_clauses() {
    let named: BTreeSet<_> = named().into_iter().collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/records");
    let mut missing = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_none_or(|it| it != "rs") || module == "table" {
            continue;
        }
        let module = format!("records::{module}");
        let tests = tests_of(&path).into_iter();
        missing.extend(
            tests
                .map(|test| (module.clone(), test))
                .filter(|it| !named.contains(it)),
        );
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
