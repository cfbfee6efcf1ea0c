use std::fs;

use super::*;
use crate::{
    config::{BackendTlsMode, ClientAuthMode, IdentityDir},
    store::files::{discover::discover, survey::pieces},
    tls::{
        material::BackendTrust,
        testing::{self, Ca, Leaf, listener},
    },
};

/// A folder of TLS files and the configuration that names them.
struct Site {
    dir: tempfile::TempDir,
    config: Config,
    ca: Ca,
    memo: Memo,
}

impl Site {
    /// One identity `default`, a client bundle with a revocation list, and a checked backend.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut listener = listener(&["default"]);
        listener.client_auth.mode = ClientAuthMode::Required;
        listener.client_auth.ca = Some(dir.path().join("ca"));
        listener.client_auth.crl = vec![dir.path().join("crl")];
        listener.backend_tls.mode = BackendTlsMode::VerifyFull;
        listener.backend_tls.ca = Some(dir.path().join("db-ca"));
        listener.backend_tls.cert = Some(dir.path().join("c"));
        listener.backend_tls.key = Some(dir.path().join("c.key"));
        let mut config = testing::config(vec![listener]);
        config.identities.push(IdentityFiles::pem(
            "default",
            dir.path().join("cert"),
            dir.path().join("key"),
        ));
        let ca = Ca::new("root");
        let memo = Memo::default();
        let site = Self {
            dir,
            config,
            ca,
            memo,
        };
        site.fill();
        site
    }

    fn fill(&self) {
        let leaf = self.ca.server(&["db.example.com"]);
        self.put("ca", &self.ca.pem);
        self.put("crl", &self.ca.revoke(&leaf, 2090));
        self.put("db-ca", &self.ca.pem);
        self.put("c", &leaf.cert);
        self.put("c.key", &leaf.key);
        self.renew();
    }

    fn renew(&self) -> Leaf {
        let leaf = self.ca.server(&["db.example.com"]);
        self.put("cert", &leaf.cert);
        self.put("key", &leaf.key);
        leaf
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn load(&self, last: Option<&Material>) -> Loaded {
        let look = Look {
            memo: &self.memo,
            depth: Depth::Stamps,
            now: Timestamp::now(),
            programs: Programs::All,
            owner: Owner::InForce,
        };
        load(&self.config, last, look)
    }

    fn good(&self) -> Material {
        let loaded = self.load(None);
        assert_eq!(loaded.problems, []);
        loaded.material.unwrap()
    }
}

fn outcome_of(loaded: &Loaded) -> Option<IdentityOutcome> {
    loaded.outcomes[0].outcome
}

#[test]
fn the_same_files_give_the_same_material() {
    let site = Site::new();
    let first = site.good();
    let again = site.load(Some(&first));
    assert_eq!(outcome_of(&again), Some(IdentityOutcome::Unchanged));
    assert!(again.material.unwrap().is_same(&first));
    site.renew();
    let renewed = site.load(Some(&first));
    assert_eq!(outcome_of(&renewed), Some(IdentityOutcome::Updated));
    let changes = renewed.changes(Some(&first)).identities;
    assert_eq!(changes[0].old.as_ref(), Some(&first.identities[0].facts));
    assert_ne!(changes[0].new.as_ref(), Some(&first.identities[0].facts));
    assert!(!renewed.material.unwrap().is_same(&first));
}

#[test]
fn a_broken_piece_stays_at_its_last_good_state() {
    let files = ["cert", "key", "ca", "crl", "db-ca", "c", "c.key"];
    for name in files {
        let site = Site::new();
        let first = site.good();
        site.put(name, "rubbish");
        let loaded = site.load(Some(&first));
        assert_eq!(loaded.problems.len(), 1, "{name}: {:?}", loaded.problems);
        let file = loaded.problems[0].file.as_ref().unwrap();
        assert!(file.ends_with(&format!("/{name}")), "{file}");
        assert!(loaded.material.unwrap().is_same(&first));
        assert!(site.load(None).material.is_none(), "{name}");
    }
}

#[test]
fn lists_that_do_not_name_their_key_are_told_apart_by_who_signed_them() {
    let site = Site::new();
    let (old, new) = (&site.ca, Ca::new("root"));
    let lists = [
        old.nameless_list(&[], 1, 2090),
        new.nameless_list(&[], 2, 2090),
    ];
    site.put("ca", &[&*old.pem, &new.pem].concat());
    site.put("crl", &lists.concat());
    let count = || {
        site.good().listeners[0]
            .clients
            .as_ref()
            .unwrap()
            .crls
            .len()
    };
    assert_eq!(count(), 2);
    site.put(
        "crl",
        &[lists.concat(), old.nameless_list(&[], 3, 2090)].concat(),
    );
    assert_eq!(count(), 2);
}

#[test]
fn a_broken_piece_does_not_hold_back_the_others() {
    let site = Site::new();
    let first = site.good();
    let leaf = site.renew();
    site.put("crl", "");
    let loaded = site.load(Some(&first));
    let material = loaded.material.unwrap();
    assert_eq!(material.identities[0].pair.leaf(), leaf.pair().leaf());
    let crls = |it: &Material| it.listeners[0].clients.as_ref().unwrap().crls.clone();
    assert_eq!(crls(&material), crls(&first));
    assert_eq!(
        loaded.problems[0].subject,
        "listener \"orders\" client_auth"
    );
    assert_eq!(loaded.problems[0].reason, "it is empty");
}

#[test]
fn every_problem_is_told_at_once() {
    let site = Site::new();
    for name in ["cert", "key", "ca", "crl", "db-ca", "c", "c.key"] {
        fs::remove_file(site.dir.path().join(name)).unwrap();
    }
    let loaded = site.load(None);
    assert!(loaded.material.is_none());
    assert_eq!(loaded.problems.len(), 7, "{:?}", loaded.problems);
    assert_eq!(loaded.outcomes[0].outcome, None);
    let first = loaded.problems[0].to_string();
    assert!(first.starts_with("identity \"default\": "), "{first}");
    assert!(first.ends_with("/cert: there is no such file"), "{first}");
}

#[test]
fn a_pair_that_stays_half_written_keeps_the_old_one() {
    let site = Site::new();
    let first = site.good();
    site.put("cert", &site.ca.server(&["db.example.com"]).cert);
    let loaded = site.load(Some(&first));
    assert_eq!(outcome_of(&loaded), Some(IdentityOutcome::Kept));
    let changes = loaded.changes(Some(&first)).identities;
    assert_eq!(changes[0].new.as_ref(), Some(&first.identities[0].facts));
    let verified = loaded.verified(Some(&first));
    assert_eq!(verified[0].disk, None);
    assert_eq!(verified[0].served, changes[0].new);
}

#[test]
fn odd_bundles_are_told_but_loaded() {
    let site = Site::new();
    let stranger = Ca::new("stranger");
    let leaf = site.ca.server(&["x"]);
    let late = format!(
        "{}{}",
        site.ca.revoke(&leaf, 2021),
        stranger.revoke(&leaf, 2090)
    );
    site.put("crl", &late);
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    site.put("db-ca", &format!("{}{key}", site.ca.pem));
    let loaded = site.load(None);
    assert!(loaded.material.is_some(), "{:?}", loaded.problems);
    let told: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    let told = told.join("\n");
    assert!(told.contains("replaced by 2021-01-01"), "{told}");
    assert!(told.contains("CN=stranger is of no authority"), "{told}");
    assert!(told.contains("it holds a private key"), "{told}");
}

#[test]
fn a_fingerprint_follows_content_and_not_times() {
    let site = Site::new();
    let first = fingerprint(&site.config, &site.memo);
    let text = fs::read_to_string(site.dir.path().join("crl")).unwrap();
    site.put("crl", &text);
    assert_eq!(fingerprint(&site.config, &site.memo), first);
    site.put("crl", &format!("{text}\n"));
    assert_ne!(fingerprint(&site.config, &site.memo), first);
    let found = discover(&site.config);
    let paths = pieces(&site.config, &found).flat_map(|it| it.paths.into_all());
    assert_eq!(paths.count(), 7);
}

#[test]
fn the_system_s_authorities_stand_in_for_none() {
    let mut site = Site::new();
    site.config.listeners[0].backend_tls.ca = None;
    let loaded = site.load(None);
    let Some(material) = loaded.material else {
        // A machine without authorities is told so.
        let reason = loaded.problems[0].to_string();
        assert!(reason.contains("name one with `ca`"), "{reason}");
        return;
    };
    let trust = &material.listeners[0].backend;
    assert!(matches!(trust, Some(BackendTrust::System)));
    assert!(!material.system_roots.is_empty());
    let again = site.load(Some(&material)).material.unwrap();
    assert!(again.is_same(&material));
    let config = policy::client_config(&site.config.listeners[0], &material);
    assert!(config.unwrap().is_some());
}

/// A site whose identities lie in a folder called `live` instead.
fn folder_site(names: &[&str]) -> Site {
    let mut site = Site::new();
    site.config.identities.clear();
    site.config.identity_dirs.push(IdentityDir {
        name: "live".to_owned(),
        path: site.dir.path().join("live"),
    });
    site.config.listeners[0].identities = vec!["live".to_owned()];
    fs::create_dir(site.dir.path().join("live")).unwrap();
    for name in names {
        site.put_identity(name);
    }
    site
}

impl Site {
    fn put_identity(&self, name: &str) -> Leaf {
        let leaf = self.ca.server(&[name]);
        let both = format!("{}{}", leaf.cert, leaf.key);
        self.put(&format!("live/{name}.pem"), &both);
        leaf
    }

    fn load_now(&self, last: &Material) -> Loaded {
        self.load(Some(last))
    }
}

fn outcomes(loaded: &Loaded, last: &Material) -> Vec<(String, IdentityOutcome)> {
    let changes = loaded.changes(Some(last)).identities.into_iter();
    changes.map(|it| (it.name, it.outcome)).collect()
}

fn outcome(name: &str, outcome: IdentityOutcome) -> (String, IdentityOutcome) {
    (format!("live/{name}"), outcome)
}

#[test]
fn identities_of_a_folder_come_change_and_go() {
    let site = folder_site(&["a", "b"]);
    let first = site.good();
    let names: Vec<_> = first.identities.iter().map(|it| &it.name).collect();
    assert_eq!(names, ["live/a", "live/b"]);
    site.put_identity("b");
    site.put_identity("c");
    fs::remove_file(site.dir.path().join("live/a.pem")).unwrap();
    let loaded = site.load_now(&first);
    assert_eq!(loaded.problems, []);
    assert_eq!(
        outcomes(&loaded, &first),
        [
            outcome("b", IdentityOutcome::Updated),
            outcome("c", IdentityOutcome::Updated),
            outcome("a", IdentityOutcome::Removed),
        ]
    );
    assert_eq!(loaded.material.unwrap().identities.len(), 2);
}

#[test]
fn a_broken_newcomer_of_a_folder_is_left_out_and_an_old_one_kept() {
    let site = folder_site(&["a", "b", "c"]);
    let first = site.good();
    site.put_identity("a");
    site.put("live/b.pem", "rubbish");
    site.put("live/new.pem", "rubbish");
    let loaded = site.load_now(&first);
    assert_eq!(loaded.problems.len(), 2, "{:?}", loaded.problems);
    assert_eq!(
        outcomes(&loaded, &first),
        [
            outcome("a", IdentityOutcome::Updated),
            outcome("b", IdentityOutcome::Kept),
            outcome("c", IdentityOutcome::Unchanged),
            outcome("new", IdentityOutcome::LeftOut),
        ]
    );
    assert_eq!(loaded.material.unwrap().identities.len(), 3);
}

#[test]
fn a_folder_that_is_gone_or_empty_keeps_all_it_held() {
    for gone in [true, false] {
        let site = folder_site(&["a", "b"]);
        let first = site.good();
        fs::remove_dir_all(site.dir.path().join("live")).unwrap();
        if !gone {
            fs::create_dir(site.dir.path().join("live")).unwrap();
        }
        let loaded = site.load_now(&first);
        assert_eq!(loaded.problems.len(), 1);
        assert_eq!(
            outcomes(&loaded, &first),
            ["a", "b"].map(|name| outcome(name, IdentityOutcome::Kept))
        );
        assert!(loaded.material.unwrap().is_same(&first));
        assert!(site.load(None).material.is_none());
    }
}

#[test]
fn what_is_held_back_is_told_and_nothing_changes() {
    let site = folder_site(&["a", "b"]);
    let first = site.good();
    site.put_identity("a");
    site.put("live/b.pem", "rubbish");
    let mut loaded = site.load_now(&first);
    loaded.hold();
    assert!(loaded.material.is_none());
    assert_eq!(
        outcomes(&loaded, &first),
        [
            outcome("a", IdentityOutcome::Held),
            outcome("b", IdentityOutcome::Kept),
        ]
    );
    let held = &loaded.changes(Some(&first)).identities[0];
    assert_eq!(held.new, held.old);
}

#[test]
fn what_did_not_change_is_not_judged_again() {
    let site = folder_site(&["a", "b"]);
    let first = site.good();
    site.put_identity("b");
    let next = site.load_now(&first).material.unwrap();
    assert!(Arc::ptr_eq(&first.identities[0], &next.identities[0]));
    assert!(!Arc::ptr_eq(&first.identities[1], &next.identities[1]));
}

#[test]
fn what_another_configuration_needs_costs_the_one_in_force_nothing() {
    let (site, mut other) = (folder_site(&["a"]), folder_site(&["b"]));
    let first = site.good();
    other.config.identity_dirs[0].name = "other".to_owned();
    let look = Look {
        memo: &site.memo,
        depth: Depth::Promised,
        now: Timestamp::now(),
        programs: Programs::All,
        owner: Owner::Other,
    };
    let _ = load(&other.config, None, look);
    let next = site.load_now(&first).material.unwrap();
    assert!(Arc::ptr_eq(&first.identities[0], &next.identities[0]));
}

#[test]
fn what_expires_is_judged_again_although_its_files_stay() {
    let site = folder_site(&["a"]);
    let first = site.good();
    let after =
        first.identities[0].facts.not_after.to_timestamp() + std::time::Duration::from_secs(1);
    let look = Look {
        memo: &site.memo,
        depth: Depth::Stamps,
        now: after,
        programs: Programs::All,
        owner: Owner::InForce,
    };
    let loaded = load(&site.config, Some(&first), look);
    assert!(
        loaded
            .problems
            .iter()
            .any(|it| it.reason.contains("expired"))
    );
    assert_eq!(outcomes(&loaded, &first)[0].1, IdentityOutcome::Kept);
}

#[test]
fn a_fingerprint_sees_what_comes_and_goes_in_a_folder() {
    let site = folder_site(&["a"]);
    let first = fingerprint(&site.config, &site.memo);
    site.put_identity("b");
    let second = fingerprint(&site.config, &site.memo);
    assert_ne!(second, first);
    fs::remove_file(site.dir.path().join("live/b.pem")).unwrap();
    assert_eq!(fingerprint(&site.config, &site.memo), first);
}

#[test]
fn a_folder_in_which_nothing_is_good_keeps_all_it_held() {
    for stray in ["ca.pem", "b.pem"] {
        let site = folder_site(&["a"]);
        let first = site.good();
        fs::remove_file(site.dir.path().join("live/a.pem")).unwrap();
        site.put(&format!("live/{stray}"), &site.ca.pem);
        let loaded = site.load_now(&first);
        assert_eq!(loaded.problems.len(), 1, "{:?}", loaded.problems);
        let all = outcomes(&loaded, &first);
        assert!(
            all.contains(&outcome("a", IdentityOutcome::Kept)),
            "{all:?}"
        );
        assert!(loaded.material.unwrap().is_same(&first));
        assert!(site.load(None).material.is_none());
    }
}

#[test]
fn authorities_beside_identities_are_passed_over_unless_one_was_served_from_there() {
    let site = folder_site(&["a", "b"]);
    site.put("live/ca.pem", &[&*site.ca.pem, &site.ca.pem].concat());
    let first = site.good();
    assert_eq!(first.identities.len(), 2);
    site.put("live/b.pem", &site.ca.pem);
    let loaded = site.load_now(&first);
    let names = |all: &[Problem], file| all.iter().any(|it| it.to_string().contains(file));
    assert!(names(&loaded.warnings, "/ca.pem: it holds authorities"));
    assert!(names(&loaded.problems, "/b.pem: it holds authorities"));
    assert_eq!(outcomes(&loaded, &first).len(), 2);
    assert!(loaded.material.unwrap().is_same(&first));
}

#[test]
fn an_entry_that_is_empty_for_a_moment_keeps_what_it_was() {
    let site = folder_site(&["a"]);
    fs::create_dir(site.dir.path().join("live/b")).unwrap();
    let leaf = site.ca.server(&["b"]);
    site.put("live/b/fullchain.pem", &leaf.cert);
    site.put("live/b/privkey.pem", &leaf.key);
    let first = site.good();
    for name in ["fullchain.pem", "privkey.pem"] {
        fs::remove_file(site.dir.path().join("live/b").join(name)).unwrap();
    }
    let loaded = site.load_now(&first);
    assert_eq!(loaded.problems.len(), 1);
    assert_eq!(
        outcomes(&loaded, &first)[1],
        outcome("b", IdentityOutcome::Kept)
    );
    assert!(loaded.material.unwrap().is_same(&first));
}

#[test]
fn what_no_worker_could_serve_is_no_material() {
    let mut site = Site::new();
    let first = site.good();
    site.config.listeners[0].identities = vec!["nobody".to_owned()];
    site.renew();
    let loaded = site.load(Some(&first));
    assert!(loaded.material.is_none());
    let reason = loaded.problems[0].to_string();
    assert!(reason.contains("identity \"nobody\""), "{reason}");
}
