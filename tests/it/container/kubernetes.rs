//! The example for Kubernetes: it fits the published schemas, agrees with itself, and its pod runs as it is written.

mod pod;

use std::{fs, path::PathBuf};

use serde_json::Value;

use self::pod::Pod;
use crate::support::{
    PATIENCE,
    pki::Ca,
    podman::{Container, ID, Image},
    program::{Outcome, clean_command, run},
    servers::found,
    until,
};

/// From this version on the kubelet sleeps by itself (`preStop.sleep`) unless told otherwise. The other is the newest
/// whose schemas `tests/drivers/kubernetes` has.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the files of the example.
fn files() -> Vec<PathBuf> {
    let folder = repository().join("packaging/kubernetes");
    let entries = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let mut files: Vec<_> = entries.collect();
    files.sort();
    files
}

/// Checks files against the schemas; `None` skips the test.
fn check(version: &str, files: &[PathBuf]) -> Option<Outcome> {
    let python = found("kubernetes", "PROXYD_TEST_KUBERNETES")?;
    let mut command = clean_command(python);
    command
        .arg(repository().join("tests/drivers/kubernetes/check.py"))
        .arg(version)
        .args(files);
    Some(run(command, PATIENCE * 4))
}

/// The example, read.
struct Example(Value);

impl Example {
    fn read() -> Option<Self> {
        let answer = check(VERSIONS[1], &files())?.answer();
        Some(Self(serde_json::from_str(&answer).unwrap()))
    }

    /// Returns what a path in an object of this kind leads to.
    #[track_caller]
    fn at(&self, kind: &str, path: &str) -> &Value {
        let found = self.0[kind].pointer(path);
        found.unwrap_or_else(|| panic!("no {path} in {kind}"))
    }

    fn pod(&self) -> Pod<'_> {
        Pod(self.at("Deployment", "/spec/template/spec"))
    }

    /// Returns the text of proxyd.toml.
    fn configuration(&self) -> &str {
        let text = self.at("ConfigMap", "/data/proxyd.toml");
        text.as_str().unwrap()
    }
}

/// Returns the number of seconds that a duration of proxyd.toml is.
fn seconds(duration: &Value) -> u64 {
    let text = duration.as_str().unwrap();
    let (number, unit) = text.split_at(text.len() - 1);
    number.parse::<u64>().unwrap() * if unit == "m" { 60 } else { 1 }
}

/// Returns the port of an address.
fn port(bind: &Value) -> u64 {
    let (_, port) = bind.as_str().unwrap().rsplit_once(':').unwrap();
    port.parse().unwrap()
}

#[test]
fn the_example_for_kubernetes_fits_the_published_schemas() {
    for version in VERSIONS {
        let Some(outcome) = check(version, &files()) else {
            return;
        };
        outcome.answer();
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, right, wrong) in [
        ("deployment.yaml", "failureThreshold:", "failuresAllowed:"),
        ("certificate.yaml", "rotationPolicy:", "rotate:"),
        ("certificate.yaml", "algorithm: ECDSA", "algorithm: EC"),
    ] {
        let file = repository().join("packaging/kubernetes").join(name);
        let text = fs::read_to_string(file).unwrap();
        let changed = folder.path().join(name);
        fs::write(&changed, text.replace(right, wrong)).unwrap();
        let outcome = check(VERSIONS[1], &[changed]).unwrap();
        assert!(!outcome.is_success(), "{wrong} is no fault: {outcome:#?}");
    }
}

#[test]
fn the_example_for_kubernetes_agrees_with_itself() {
    let Some(example) = Example::read() else {
        return;
    };
    let configuration: Value = toml::from_str(example.configuration()).unwrap();
    let pod = example.pod();

    let listener = &configuration["listener"][0];
    assert_eq!(pod.port("postgres"), port(&listener["bind"]));
    let metrics = port(&configuration["metrics"]["bind"]);
    assert_eq!(pod.port("metrics"), metrics);
    for probe in ["livenessProbe", "readinessProbe"] {
        let asked = &pod.container()[probe]["httpGet"]["port"];
        assert_eq!(asked, "metrics", "{probe}");
    }
    let annotation = "/spec/template/metadata/annotations/prometheus.io~1port";
    assert_eq!(
        example.at("Deployment", annotation),
        &metrics.to_string()[..]
    );
    let target = example.at("Service", "/spec/ports/0/targetPort");
    assert_eq!(target, "postgres");

    let drain = seconds(&configuration["drain_timeout"]);
    let sleep = pod.at("/containers/0/lifecycle/preStop/sleep/seconds");
    let grace = pod.at("/terminationGracePeriodSeconds").as_u64().unwrap();
    assert!(
        grace >= drain + sleep.as_u64().unwrap() + 10,
        "{grace} s of grace"
    );

    for (kind, path) in [
        ("Deployment", "/spec/selector/matchLabels"),
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ("Service", "/spec/selector"),
    ] {
        let labels = example.at("Deployment", "/spec/template/metadata/labels");
        assert_eq!(example.at(kind, path), labels, "{kind}");
    }
    let secret = example.at("Certificate", "/spec/secretName");
    assert_eq!(&pod.volume("server")["secret"]["secretName"], secret);
    let map = example.at("ConfigMap", "/metadata/name");
    assert_eq!(&pod.volume("configuration")["configMap"]["name"], map);
    let names = example.at("Certificate", "/spec/dnsNames");
    let service = example.at("Service", "/metadata/name");
    assert!(names.as_array().unwrap().contains(service));

    assert_eq!(pod.at("/securityContext/runAsUser"), ID);
    let image = pod.container()["image"].as_str().unwrap();
    assert!(
        image.ends_with(&format!(":{}", env!("CARGO_PKG_VERSION"))),
        "{image}"
    );
}

#[test]
fn the_pod_of_the_example_for_kubernetes_runs_as_it_is_written() {
    let (Some(example), Some(image)) = (Example::read(), Image::of_this_build()) else {
        return;
    };
    let (ca, pod) = (Ca::new("authority"), example.pod());
    let leaf = ca.leaf("events.example.com");
    let contents = |volume: &str| match volume {
        "configuration" => vec![("proxyd.toml", example.configuration())],
        "server" => vec![
            ("tls.crt", &leaf.cert[..]),
            ("tls.key", &leaf.key),
            ("ca.crt", ca.pem()),
        ],
        "database" => vec![("ca.crt", ca.pem())],
        other => panic!("nothing is known of the volume {other}"),
    };
    let (options, _volumes) = pod.options(contents);
    let checked = image.run(&options, &["--check-config"]);
    assert!(checked.is_success(), "{checked:#?}");

    let container = Container::start(&image, &options, &[]);
    let status = container.serves();
    assert_eq!(status["tls"]["identities"][0]["sha256"], leaf.sha256);
    assert_eq!(pod.probe(&container, "livenessProbe"), 200);
    assert_eq!(pod.probe(&container, "readinessProbe"), 200);
    let log = container.log();
    assert!(!log.contains("WARN"), "{log}");
    until("as many workers as it says serve", || {
        container.status()["workers"].as_array().unwrap().len() == 2
    });
    container.podman(&["kill", "--signal=TERM"]).answer();
    assert_eq!(container.wait(), 0);
}
