//! Starts behind another supervisor, with good disks and broken ones.

use std::{fs, path::PathBuf};

use super::*;
use crate::{
    config::{Environment, Given},
    facts::IdentityOutcome,
    tls::testing::Ca,
};

/// A folder with a configuration and the certificate that it names, and what was served of it.
struct Disk {
    _folder: tempfile::TempDir,
    file: PathBuf,
    cert: PathBuf,
    ca: Ca,
    source: Source,
    memo: Memo,
    earlier: Earlier,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (file, cert, ca) = (at("proxyd.toml"), at("one.pem"), Ca::new("root"));
        let leaf = ca.server(&["one.example"]);
        fs::write(&cert, leaf.cert + &leaf.key).unwrap();
        let text = format!(
            "state_dir = \"{}\"\n[[identity]]\nname = \"one\"\ncert = \"{}\"\n\
             [[listener]]\nbind = \"127.0.0.1:1\"\nbackend = \"127.0.0.1:2\"\nidentities = [\"one\"]\n",
            folder.path().display(),
            cert.display()
        );
        fs::write(&file, &text).unwrap();
        let given = Given {
            config: Some(file.clone()),
            ..Given::default()
        };
        let source = Source::new(&given, &Environment::of_process()).unwrap();
        let config = source.load().unwrap();
        let material = preflight::first_material(&config, &Memo::default(), |_| {}).unwrap();
        let earlier = Earlier {
            reign: 1,
            number: 7,
            loaded_at: Timestamp::from_second(1).unwrap(),
            trigger: Trigger::Sighup,
            config: text,
            packs: Packs::default().next(&material).unwrap(),
            material,
        };
        Self {
            _folder: folder,
            file,
            cert,
            ca,
            source,
            memo: Memo::default(),
            earlier,
        }
    }

    fn successor(&self, holds: bool) -> Successor<'_> {
        Successor {
            earlier: &self.earlier,
            holds,
            source: &self.source,
            memo: &self.memo,
        }
    }

    fn try_first(&self, holds: bool) -> Result<(Config, First), Refusal> {
        let config = self.source.load().map_err(|error| unreadable(&error));
        self.successor(holds).first(config, |_| {})
    }

    fn first(&self) -> (Config, First) {
        self.try_first(false).unwrap()
    }

    fn serves_as_before(&self, first: &First) {
        assert!(first.material.is_same(&self.earlier.material));
        let same = (7, self.earlier.loaded_at, Trigger::Sighup);
        assert_eq!(first.same, Some(same));
        let packs = first.packs.next(&first.material).unwrap();
        assert!(packs.left().eq(self.earlier.packs.left()));
    }

    fn renew(&self) {
        let leaf = self.ca.server(&["one.example"]);
        fs::write(&self.cert, leaf.cert + &leaf.key).unwrap();
    }
}

fn told(first: &First) -> String {
    let problems = first.told.problems.iter().map(ToString::to_string);
    problems.collect::<Vec<_>>().join("; ")
}

#[test]
fn what_did_not_change_is_the_same_generation() {
    let disk = Disk::new();
    let (_, first) = disk.first();
    disk.serves_as_before(&first);
    assert_eq!(told(&first), "");
    let text = fs::read_to_string(&disk.file).unwrap();
    fs::write(&disk.file, format!("# a remark\n{text}")).unwrap();
    disk.serves_as_before(&disk.first().1);
}

#[test]
fn what_changed_meanwhile_is_another_generation() {
    let disk = Disk::new();
    disk.renew();
    let (_, first) = disk.first();
    assert_eq!((first.same, told(&first)), (None, String::new()));
    assert!(!first.material.is_same(&disk.earlier.material));
    let disk = Disk::new();
    let text = fs::read_to_string(&disk.file).unwrap();
    fs::write(&disk.file, format!("drain_timeout = \"7s\"\n{text}")).unwrap();
    let (config, first) = disk.first();
    assert_eq!((first.same, config.drain_timeout.as_secs()), (None, 7));
}

#[test]
fn a_certificate_that_is_broken_or_gone_stays_as_it_was() {
    let disk = Disk::new();
    for content in [Some("rubbish"), None] {
        match content {
            Some(content) => fs::write(&disk.cert, content).unwrap(),
            None => fs::remove_file(&disk.cert).unwrap(),
        }
        let (_, first) = disk.first();
        disk.serves_as_before(&first);
        assert!(
            told(&first).contains("identity \"one\""),
            "{}",
            told(&first)
        );
        assert!(!first.told.config_refused);
        let outcomes = first.told.identities.iter().map(|it| it.outcome);
        assert!(outcomes.eq([IdentityOutcome::Kept]));
    }
}

#[test]
fn a_configuration_that_is_broken_or_gone_leaves_that_of_before_in_force() {
    let disk = Disk::new();
    for content in [Some("workers = = 3"), None] {
        match content {
            Some(content) => fs::write(&disk.file, content).unwrap(),
            None => fs::remove_file(&disk.file).unwrap(),
        }
        let (config, first) = disk.first();
        disk.serves_as_before(&first);
        assert_eq!(config.identities.len(), 1);
        assert!(first.told.config_refused && !told(&first).is_empty());
        disk.renew();
        let (_, first) = disk.first();
        assert_eq!(first.same, None, "its files are read all the same");
        assert!(first.told.config_refused);
        restore(&disk);
    }
}

/// Puts the certificate back that was served.
fn restore(disk: &Disk) {
    let pair = &disk.earlier.material.identities[0].pair;
    let encode = |label: &str, der: &[u8]| {
        let text = data_encoding::BASE64.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    let chain = pair.chain.iter();
    let chain: String = chain
        .map(|it| encode("CERTIFICATE", it.as_bytes()))
        .collect();
    let key = encode("PRIVATE KEY", pair.key.as_bytes());
    fs::write(&disk.cert, chain + &key).unwrap();
}

#[test]
fn a_configuration_whose_new_files_are_broken_leaves_that_of_before_in_force() {
    let disk = Disk::new();
    let text = fs::read_to_string(&disk.file).unwrap();
    let new = "[[identity]]\nname = \"two\"\ncert = \"/nowhere/two.pem\"\n";
    fs::write(&disk.file, text + new).unwrap();
    let (config, first) = disk.first();
    disk.serves_as_before(&first);
    assert_eq!(config.identities.len(), 1);
    assert!(first.told.config_refused && told(&first).contains("\"two\""));
}

#[test]
fn a_rollback_holds_whatever_the_disk_says() {
    let disk = Disk::new();
    disk.renew();
    let (_, first) = disk.try_first(true).unwrap();
    disk.serves_as_before(&first);
    assert!(first.told.is_held);
    fs::write(&disk.file, "rubbish").unwrap();
    disk.serves_as_before(&disk.try_first(true).unwrap().1);
}

#[test]
fn a_configuration_of_before_that_this_program_cannot_read_refuses_a_start_only_where_it_is_needed()
{
    let mut disk = Disk::new();
    disk.earlier.config = "of_another_version = true".to_owned();
    let (_, first) = disk.first();
    assert_eq!(first.same, None);
    let (_, first) = disk.try_first(true).unwrap();
    assert!(!first.told.is_held);
    fs::write(&disk.file, "workers = = 3").unwrap();
    let refusal = disk.try_first(false).unwrap_err();
    assert!(refusal.contains("configuration"), "{refusal}");
}
