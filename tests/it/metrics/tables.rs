//! What is written about metrics elsewhere: the table of `docs/metrics.md`, and the alert rules.

use std::collections::{BTreeMap, BTreeSet};

use super::{Front, text};
use crate::support::{configuration::Listener, pki::Ca};

const TABLE: &str = include_str!("../../../docs/metrics.md");
const RULES: &str = include_str!("../../../packaging/prometheus/proxyd.rules.yml");
const RULE_TESTS: &str = include_str!("../../../packaging/prometheus/proxyd.rules.test.yml");

/// A metric's type, and the names of its labels.
type Metric = (String, BTreeSet<String>);

/// Returns the metrics of the page by name.
fn page(text: &str) -> BTreeMap<String, Metric> {
    let mut all: BTreeMap<String, Metric> = BTreeMap::new();
    for line in text.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["#", "TYPE", name, kind] => {
                all.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
            }
            ["#", ..] => {}
            _ => {
                let (series, _) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let of_histogram = ["_bucket", "_sum", "_count"].iter();
                let mut names = of_histogram.filter_map(|it| name.strip_suffix(it));
                let family = names.find(|it| all.contains_key(*it)).unwrap_or(name);
                let names = labels.split("\",").filter_map(|it| it.split_once("=\""));
                let names = names.map(|(name, _)| name.to_owned());
                let names: BTreeSet<_> = names.filter(|it| it != "le").collect();
                all.get_mut(family).expect(line).1 = names;
            }
        }
    }
    all
}

/// Returns the metrics of the table by name.
fn table() -> BTreeMap<String, Metric> {
    let rows = TABLE.lines().filter_map(|it| it.strip_prefix("| `proxyd_"));
    let metrics = rows.map(|row| {
        let mut cells = row.split(" | ");
        let metric = cells.next().unwrap().trim_end_matches('`');
        let (name, labels) = metric.split_once('{').unwrap_or((metric, "}"));
        let labels = labels.trim_end_matches('}').split(',');
        let labels = labels.filter(|it| !it.is_empty()).map(str::to_owned);
        let kind = cells.next().unwrap().to_owned();
        (format!("proxyd_{name}"), (kind, labels.collect()))
    });
    metrics.collect()
}

/// A metric that is there only once a backend has shown a certificate, which none does here.
const OF_BACKEND: &str = "proxyd_backend_tls_not_after_timestamp_seconds";

/// A metric that only some kernels have.
const OF_KERNEL: &str = "proxyd_process_open_fds";

#[test]
fn the_table_of_metrics_and_the_page_name_the_same() {
    let front = Front::new(|it| {
        let line = "client_auth = { mode = \"optional\", ca = \"clients.crt\" }";
        let listener = Listener::tcp("main", &it.backend().address()).line(line);
        it.file("clients.crt", Ca::new("clients").pem())
            .listener(listener)
    });
    let mut table = table();
    let page = page(&text(front.page, "text/plain"));
    assert!(table.remove(OF_BACKEND).is_some());
    if !page.contains_key(OF_KERNEL) {
        table.remove(OF_KERNEL);
    }
    assert_eq!(table, page);
}

/// Returns the names of metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let is_of_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let words = text.split(|it| !is_of_name(it));
    words.filter(|it| it.starts_with("proxyd_")).collect()
}

#[test]
fn alert_rules_and_their_tests_use_metrics_that_there_are() {
    let table = table();
    for text in [RULES, RULE_TESTS] {
        let unknown: Vec<_> = names(text)
            .into_iter()
            .filter(|it| !table.contains_key(*it))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

#[test]
fn each_alert_fires_in_one_test_and_stays_quiet_in_another() {
    let alerts = RULES
        .lines()
        .filter_map(|it| it.trim().strip_prefix("- alert: "));
    let mut alerts: Vec<_> = alerts.collect();
    alerts.sort_unstable();
    for quiet in [false, true] {
        let tests = RULE_TESTS.split("alertname: ").skip(1);
        let tests = tests.filter(|it| it.contains("exp_alerts: []") == quiet);
        let mut tested: Vec<_> = tests.filter_map(|it| it.lines().next()).collect();
        tested.sort_unstable();
        assert_eq!(tested, alerts, "quiet: {quiet}");
    }
}
