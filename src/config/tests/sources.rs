//! Files that can be read and files that cannot.

use std::fs;

use super::GOOD;
use crate::config::{Environment, Given, Source, fixture};

#[test]
fn without_a_place_for_state_the_start_is_refused() {
    let homeless = Environment {
        home: None,
        ..fixture::environment()
    };
    let given = Given {
        config: Some("/x.toml".into()),
        ..Given::default()
    };
    let source = Source::new(&given, &homeless).unwrap();
    let error = source.parse(GOOD.to_owned()).unwrap_err().to_string();
    assert!(
        error.contains("neither XDG_STATE_HOME nor HOME is set"),
        "{error}"
    );
    source.parse(format!("state_dir = \"/s\"\n{GOOD}")).unwrap();
}

#[test]
fn what_is_no_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("large.toml"), vec![b'#'; 1024 * 1024 + 1]).unwrap();
    fs::write(path("latin.toml"), b"# ok\n# caf\xe9\n").unwrap();
    fs::create_dir(path("folder.toml")).unwrap();
    for (name, why) in [
        ("missing.toml", "No such file"),
        ("large.toml", "is larger than 1024 KiB"),
        ("latin.toml", "is not UTF-8 text: see line 2"),
        ("folder.toml", "it is a folder, not a regular file"),
    ] {
        let given = Given {
            config: Some(path(name)),
            ..Given::default()
        };
        let source = Source::new(&given, &fixture::environment()).unwrap();
        let error = source.load().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(error.contains(path(name).to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_reload_reads_the_same_file_with_the_same_overrides() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxyd.toml");
    let given = Given {
        config: Some("proxyd.toml".into()),
        workers: Some(3),
        ..Given::default()
    };
    let environment = Environment {
        current_dir: Some(folder.path().to_owned()),
        ..fixture::environment()
    };
    fs::write(&file, format!("workers = 1\n{GOOD}")).unwrap();
    let source = Source::new(&given, &environment).unwrap();
    let before = source.load().unwrap();
    fs::write(&file, format!("workers = 2\nwatch = false\n{GOOD}")).unwrap();
    let after = source.load().unwrap();
    assert_eq!((before.workers, before.watch), (3, true));
    assert_eq!((after.workers, after.watch), (3, false));
}
