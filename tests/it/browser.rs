//! The page for people in a real browser.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    metrics::page,
    support::{
        browser::Browser, builder::Builder, client::Client, daemon::TestDaemon, pki::Ca, skip,
        until,
    },
};

/// What has the page's script ask again at once, as if the reader had come back to it.
const ASK_AGAIN: &str = "document.dispatchEvent(new Event('visibilitychange'))";

struct Front {
    browser: Browser,
    daemon: TestDaemon,
    address: String,
}

impl Front {
    /// Starts a daemon and opens its page; `None` if this machine has no browser.
    fn new(change: impl FnOnce(Builder) -> Builder) -> Option<Self> {
        let Some(browser) = Browser::start() else {
            skip("chromium and chromium-driver are not installed");
            return None;
        };
        let builder = TestDaemon::builder().set("metrics", "{ bind = \"127.0.0.1:0\" }");
        let daemon = change(builder).start();
        let address = format!("http://{}/", page(&daemon));
        browser.open(&address);
        Some(Self {
            browser,
            daemon,
            address,
        })
    }

    /// Returns the text of the first element that a selector names.
    fn text(&self, selector: &str) -> String {
        let script = format!(
            "return document.querySelector({}).textContent",
            json!(selector)
        );
        self.browser
            .run(&script)
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Asserts that no script or style was refused, and nothing was asked of others.
    #[track_caller]
    fn assert_clean(&self) {
        let complaints = self.browser.complaints();
        assert!(complaints.is_empty(), "{complaints:?}");
        let requests = self.browser.requests().into_iter();
        let is_own = |it: &String| it.starts_with(&self.address);
        let (own, mut others): (Vec<_>, Vec<_>) = requests.partition(is_own);
        assert!(!own.is_empty(), "the page itself is asked for");
        others.retain(|it| !it.starts_with("data:"));
        assert!(
            others
                .iter()
                .all(|it| it.starts_with("chrome:") || it.starts_with("about:")),
            "{others:?}"
        );
    }
}

#[test]
fn a_browser_shows_the_page_runs_nothing_of_strangers_and_asks_nothing_of_others() {
    let hostile = "\"><script>window.ran = true</script>";
    let front = Front::new(|it| it.identity("default", &Ca::new(hostile).leaf("localhost")));
    let Some(front) = front else { return };
    assert_eq!(front.text("h1"), "All is well");
    let shown = front.text("#identity-default .path");
    assert!(shown.contains(hostile), "{shown}");
    assert_eq!(front.browser.run("return window.ran === undefined"), true);
    assert_eq!(front.browser.run("return document.scripts.length"), 1);
    front.assert_clean();
    let ground = "return getComputedStyle(document.body).backgroundColor";
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        front.browser.prefer(scheme);
        grounds.push(front.browser.run(ground));
    }
    assert_ne!(grounds[0], grounds[1]);
    let narrow = json!({"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": true});
    front
        .browser
        .command("Emulation.setDeviceMetricsOverride", &narrow);
    let wide = front
        .browser
        .run("return document.documentElement.scrollWidth");
    assert!(wide.as_u64().unwrap() <= 360, "{wide}");
}

#[test]
fn a_refresh_brings_what_is_new_and_leaves_what_the_reader_does() {
    let ca = Ca::new("authority");
    let front = Front::new(|it| {
        let leaf = ca.leaf("localhost");
        (1..=6).fold(it.identity("default", &leaf), |it, number| {
            it.identity(&format!("other-{number}"), &leaf)
        })
    });
    let Some(front) = front else { return };
    let open = ".figures .value";
    assert_eq!(front.text(open), "0");
    front
        .browser
        .run("document.getElementById('identity-default').open = true");
    front.browser.type_into("#filter", "oth");
    let mut session = Client::new(&ca).connect(front.daemon.address()).unwrap();
    session.echo("hello").unwrap();
    until("the page shows the session", || {
        front.browser.run(ASK_AGAIN);
        front.text(open) == "1"
    });
    let kept = "return [document.getElementById('identity-default').open, document.activeElement.id, \
                document.activeElement.value, document.activeElement.selectionStart]";
    assert_eq!(front.browser.run(kept), json!([true, "filter", "oth", 3]));
    front.assert_clean();
    front
        .browser
        .run("document.querySelector('.filter button').click()");
    until("the filter has been applied", || {
        front
            .browser
            .run("return document.querySelectorAll('.identities > li').length")
            == 6
    });
}

#[test]
fn a_page_whose_daemon_does_not_answer_says_since_when() {
    let front = Front::new(|it| it);
    let Some(mut front) = front else { return };
    front.daemon.signal(Signal::SIGSTOP);
    front.browser.run(ASK_AGAIN);
    let silence = "#silence:not([hidden])";
    let is_shown = format!("return document.querySelector({}) !== null", json!(silence));
    until("the page says so", || front.browser.run(&is_shown) == true);
    let said = front.text(silence);
    assert!(said.starts_with("No answer since "), "{said}");
    assert!(
        said.contains("the supervisor has not told its status"),
        "{said}"
    );
    front.daemon.signal(Signal::SIGCONT);
    until("the page is well again", || {
        front.browser.run(ASK_AGAIN);
        front.browser.run(&is_shown) == false
    });
}

/// As many as a machine with much else to do reads in time; with ten thousand the page is made in a test of its own.
#[test]
fn thousands_of_identities_are_a_page_like_any_other() {
    const COUNT: usize = 2000;
    let front = Front::new(|it| {
        let it = it.identity_dir("live");
        let leaf = Ca::new("authority").leaf("localhost");
        let both = format!("{}{}", leaf.cert, leaf.key);
        for number in 0..COUNT {
            let file = format!("db-{number}.pem");
            fs::write(it.folder().join("live").join(file), &both).unwrap();
        }
        it
    });
    let Some(front) = front else { return };
    let shown = "return document.querySelectorAll('.identities > li').length";
    let open = |address: &str, number: u64| {
        until("the page shows identities", || {
            front.browser.open(address);
            front.browser.run(shown) == number
        });
    };
    open(&front.address, 100);
    assert!(front.text("#certificates .pages").contains("Page 1 of 20"));
    // db-77, and db-770 to db-779.
    open(&format!("{}?filter=db-77", front.address), 11);
    assert!(front.text("#certificates > .note").starts_with("11 of 2"));
}
