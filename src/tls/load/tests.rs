use std::fs;

use super::*;
use crate::{
    config::{BackendTlsMode, ClientAuthMode},
    tls::testing::{self, Ca, Leaf, listener},
};

/// A folder of TLS files and the configuration that names them.
struct Site {
    dir: tempfile::TempDir,
    config: Config,
    ca: Ca,
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
        config.identities.push(IdentityFiles {
            name: "default".to_owned(),
            cert: dir.path().join("cert"),
            key: dir.path().join("key"),
            created: false,
        });
        let ca = Ca::new("root");
        let site = Self { dir, config, ca };
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
        load(&self.config, last, Timestamp::now())
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
fn the_same_files_give_the_same_digest() {
    let site = Site::new();
    let first = site.good();
    let again = site.load(Some(&first));
    assert_eq!(outcome_of(&again), Some(IdentityOutcome::Unchanged));
    assert_eq!(again.material.unwrap().digest(), first.digest());
    site.renew();
    let renewed = site.load(Some(&first));
    assert_eq!(outcome_of(&renewed), Some(IdentityOutcome::Updated));
    let changes = renewed.changes(Some(&first));
    assert_eq!(changes[0].old.as_ref(), Some(&first.identities[0].facts));
    assert_ne!(changes[0].new, first.identities[0].facts);
    assert_ne!(renewed.material.unwrap().digest(), first.digest());
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
        assert_eq!(loaded.material.unwrap().digest(), first.digest());
        assert!(site.load(None).material.is_none(), "{name}");
    }
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
fn a_pair_that_is_half_written_is_waited_for() {
    let site = Site::new();
    let first = site.good();
    let leaf = site.ca.server(&["db.example.com"]);
    site.put("cert", &leaf.cert);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::park_timeout(std::time::Duration::from_millis(20));
            site.put("key", &leaf.key);
        });
        let loaded = site.load(Some(&first));
        assert_eq!(loaded.problems, []);
        assert_eq!(outcome_of(&loaded), Some(IdentityOutcome::Updated));
    });
}

#[test]
fn a_pair_that_stays_half_written_keeps_the_old_one() {
    let site = Site::new();
    let first = site.good();
    site.put("cert", &site.ca.server(&["db.example.com"]).cert);
    let loaded = site.load(Some(&first));
    assert_eq!(outcome_of(&loaded), Some(IdentityOutcome::Kept));
    let changes = loaded.changes(Some(&first));
    assert_eq!(changes[0].new, first.identities[0].facts);
    let verified = loaded.verified(&site.config, Some(&first));
    assert_eq!(verified[0].disk, None);
    assert_eq!(verified[0].served.as_ref(), Some(&changes[0].new));
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
    let first = fingerprint(&site.config);
    let text = fs::read_to_string(site.dir.path().join("crl")).unwrap();
    site.put("crl", &text);
    assert_eq!(fingerprint(&site.config), first);
    site.put("crl", &format!("{text}\n"));
    assert_ne!(fingerprint(&site.config), first);
    assert_eq!(file_sets(&site.config).flat_map(|it| it.paths).count(), 7);
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
    assert_eq!(again.digest(), material.digest());
    let config = crate::tls::policy::client_config(&site.config.listeners[0], &material);
    assert!(config.unwrap().is_some());
}
