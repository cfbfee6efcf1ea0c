//! The identities, what ends first in front, each with its path and a bar of its life.

use std::fmt::{Display, Write as _};

use super::{
    View,
    markup::Html,
    query::{MOST_FILTER, Query, encoded},
    words::{Tone, ago, day, number, section, state, until},
};
use crate::{
    control::IdentityStatus,
    facts::{CertificateFacts, Expiry, ExpiryKind, Moment},
    findings::{self, DEFAULTS, soonest},
};

/// Identities on a page.
pub(super) const PAGE: usize = 100;

/// Names of a certificate that are shown.
const MOST_NAMES: usize = 20;

/// What else ends that is shown.
const MOST_OTHERS: usize = 50;

/// Writes the identities that are asked for.
pub(super) fn write(html: &mut Html, view: &View<'_>) {
    let all = view.status.tls.identities.len();
    section(html, "certificates", "Certificates", |html| {
        let query = view.query;
        let found: Vec<_> = soonest(view.status)
            .filter(|it| fits(it, &query.filter))
            .collect();
        if all > 5 || !query.filter.is_empty() {
            filter(html, query);
        }
        html.element_with("p", &[("class", &"note")], |html| {
            count(html, found.len(), all, query);
        });
        let last = found.len().saturating_sub(1) / PAGE;
        let page = query.page.min(last);
        let shown = found.iter().skip(page * PAGE).take(PAGE);
        html.element_with("ol", &[("class", &"identities")], |html| {
            for identity in shown {
                html.element("li", |html| one(html, identity, view));
            }
        });
        if last > 0 {
            pages(html, query, page, last);
        }
        others(html, view);
    });
}

/// Returns whether an identity is asked for.
fn fits(identity: &IdentityStatus, filter: &str) -> bool {
    let has = |text: &String| {
        // Almost all is ASCII, and there may be very many.
        if text.is_ascii() {
            text.to_ascii_lowercase().contains(filter)
        } else {
            text.to_lowercase().contains(filter)
        }
    };
    filter.is_empty()
        || [
            &identity.name,
            &identity.subject,
            &identity.issuer,
            &identity.sha256,
            &identity.cert,
        ]
        .into_iter()
        .chain(&identity.dns_names)
        .any(has)
}

fn filter(html: &mut Html, query: &Query) {
    let form: &[(&'static str, &dyn Display)] = &[
        ("class", &"filter"),
        ("role", &"search"),
        ("action", &"/"),
        ("method", &"get"),
    ];
    html.element_with("form", form, |html| {
        html.markup(
            "<label for=\"filter\">Filter by name, subject, issuer, fingerprint or file</label> ",
        );
        let input: &[(&'static str, &dyn Display)] = &[
            ("id", &"filter"),
            ("name", &"filter"),
            ("type", &"search"),
            ("maxlength", &MOST_FILTER),
            ("autocomplete", &"off"),
            ("spellcheck", &"false"),
            ("value", &query.filter),
        ];
        html.open("input", input);
        html.markup(" <button>Filter</button>");
        if !query.filter.is_empty() {
            html.markup(" <a href=\"/#certificates\">Show all</a>");
        }
    });
}

fn count(html: &mut Html, found: usize, all: usize, query: &Query) {
    let number_of = |it: usize| number(it as u64);
    if !query.filter.is_empty() {
        let text = format_args!(
            "{} of {} identities have ",
            number_of(found),
            number_of(all)
        );
        html.text(text);
        html.words("q", "", &query.filter);
        html.markup(". ");
    } else if all == 1 {
        html.markup("1 identity is served. ");
    } else {
        html.text(format_args!("{} identities are served. ", number_of(all)));
    }
    html.markup("What ends first is in front.");
}

fn pages(html: &mut Html, query: &Query, page: usize, last: usize) {
    html.element_with(
        "nav",
        &[
            ("aria-label", &"Pages of certificates"),
            ("class", &"pages"),
        ],
        |html| {
            let link = |html: &mut Html, to: usize, rel: &'static str, text: &'static str| {
                let address = query.address_of(to);
                html.element_with("a", &[("href", &address), ("rel", &rel)], |it| {
                    it.text(text);
                });
            };
            if page > 0 {
                link(html, page - 1, "prev", "Sooner");
            }
            html.element("span", |html| {
                html.text(format_args!("Page {} of {}", page + 1, last + 1));
            });
            if page < last {
                link(html, page + 1, "next", "Later");
            }
        },
    );
}

fn one(html: &mut Html, identity: &IdentityStatus, view: &View<'_>) {
    let id = format!("identity-{}", encoded(&identity.name));
    let tls = &view.status.tls;
    let tone = Tone::of(findings::urgency(identity, tls, DEFAULTS, view.now));
    html.element_with("details", &[("id", &id)], |html| {
        html.element("summary", |html| {
            html.element_with("span", &[("class", &"who")], |html| {
                html.words("strong", "", &identity.name);
                html.words("span", "names", some_of(&identity.dns_names, 4));
                if identity.kept_since.is_some() {
                    state(
                        html,
                        Tone::Bad,
                        "files are broken, its last good state is served",
                    );
                }
            });
            life(html, identity, tone, view);
            html.element_with("span", &[("class", &"end")], |html| {
                state(html, tone, until(identity.path_not_after, view.now));
                html.element_with("span", &[("class", &"on")], |html| {
                    day(html, identity.path_not_after);
                });
            });
        });
        details(html, identity, view);
    });
}

/// Draws how much of a certificate's life is over.
fn life(html: &mut Html, identity: &IdentityStatus, tone: Tone, view: &View<'_>) {
    let over = share(identity.not_before, identity.not_after, view.now.into());
    let width = format!("{over:.1}%");
    let label = format!("{over:.0} % of its life is over");
    let attributes: &[(&'static str, &dyn Display)] = &[
        ("class", &"life"),
        ("role", &"img"),
        ("aria-label", &label),
        ("width", &"100%"),
        ("height", &8),
    ];
    html.element_with("svg", attributes, |html| {
        html.words(
            "title",
            "",
            format_args!(
                "{label}: valid from {} until {}",
                identity.not_before, identity.not_after
            ),
        );
        html.markup("<rect class=\"whole\" width=\"100%\" height=\"8\" rx=\"4\"/>");
        let class = format!("over {}", tone.class());
        let bar: &[(&'static str, &dyn Display)] = &[
            ("class", &class),
            ("width", &width),
            ("height", &8),
            ("rx", &4),
        ];
        html.element_with("rect", bar, |_| {});
        if identity.path_not_after < identity.not_after {
            let end = share(
                identity.not_before,
                identity.not_after,
                identity.path_not_after,
            );
            let at = format!("{end:.1}%");
            let mark: &[(&'static str, &dyn Display)] =
                &[("class", &"cut"), ("x", &at), ("width", &2), ("height", &8)];
            html.element_with("rect", mark, |html| {
                html.markup("<title>an intermediate ends here</title>");
            });
        }
    });
}

/// Returns which share of a life is over, in percent from 0 to 100.
fn share(from: Moment, until: Moment, now: Moment) -> f64 {
    let whole = until.duration_since(from).as_secs_f64();
    let over = now.duration_since(from).as_secs_f64();
    if whole <= 0.0 {
        return 100.0;
    }
    (100.0 * over / whole).clamp(0.0, 100.0)
}

/// Writes the whole path, and where it lies.
fn details(html: &mut Html, identity: &IdentityStatus, view: &View<'_>) {
    html.element_with("div", &[("class", &"path")], |html| {
        if let Some(since) = identity.kept_since {
            html.element("p", |html| {
                state(
                    html,
                    Tone::Bad,
                    "Its last good state is served: its files have been broken since ",
                );
                ago(html, since, view.now);
            });
        }
        let leaf = CertificateFacts {
            subject: identity.subject.clone(),
            issuer: identity.issuer.clone(),
            serial: identity.serial.clone(),
            sha256: identity.sha256.clone(),
            not_before: identity.not_before,
            not_after: identity.not_after,
            dns_names: identity.dns_names.clone(),
            key_type: identity.key_type.clone(),
        };
        html.markup("<ol class=\"chain\">");
        certificate(html, "Leaf", &leaf, view);
        let mut above = &identity.issuer;
        for facts in view.status.tls.above(identity) {
            certificate(html, "Intermediate", facts, view);
            above = &facts.issuer;
        }
        html.element("li", |html| {
            html.words("span", "kind", "Authority");
            html.words("span", "subject", above);
            html.words("p", "note", "Clients have it themselves; it is not sent.");
        });
        html.markup("</ol>");
        html.element_with("dl", &[("class", &"files")], |html| {
            for (name, file) in [
                ("Certificate file", &identity.cert),
                ("Key file", &identity.key),
            ] {
                html.words("dt", "", name);
                html.element("dd", |html| html.words("code", "", file));
            }
        });
    });
}

/// Writes a certificate as an item of a list.
pub(super) fn certificate(
    html: &mut Html,
    kind: &'static str,
    facts: &CertificateFacts,
    view: &View<'_>,
) {
    html.element("li", |html| {
        html.words("span", "kind", kind);
        html.words("span", "subject", &facts.subject);
        html.element("dl", |html| {
            let mut row = |name: &'static str, inside: &dyn Fn(&mut Html)| {
                html.words("dt", "", name);
                html.element("dd", inside);
            };
            row("Issuer", &|html| html.text(&facts.issuer));
            if !facts.dns_names.is_empty() {
                row("Names", &|html| {
                    html.text(some_of(&facts.dns_names, MOST_NAMES));
                });
            }
            row("Valid", &|html| {
                html.text(format_args!(
                    "{} until {}, ",
                    facts.not_before, facts.not_after
                ));
                html.text(until(facts.not_after, view.now));
            });
            row("Key", &|html| html.text(&facts.key_type));
            row("Serial", &|html| html.words("code", "", &facts.serial));
            row("SHA-256", &|html| html.words("code", "", &facts.sha256));
        });
    });
}

/// Returns the first of these names, and how many more there are.
fn some_of(names: &[String], most: usize) -> String {
    let mut text = names
        .iter()
        .take(most)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if let Some(more @ 1..) = names.len().checked_sub(most) {
        let _ = write!(text, " and {more} more");
    }
    text
}

/// Lists what ends but leaves and what is sent behind them, which the paths show.
fn others(html: &mut Html, view: &View<'_>) {
    let all = view.status.tls.expiries.iter();
    let is_other =
        |it: &&Expiry| !matches!(it.kind, ExpiryKind::Identity | ExpiryKind::Intermediate);
    let others: Vec<_> = all.filter(is_other).collect();
    if others.is_empty() {
        return;
    }
    html.element_with(
        "details",
        &[("id", &"others"), ("class", &"more")],
        |html| {
            html.element("summary", |html| {
                html.text(format_args!(
                "What else ends: authorities, revocation lists and certificates of backends ({})",
                others.len()
            ));
            });
            html.element_with("ul", &[("class", &"ends")], |html| {
                for it in others.iter().take(MOST_OTHERS) {
                    html.element("li", |html| {
                        html.text(it);
                        html.text(format_args!(": {}, ", until(it.ends_at, view.now)));
                        day(html, it.ends_at);
                        html.text(format_args!("; then {}", it.effect.sentence()));
                    });
                }
                if let Some(more @ 1..) = others.len().checked_sub(MOST_OTHERS) {
                    html.element("li", |html| html.text(format_args!("and {more} more")));
                }
            });
        },
    );
}
