//! The metrics page.

mod promtool;
mod tables;

use std::{collections::BTreeMap, fs, net::SocketAddr};

use nix::sys::signal::Signal;

use crate::support::{
    backend::{Backend, Closed},
    builder::Builder,
    client::{Client, connect, exchange},
    configuration::Listener,
    daemon::TestDaemon,
    pki::{Ca, replace},
    process, until,
};

/// What a client reads that prefers `OpenMetrics`.
const OPEN_METRICS: &str =
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";

struct Front {
    client: Client,
    daemon: TestDaemon,
    page: SocketAddr,
}

impl Front {
    fn new(change: impl FnOnce(Builder) -> Builder) -> Self {
        let ca = Ca::new("authority");
        let builder = TestDaemon::builder()
            .set("metrics", "{ bind = \"127.0.0.1:0\" }")
            .identity("default", &ca.leaf("localhost"));
        let daemon = change(builder).start();
        Self {
            client: Client::new(&ca),
            page: page(&daemon),
            daemon,
        }
    }

    /// Asks for a page; returns the status and the whole answer.
    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        ask(self.page, method, path)
    }

    /// Returns what is measured, by name and labels.
    fn metrics(&self) -> BTreeMap<String, f64> {
        read(self.page)
    }

    #[track_caller]
    fn await_metric(&self, name: &str, value: f64) {
        until(&format!("{name} is {value}"), || {
            self.metrics().get(name) == Some(&value)
        });
    }
}

/// Asks a page for something; returns the status code and the whole answer.
pub(crate) fn ask(page: SocketAddr, method: &str, path: &str) -> (u16, String) {
    ask_for(page, (method, path), "*/*")
}

/// The same, as a client that reads these types.
fn ask_for(page: SocketAddr, (method, path): (&str, &str), accept: &str) -> (u16, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    );
    let answer = exchange(page, request.as_bytes()).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

/// Returns the metrics as text, for a client that reads this type.
#[track_caller]
fn text(page: SocketAddr, accept: &str) -> String {
    let (status, answer) = ask_for(page, ("GET", "/metrics"), accept);
    assert_eq!(status, 200);
    let (_, text) = answer.split_once("\r\n\r\n").unwrap();
    text.to_owned()
}

#[track_caller]
fn read(page: SocketAddr) -> BTreeMap<String, f64> {
    parse(&text(page, OPEN_METRICS))
}

/// Returns what a daemon measures, by name and labels.
#[track_caller]
pub(crate) fn scrape(daemon: &TestDaemon) -> BTreeMap<String, f64> {
    read(page(daemon))
}

/// Returns where the page is: the only port of the supervisor at which no listener is.
pub(crate) fn page(daemon: &TestDaemon) -> SocketAddr {
    let sockets: Vec<String> = process::descriptors(daemon.pid())
        .into_iter()
        .filter_map(|(_, path)| {
            let path = path.to_str()?;
            Some(path.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    let listeners = daemon.configuration.listeners.iter();
    let taken: Vec<u16> = listeners
        .map(|it| daemon.address_of(&it.name).port())
        .collect();
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let ports = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let inode = (*fields.get(9)?).to_owned();
        let port = u16::from_str_radix(fields[1].split_once(':')?.1, 16).ok()?;
        // 0A is a socket that listens.
        let is_it = fields[3] == "0A" && sockets.contains(&inode) && !taken.contains(&port);
        is_it.then_some(port)
    });
    let ports: Vec<u16> = ports.collect();
    assert_eq!(ports.len(), 1, "{ports:?}");
    SocketAddr::from(([127, 0, 0, 1], ports[0]))
}

/// Reads `OpenMetrics` text, in which every line must be good.
#[track_caller]
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut types = BTreeMap::new();
    let mut samples = BTreeMap::new();
    let is_name = |name: &str| {
        let is_good = |it: char| it.is_ascii_alphanumeric() || it == '_';
        name.starts_with("proxyd_") && name.chars().all(is_good)
    };
    let body = text.strip_suffix("# EOF\n").unwrap();
    for line in body.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "TYPE", name, kind] => {
                assert!(is_name(name), "{line}");
                assert!(["gauge", "counter", "histogram"].contains(&kind), "{line}");
                assert_eq!(types.insert(name, kind), None, "{line}");
            }
            ["#", "HELP", name, help] => {
                assert!(is_name(name), "{line}");
                assert!(help.ends_with('.'), "{line}");
            }
            _ => {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let suffixes = [
                    ("_total", "counter"),
                    ("_bucket", "histogram"),
                    ("_sum", "histogram"),
                    ("_count", "histogram"),
                    ("", "gauge"),
                ];
                let is_known = suffixes.iter().any(|(suffix, kind)| {
                    let family = name.strip_suffix(suffix);
                    family.and_then(|it| types.get(it)) == Some(kind)
                });
                assert!(is_known, "{line}");
                let labels = labels.strip_suffix('}').unwrap();
                let mut quotes = labels.matches('"');
                assert_eq!(quotes.by_ref().count() % 2, 0, "{line}");
                let value: f64 = value.parse().unwrap();
                let known = samples.insert(series.to_owned(), value);
                assert_eq!(known, None, "{line}");
            }
        }
    }
    samples
}

#[test]
fn every_line_of_the_page_can_be_read() {
    let front = Front::new(|it| it);
    let metrics = front.metrics();
    assert_eq!(metrics.get("proxyd_workers_serving"), Some(&1.0));
    assert_eq!(metrics.get("proxyd_tls_generation"), Some(&1.0));
    assert_eq!(metrics.get("proxyd_restarts_total"), Some(&0.0));
    assert_eq!(metrics.get("proxyd_log_lines_lost_total"), Some(&0.0));
    let open = metrics.get("proxyd_sessions_open{listener=\"main\"}");
    assert_eq!(open, Some(&0.0));
    let expires = metrics
        .iter()
        .find(|(name, _)| name.starts_with("proxyd_tls_not_after_timestamp_seconds{"));
    assert!(*expires.unwrap().1 > 1_700_000_000.0);
}

#[test]
fn the_page_says_what_it_is() {
    let front = Front::new(|it| it);
    for (accept, kind) in [
        (OPEN_METRICS, "application/openmetrics-text; version=1.0.0"),
        ("text/plain", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
    ] {
        let (_, answer) = ask_for(front.page, ("GET", "/metrics"), accept);
        let answer = answer.to_lowercase();
        assert!(
            answer.contains(&format!("content-type: {kind}")),
            "{answer}"
        );
        assert!(answer.contains("vary: accept\r\n"), "{answer}");
    }
}

#[test]
fn both_formats_tell_the_same() {
    let front = Front::new(|it| it);
    let series = |text: &str| {
        let lines = text.lines().filter(|it| !it.starts_with('#'));
        let names = lines.map(|it| it.rsplit_once(' ').unwrap().0.to_owned());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    let classic = text(front.page, "text/plain");
    assert_eq!(series(&text(front.page, OPEN_METRICS)), series(&classic));
    assert!(!classic.contains("# EOF"));
    assert!(classic.contains("# TYPE proxyd_sessions_total counter\n"));
}

#[test]
fn the_page_names_the_program_and_what_it_is_doing() {
    let front = Front::new(|it| it);
    let metrics = front.metrics();
    let build = format!(
        "proxyd_build_info{{version=\"{}\",arch=\"{}\"}}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH
    );
    for (name, value) in [
        (&*build, 1.0),
        ("proxyd_state{state=\"serving\"}", 1.0),
        ("proxyd_state{state=\"degraded\"}", 0.0),
        ("proxyd_program_replaced", 0.0),
        ("proxyd_upgrades_total{result=\"done\"}", 0.0),
        ("proxyd_upgrades_total{result=\"rolled-back\"}", 0.0),
    ] {
        assert_eq!(metrics.get(name), Some(&value), "{name}");
    }
}

#[test]
fn names_that_need_it_are_quoted() {
    let front = Front::new(|it| {
        let backend = it.backend().address();
        it.listener(Listener::tcp("main", &backend))
            .listener(Listener::tcp("other-listener.1", &backend))
    });
    let metrics = front.metrics();
    assert!(metrics.contains_key("proxyd_sessions_open{listener=\"other-listener.1\"}"));
}

#[test]
fn sessions_are_counted() {
    let front = Front::new(|it| it);
    let mut sessions = Vec::new();
    for open in 1_u32..=3 {
        sessions.push(front.client.connect(front.daemon.address()).unwrap());
        front.await_metric("proxyd_sessions_open{listener=\"main\"}", open.into());
        front.await_metric("proxyd_sessions_total{listener=\"main\"}", open.into());
    }
    drop(sessions);
    front.await_metric("proxyd_sessions_open{listener=\"main\"}", 0.0);
    front.await_metric("proxyd_sessions_total{listener=\"main\"}", 3.0);
}

#[test]
fn bytes_are_counted_while_their_session_is_open() {
    let front = Front::new(|it| it);
    let mut session = front.client.connect(front.daemon.address()).unwrap();
    for echoes in 1..=2 {
        session.echo("hello").unwrap();
        for direction in ["up", "down"] {
            let name = format!(
                "proxyd_relayed_bytes_total{{listener=\"main\",direction=\"{direction}\"}}"
            );
            front.await_metric(&name, 6.0 * f64::from(echoes));
        }
    }
}

/// Reads a histogram of the listener "main".
fn histogram(metrics: &BTreeMap<String, f64>, name: &str, labels: &str) -> Vec<f64> {
    let begin = format!("{name}_bucket{{le=\"");
    let end = format!("\",listener=\"main\"{labels}}}");
    let buckets = metrics.iter().filter_map(|(series, count)| {
        let bound = series.strip_prefix(&begin)?.strip_suffix(&end)?;
        let bound: f64 = bound.trim_start_matches('+').parse().unwrap();
        Some((bound, *count))
    });
    let mut buckets: Vec<_> = buckets.collect();
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    buckets.into_iter().map(|(_, count)| count).collect()
}

#[test]
fn handshakes_connects_and_sessions_are_counted_by_how_long_they_took() {
    let front = Front::new(|it| it);
    let backend = front.daemon.status()["listeners"][0]["backend"].clone();
    let backend = format!(",backend={backend}");
    let all = |metrics: &BTreeMap<String, f64>| {
        [
            ("proxyd_handshake_duration_seconds", ""),
            ("proxyd_backend_connect_duration_seconds", &*backend),
            ("proxyd_session_duration_seconds", ""),
        ]
        .map(|(name, labels)| {
            let buckets = histogram(metrics, name, labels);
            assert_eq!(buckets.len(), 13, "{name}: {metrics:?}");
            assert!(buckets.is_sorted(), "{name}: {buckets:?}");
            let of = |what| metrics[&format!("{name}_{what}{{listener=\"main\"{labels}}}")];
            assert_eq!(Some(&of("count")), buckets.last());
            assert_eq!(of("sum") > 0.0, of("count") > 0.0, "{name}");
            of("count").to_string()
        })
    };
    assert_eq!(all(&front.metrics()), ["0"; 3]);
    let mut session = front.client.connect(front.daemon.address()).unwrap();
    session.echo("hello").unwrap();
    until("the handshake is counted", || {
        all(&front.metrics()) == ["1", "1", "0"]
    });
    drop(session);
    until("the session is counted", || {
        all(&front.metrics()) == ["1"; 3]
    });
    // One that is not let in has neither.
    let stranger = Client::new(&Ca::new("stranger"));
    stranger.connect(front.daemon.address()).unwrap_err();
    front.await_metric("proxyd_sessions_open{listener=\"main\"}", 0.0);
    assert_eq!(all(&front.metrics()), ["1"; 3]);
}

#[test]
fn what_each_process_uses_is_told() {
    let front = Front::new(|it| it);
    let roles = [
        ("supervisor", ""),
        ("worker", "0"),
        ("resolver", ""),
        ("page", ""),
    ];
    let of = |metrics: &BTreeMap<String, f64>, name: &str, (role, slot): (&str, &str)| {
        let series = format!("proxyd_process_{name}{{role=\"{role}\",slot=\"{slot}\"}}");
        metrics.get(&series).copied()
    };
    until("all tell their memory", || {
        let metrics = front.metrics();
        let memory = roles.map(|it| of(&metrics, "resident_memory_bytes", it));
        memory.iter().all(|it| it.is_some_and(|it| it > 1e6))
    });
    let metrics = front.metrics();
    for role in roles {
        let cpu = of(&metrics, "cpu_seconds_total", role).unwrap();
        assert!(cpu > 0.0 && cpu < 600.0, "{role:?}: {cpu}");
        assert!(
            of(&metrics, "start_time_seconds", role).unwrap() > 1.7e9,
            "{role:?}"
        );
    }
    assert!(of(&metrics, "max_fds", roles[0]).unwrap() > 100.0);
    if let Some(open) = of(&metrics, "open_fds", roles[0]) {
        let listed = process::descriptors(front.daemon.pid()).len();
        assert!(
            open > 5.0 && open < 2.0 * f64::from(u32::try_from(listed).unwrap()),
            "{open}"
        );
    }
}

#[test]
fn failures_are_counted_by_their_reasons() {
    let front = Front::new(|it| it);
    let name =
        |reason| format!("proxyd_sessions_failed_total{{listener=\"main\",reason=\"{reason}\"}}");
    let stranger = Client::new(&Ca::new("stranger"));
    stranger.connect(front.daemon.address()).unwrap_err();
    front.await_metric(&name("handshake"), 1.0);
    let reason =
        |reason| format!("proxyd_handshakes_failed_total{{listener=\"main\",reason=\"{reason}\"}}");
    let metrics = front.metrics();
    assert_eq!(metrics.get(&reason("client_alert")), Some(&1.0));
    assert_eq!(metrics.get(&reason("revoked")), Some(&0.0));
    assert_eq!(metrics.get(&name("backend")), Some(&0.0));
    assert_eq!(metrics.get(&name("full")), Some(&0.0));
}

#[test]
fn ends_are_counted_by_their_reasons() {
    let front = Front::new(|it| it);
    let name =
        |reason| format!("proxyd_sessions_ended_total{{listener=\"main\",reason=\"{reason}\"}}");
    let mut session = front.client.connect(front.daemon.address()).unwrap();
    session.echo("hello").unwrap();
    session.finish().unwrap();
    front.await_metric(&name("client_closed"), 1.0);
    let stranger = Client::new(&Ca::new("stranger"));
    stranger.connect(front.daemon.address()).unwrap_err();
    front.await_metric(&name("client_alert"), 1.0);
    let metrics = front.metrics();
    for reason in ["backend_closed", "client_tls", "drained", "full"] {
        assert_eq!(metrics.get(&name(reason)), Some(&0.0), "{reason}");
    }
}

#[test]
fn what_becomes_of_sessions_whose_worker_ends_is_there_before_one_does() {
    let front = Front::new(|it| it);
    let metrics = front.metrics();
    for name in [
        "proxyd_sessions_kept",
        "proxyd_sessions_taken_over_total",
        "proxyd_sessions_lost_total{reason=\"not_kept\"}",
        "proxyd_sessions_lost_total{reason=\"suspect\"}",
        "proxyd_sessions_unkept_total{reason=\"descriptors\"}",
    ] {
        assert_eq!(metrics.get(name), Some(&0.0), "{name}");
    }
    let status = front.daemon.json(&["status"]);
    let sessions = &status["sessions"];
    for name in ["open", "kept", "taken_over_total", "lost_total"] {
        assert_eq!(sessions[name], 0, "{name}: {sessions}");
    }
    assert_eq!(sessions["lost_by_reason"]["unix_write"], 0);
    assert_eq!(sessions["unkept_by_reason"]["too_long"], 0);
    assert_eq!(sessions["keeping"]["state"], "on");
}

#[test]
fn backends_that_are_down_are_counted() {
    let closed = Closed::new();
    let address = closed.address().to_string();
    let front = Front::new(|it| it.listener(Listener::tcp("main", &address)));
    let _ = front.client.connect(front.daemon.address());
    let name = "proxyd_sessions_failed_total{listener=\"main\",reason=\"backend\"}";
    front.await_metric(name, 1.0);
}

#[test]
fn sessions_that_were_turned_away_are_counted() {
    let front = Front::new(|it| {
        let backend = it.backend().address();
        let listener = Listener::tcp("main", &backend);
        it.listener(listener.line("limits = { max_connections = 1 }"))
    });
    let mut session = front.client.connect(front.daemon.address()).unwrap();
    session.echo("hello").unwrap();
    front.client.connect(front.daemon.address()).unwrap_err();
    let name = "proxyd_sessions_failed_total{listener=\"main\",reason=\"full\"}";
    front.await_metric(name, 1.0);
}

#[test]
fn a_client_that_says_nothing_is_no_failure() {
    let front = Front::new(|it| it);
    drop(connect(front.daemon.address()).unwrap());
    front.await_metric("proxyd_sessions_total{listener=\"main\"}", 1.0);
    front.await_metric("proxyd_sessions_open{listener=\"main\"}", 0.0);
    let name = "proxyd_sessions_failed_total{listener=\"main\",reason=\"handshake\"}";
    assert_eq!(front.metrics().get(name), Some(&0.0));
}

#[test]
fn a_reload_moves_the_generation() {
    let front = Front::new(|it| it);
    let before = front.metrics()["proxyd_tls_generation"];
    front
        .daemon
        .files("default")
        .put(&Ca::new("another").leaf("localhost"));
    front.daemon.ctl(&["reload-tls"]).answer();
    assert!(front.metrics()["proxyd_tls_generation"] > before);
}

#[test]
fn a_load_that_failed_shows() {
    let front = Front::new(|it| it);
    assert_eq!(
        front.metrics().get("proxyd_tls_last_load_failed"),
        Some(&0.0)
    );
    assert_eq!(front.metrics().get("proxyd_tls_restart_safe"), Some(&1.0));
    replace(&front.daemon.files("default").cert, "rubbish");
    front.daemon.ctl(&["reload-tls"]).complaint();
    front.await_metric("proxyd_tls_last_load_failed", 1.0);
    front.await_metric("proxyd_tls_restart_safe", 0.0);
    front.await_metric("proxyd_tls_identities_kept", 1.0);
    front.await_metric("proxyd_tls_disk_settling", 0.0);
    let (status, _) = front.ask("GET", "/readyz");
    assert_eq!(status, 200);
}

#[test]
fn files_that_may_be_being_written_are_no_failure_yet() {
    let front = Front::new(Builder::watch);
    front.await_metric("proxyd_tls_watch_events", 1.0);
    let began = front.metrics()["proxyd_tls_disk_since_timestamp_seconds"];
    assert!(began > 0.0);
    replace(&front.daemon.files("default").cert, "rubbish");
    front.await_metric("proxyd_tls_disk_settling", 1.0);
    front.await_metric("proxyd_tls_identities_kept", 1.0);
    front.await_metric("proxyd_tls_last_load_failed", 0.0);
}

#[test]
fn a_rollback_shows_while_it_is_in_force() {
    let front = Front::new(|it| it);
    front.await_metric("proxyd_tls_rollback", 0.0);
    let new = Ca::new("authority").leaf("localhost");
    front.daemon.files("default").put(&new);
    front.daemon.ctl(&["reload-tls"]).answer();
    front.await_metric("proxyd_tls_rollback", 0.0);
    front.daemon.ctl(&["tls-rollback"]).answer();
    front.await_metric("proxyd_tls_rollback", 1.0);
    front.daemon.ctl(&["reload-tls"]).answer();
    front.await_metric("proxyd_tls_rollback", 0.0);
}

#[test]
fn a_worker_that_died_is_counted() {
    let front = Front::new(|it| it);
    let victim = front.daemon.workers()[0];
    process::send(victim, Signal::SIGKILL);
    front.await_metric("proxyd_restarts_total", 1.0);
    front.await_metric("proxyd_workers_serving", 1.0);
}

#[test]
fn a_daemon_that_serves_is_alive_and_ready() {
    let front = Front::new(|it| it);
    assert_eq!(front.ask("GET", "/healthz").0, 200);
    assert_eq!(front.ask("GET", "/readyz").0, 200);
}

#[test]
fn a_daemon_that_drains_is_alive_and_not_ready() {
    let backend = Backend::tcp();
    let mut front = Front::new(|it| it.listener(Listener::tcp("main", &backend.address())));
    let mut session = front.client.connect(front.daemon.address()).unwrap();
    session.echo("hello").unwrap();
    front.daemon.signal(Signal::SIGTERM);
    until("it says so", || front.ask("GET", "/readyz").0 == 503);
    assert_eq!(front.ask("GET", "/healthz").0, 200);
    session.echo("still here").unwrap();
}

#[test]
fn the_first_page_is_for_people_and_bound_to_itself() {
    let front = Front::new(|it| it);
    let (status, answer) = front.ask("GET", "/?filter=DEFAULT&page=1");
    assert_eq!(status, 200);
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(page.contains("All is well</h1>"), "{page}");
    assert!(page.contains("id=\"identity-default\""), "{page}");
    let head = head.to_lowercase();
    for header in [
        "content-type: text/html; charset=utf-8",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
        "content-security-policy: default-src 'none'; style-src 'sha256-",
    ] {
        assert!(head.contains(header), "{head}");
    }
}

#[test]
fn there_is_no_other_page() {
    let front = Front::new(|it| it);
    for path in ["/nothing", "/metrics/", "//", "/metrics/../healthz"] {
        assert_eq!(front.ask("GET", path).0, 404, "{path}");
    }
}

#[test]
fn a_query_does_not_make_another_page() {
    let front = Front::new(|it| it);
    assert_eq!(front.ask("GET", "/healthz?verbose=1").0, 200);
}

#[test]
fn nothing_is_posted() {
    let front = Front::new(|it| it);
    for method in ["POST", "PUT", "DELETE"] {
        let (status, _) = front.ask(method, "/metrics");
        assert_eq!(status, 405, "{method}");
    }
}

#[test]
fn a_head_has_no_body() {
    let front = Front::new(|it| it);
    let (status, answer) = front.ask("HEAD", "/metrics");
    assert_eq!(status, 200);
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn what_is_no_request_is_refused() {
    let front = Front::new(|it| it);
    let answer = exchange(front.page, b"what?\r\n\r\n").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"));
    assert_eq!(front.ask("GET", "/healthz").0, 200);
}
