use super::*;
use crate::{
    control::{
        DiskState, Event, EventKind, LoadError,
        fixture::{at, status},
    },
    link::{News, Numbers},
    page::recent,
};

const NOW: &str = "2026-01-02T00:00:00Z";

fn page(change: impl FnOnce(&mut Status), query: &str) -> String {
    render(&View {
        status: &status(change),
        query: &Query::read(Some(query)),
        recent: &remembered(),
        host: "front.example.com",
        now: at(NOW),
    })
}

/// Remembers two points of the listener and three events.
fn remembered() -> Recent {
    let mut recent = Recent::new(at("2026-01-01T23:59:00Z"));
    for (step, count) in [(1, 3), (2, 5)] {
        recent.learn(News {
            listeners: vec![Numbers {
                listener: "orders".into(),
                open: count,
                failed: count,
                bytes_up: 1024 * count,
                bytes_down: 10_240 * count,
            }],
            events: vec![Event {
                seq: count,
                at: at("2026-01-01T23:59:30Z"),
                kind: EventKind::WorkerFailed,
                message: "<script>alert(1)</script>".into(),
            }],
        });
        recent.step(recent::STEP * step, true);
    }
    recent
}

#[test]
fn the_last_hour_is_drawn_and_told_in_words() {
    let page = page(|_| {}, "");
    for words in [
        "Sessions open in the last hour: now 7, at most 7",
        "Bytes in the last hour: 2.0KB to backends, 20KB to clients; now 204B/s to backends, 2.0KB/s to clients",
        "Sessions that failed in the last hour: 2",
        "began at 2026-01-01T23:59:00Z and has no figures from before",
        "Restarts of the last 1 hour: 0 events, 2 failures",
    ] {
        assert!(page.contains(words), "{words}");
    }
}

/// Replaces the one identity of a status with so many.
fn many(status: &mut Status, number: usize) {
    let one = status.tls.identities.remove(0);
    status.tls.identities = (0..number)
        .map(|place| {
            let mut identity = one.clone();
            identity.name = format!("db-{place}");
            let later = jiff::SignedDuration::from_mins(i64::try_from(place).unwrap());
            identity.path_not_after = (at("2026-03-20T00:00:00Z") + later).into();
            identity
        })
        .collect();
}

/// Returns the names of the identities on a page.
fn identities(page: &str) -> Vec<&str> {
    let items = page.split("<details id=\"identity-").skip(1);
    items.map(|it| it.split('"').next().unwrap()).collect()
}

#[test]
fn a_daemon_that_fares_well_leaves_nothing_to_do() {
    let page = page(|_| {}, "");
    assert!(page.contains("All is well</h1>"));
    assert!(page.contains("<title>All is well · proxyd on front.example.com</title>"));
    assert!(page.contains("A restart is safe."));
    assert!(!page.contains("Act now") && !page.contains("Look into it"));
    assert!(!page.contains("class=\"icon bad\""));
}

#[test]
fn what_check_finds_stands_at_the_top_with_what_to_do() {
    let page = page(
        |status| {
            status.tls.disk.state = DiskState::Invalid;
            status.tls.last_error = Some(LoadError {
                at: at(NOW),
                trigger: crate::facts::Trigger::Watch,
                message: "the key does not fit".into(),
            });
        },
        "",
    );
    assert!(page.contains("1 thing needs you now</h1>"));
    assert!(page.contains("the last load failed: the key does not fit"));
    assert!(page.contains("then run <code>proxyctl reload-tls</code>"));
    let urgent = page.find("Act now").unwrap();
    assert!(urgent < page.find("Look into it").unwrap());
}

#[test]
fn what_strangers_wrote_is_never_markup() {
    let hostile = "\"><script>alert(1)</script>";
    let page = page(
        |status| {
            let identity = &mut status.tls.identities[0];
            for field in [
                &mut identity.name,
                &mut identity.cert,
                &mut identity.key,
                &mut identity.subject,
                &mut identity.issuer,
                &mut identity.serial,
                &mut identity.sha256,
                &mut identity.key_type,
                &mut identity.dns_names[0],
            ] {
                hostile.clone_into(field);
            }
            status.tls.intermediates[0].subject = hostile.into();
            let listener = &mut status.listeners[0];
            listener.name = hostile.into();
            listener.bind = hostile.into();
            listener.backends[0].address = hostile.into();
            listener.backends[0].last_error = Some(hostile.into());
            listener.backends[0].certificate = Some(status.tls.intermediates[0].clone());
            status.tls.disk.reason = Some(hostile.into());
            status.tls.disk.unseen = Some(hostile.into());
            status.tls.not_tried = vec![hostile.into()];
            status.sandbox.missing = vec![hostile.into()];
            status.program.path = hostile.into();
            status.program.replaced = true;
            status.on_exit_failure.command = Some(vec![hostile.into()]);
            status.tls.last_error = Some(LoadError {
                at: at(NOW),
                trigger: crate::facts::Trigger::Watch,
                message: hostile.into(),
            });
        },
        "filter=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
    );
    assert!(!page.contains("<script>alert"));
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("&lt;script&gt;alert(1)"));
}

#[test]
fn identities_are_shown_a_hundred_at_a_time_and_what_ends_first_in_front() {
    let of = |query: &str| page(|status| many(status, 250), query);
    let first = of("");
    assert_eq!(identities(&first).len(), 100);
    assert_eq!(identities(&first)[0], "db-0");
    assert!(first.contains("Page 1 of 3"));
    assert!(first.contains("href=\"?filter=&amp;page=2#certificates\""));
    let last = of("page=3");
    assert_eq!(identities(&last).len(), 50);
    assert_eq!(identities(&last)[49], "db-249");
    assert_eq!(identities(&of("page=99")), identities(&last));
}

#[test]
fn ten_thousand_identities_make_no_longer_page_than_a_hundred() {
    let of = |number, query| page(|status| many(status, number), query);
    let (few, all) = (of(100, ""), of(10_000, ""));
    assert_eq!(identities(&all).len(), 100);
    assert!(all.len() < few.len() + 2000, "{} {}", few.len(), all.len());
    assert_eq!(identities(&of(10_000, "filter=db-77&page=2")).len(), 11);
}

#[test]
fn a_filter_finds_names_subjects_and_files() {
    let of = |query: &str| {
        page(
            |status| {
                many(status, 250);
                status.tls.identities[7].subject = "CN=Ünder".into();
                status.tls.identities[8].cert = "/etc/SPECIAL.pem".into();
            },
            query,
        )
    };
    assert_eq!(identities(&of("filter=DB-24")).len(), 11);
    assert_eq!(identities(&of("filter=%C3%BCnder")), ["db-7"]);
    assert_eq!(identities(&of("filter=special")), ["db-8"]);
    let none = of("filter=nothing-like-it");
    assert_eq!(identities(&none).len(), 0);
    assert!(none.contains("0 of 250 identities have <q>nothing-like-it</q>"));
}

#[test]
fn the_path_of_an_identity_is_told_up_to_its_authority() {
    let page = page(|_| {}, "");
    let path = page.split("<div class=\"path\">").nth(1).unwrap();
    let kinds = [
        ("Leaf", "CN=db"),
        ("Intermediate", "CN=ca"),
        ("Authority", "CN=root"),
    ];
    let places = kinds.map(|(kind, subject)| {
        let both = format!("{kind}</span><span class=\"subject\">{subject}<");
        path.find(&both).unwrap()
    });
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn silence_is_told_in_words() {
    let page = render_silence("", "it has not answered for 5 s", at(NOW));
    assert!(page.contains("The supervisor does not answer</h1>"));
    assert!(page.contains("it has not answered for 5 s"));
}

#[test]
fn the_document_needs_nothing_from_elsewhere_and_has_no_inline_style() {
    let page = page(|status| many(status, 150), "");
    let outside = page.replace("http://www.w3.org/2000/svg", "");
    for forbidden in ["http://", "https://", " style=", " onclick=", " onload="] {
        assert!(!outside.contains(forbidden), "{forbidden}");
    }
}
