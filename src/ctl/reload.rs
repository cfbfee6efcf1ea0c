//! `reload-tls`, `reload`, `tls-rollback` and `verify`.

use std::sync::Arc;

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{
    CtlError, Output, ask,
    render::{Cell, Paint, Table, Tone, clean, one_line, short},
    words::end,
};
use crate::{
    cli::{exit, proxyctl::Proxyctl},
    control::{ReloadReport, Request, Response, VerifyReport, client::ClientError},
    facts::{
        CertificateFacts, Expiry, IdentityChange, IdentityOutcome, Problem, RevokedSessions,
        VerifiedIdentity, amount,
    },
    findings::trust_went_back,
};

/// The most identities that are listed although nothing happened to them.
const SHORT_LIST: usize = 50;

/// How many of the next ends are shown; `--json` has all of them.
const SHOWN_ENDS: usize = 5;

/// How many revoked certificates are shown whose sessions are open; `--json` has more.
const SHOWN_REVOKED: usize = 5;

/// What holds after a rollback.
const AFTER_ROLLBACK: &str = "\
This holds until the next reload. Mend what is on disk, which a restart of proxyd would serve, and\n\
then run `proxyctl reload-tls`.\n";

/// Asks for a reload and shows what became of each identity.
pub(super) fn reload(
    arguments: &Proxyctl,
    request: &Request,
    output: &mut Output,
) -> Result<u8, CtlError> {
    let Response::Reloaded(report) = ask(arguments, request)? else {
        return Err(ClientError::Unexpected.into());
    };
    output.answer(&report, |paint| reload_text(&report, paint))?;
    for pid in &report.revoked.silent {
        output.warn(&format!(
            "worker {pid} has not answered; sessions that it has of revoked certificates are not counted"
        ));
    }
    Ok(verdict(&report.problems, output))
}

/// Asks for a rollback and shows what became of each identity.
pub(super) fn roll_back(arguments: &Proxyctl, output: &mut Output) -> Result<u8, CtlError> {
    let Response::Reloaded(report) = ask(arguments, &Request::TlsRollback)? else {
        return Err(ClientError::Unexpected.into());
    };
    output.answer(&report, |paint| rollback_text(&report, paint))?;
    Ok(verdict(&report.problems, output))
}

/// Shows what a reload would find.
pub(super) fn verify(arguments: &Proxyctl, output: &mut Output) -> Result<u8, CtlError> {
    let Response::Verified(report) = ask(arguments, &Request::Verify)? else {
        return Err(ClientError::Unexpected.into());
    };
    output.answer(&report, |paint| verify_text(&report, paint))?;
    for warning in &report.warnings {
        output.warn(warning);
    }
    Ok(verdict(&report.problems, output))
}

fn verdict(problems: &[Problem], output: &mut Output) -> u8 {
    for problem in problems {
        output.complain(problem);
    }
    if problems.is_empty() {
        exit::DONE
    } else {
        exit::FAILED
    }
}

fn rollback_text(report: &ReloadReport, paint: Paint) -> String {
    let trust = trust_went_back(&report.trust_went_back);
    let trust = trust.map_or_else(String::new, |it| format!("Note: {it}.\n"));
    reload_text(report, paint) + &trust + AFTER_ROLLBACK
}

fn reload_text(report: &ReloadReport, paint: Paint) -> String {
    let workers = amount(report.workers as u64, "worker");
    let mut text = if report.changed {
        format!("Generation {} is served by {workers}.\n", report.generation)
    } else if report.problems.is_empty() {
        format!(
            "Nothing new: generation {} is still served by {workers}.\n",
            report.generation
        )
    } else {
        format!(
            "Nothing was taken: generation {} is still served by {workers}.\n",
            report.generation
        )
    };
    text.push_str(&changes_text(report, paint));
    text.push_str(&revoked_text(&report.revoked));
    text
}

/// Says which sessions are open of certificates that are revoked, and how to end them.
fn revoked_text(revoked: &RevokedSessions) -> String {
    let named = revoked.certificates.len();
    if named == 0 {
        return String::new();
    }
    let certificates = amount(named as u64 + revoked.left_out, "client certificate");
    let sessions = amount(revoked.sessions, "session");
    let are = if revoked.sessions == 1 { "is" } else { "are" };
    let mut text = format!(
        "{sessions} {are} open of {certificates} that the revocation lists revoke. To end them:\n"
    );
    for certificate in revoked.certificates.iter().take(SHOWN_REVOKED) {
        let (digest, sessions) = (&certificate.sha256, amount(certificate.sessions, "session"));
        let subject = one_line(&certificate.subject);
        let _ = writeln!(
            text,
            "  proxyctl end --client-cert {}   # {sessions} of {subject}",
            one_line(digest)
        );
    }
    if let Some(more @ 1..) = named.checked_sub(SHOWN_REVOKED) {
        let _ = writeln!(text, "  and {more} more; `--json` has them");
    }
    text
}

/// Lists identities; those that stayed as they were only while the list is short enough to read.
fn changes_text(report: &ReloadReport, paint: Paint) -> String {
    let changes = &report.identities;
    let is_news = |change: &&IdentityChange| change.outcome != IdentityOutcome::Unchanged;
    let all = changes.len() <= SHORT_LIST;
    let shown: Vec<_> = changes.iter().filter(|it| all || is_news(it)).collect();
    let mut table = Table::new(&["IDENTITY", "RESULT", "SHA-256", "SUBJECT", "EXPIRES"]);
    for change in &shown {
        table.row(change_row(change));
    }
    let mut text = String::new();
    if !shown.is_empty() {
        text.push_str(&table.text(paint));
    }
    let told = shown.iter().filter(|it| !is_news(it)).count();
    match report.unchanged.saturating_sub(told) {
        0 => {}
        1 => text.push_str("1 more identity is unchanged.\n"),
        more => _ = writeln!(text, "{more} more identities are unchanged."),
    }
    text
}

fn change_row(change: &IdentityChange) -> [Cell; 5] {
    let (word, tone) = match change.outcome {
        IdentityOutcome::Held => ("held back", Tone::Odd),
        IdentityOutcome::Kept => ("kept", Tone::Bad),
        IdentityOutcome::LeftOut => ("left out", Tone::Bad),
        IdentityOutcome::Removed => ("removed", Tone::Odd),
        IdentityOutcome::Unchanged => ("unchanged", Tone::Plain),
        IdentityOutcome::Updated => ("updated", Tone::Good),
    };
    let sha256 = |facts: &Option<Arc<CertificateFacts>>| match facts {
        Some(facts) => short(&facts.sha256).to_owned(),
        None => "(none)".to_owned(),
    };
    let (old, new) = (sha256(&change.old), sha256(&change.new));
    let fingerprint = if old == new {
        new
    } else {
        format!("{old} -> {new}")
    };
    let fact = |get: fn(&CertificateFacts) -> String| {
        let facts = change.new.as_ref().or(change.old.as_ref());
        facts.map_or_else(|| "-".to_owned(), |facts| get(facts))
    };
    [
        Cell::plain(&change.name),
        Cell::new(word, tone),
        Cell::plain(fingerprint),
        Cell::plain(fact(|facts| facts.subject.clone())),
        Cell::plain(fact(|facts| facts.not_after.to_string())),
    ]
}

fn verify_text(report: &VerifyReport, paint: Paint) -> String {
    let mut text = String::new();
    let _ = match report.problems.len() {
        0 => writeln!(
            text,
            "What is on disk would load; generation {} is served.",
            report.generation
        ),
        found => writeln!(
            text,
            "What is on disk has {}; generation {} is served.",
            amount(found as u64, "problem"),
            report.generation
        ),
    };
    text.push_str(&verified_list(&report.identities, Timestamp::now(), paint));
    text.push_str(&ends_text(&report.expiries, paint));
    for untried in &report.not_tried {
        let _ = writeln!(text, "Not tried: {}", clean(untried));
    }
    text
}

/// Lists what ends next of what is on disk.
fn ends_text(expiries: &[Expiry], paint: Paint) -> String {
    let shown = expiries.iter().take(SHOWN_ENDS);
    let mut text: String = shown.map(|it| end(it, paint)).collect();
    if let Some(more @ 1..) = expiries.len().checked_sub(SHOWN_ENDS) {
        let _ = writeln!(text, "  {more} more later; `--json` lists them all.");
    }
    if !text.is_empty() {
        text.insert_str(0, "What ends next:\n");
    }
    text
}

/// Lists identities; those that are as served only while the list is short enough to read.
fn verified_list(identities: &[VerifiedIdentity], now: Timestamp, paint: Paint) -> String {
    let all = identities.len() <= SHORT_LIST;
    let shown: Vec<_> = identities
        .iter()
        .filter(|it| all || standing(it).0 != "same")
        .collect();
    let heads = [
        "IDENTITY", "DISK", "NAMES", "ISSUER", "KEY", "DAYS", "SHA-256", "CERT",
    ];
    let mut table = Table::new(&heads);
    for identity in &shown {
        table.row(verified_row(identity, now));
    }
    let mut text = String::new();
    if !shown.is_empty() {
        text.push_str(&table.text(paint));
    }
    match identities.len() - shown.len() {
        0 => {}
        1 => text.push_str("1 more identity is served as it is on disk.\n"),
        more => {
            let _ = writeln!(
                text,
                "{more} more identities are served as they are on disk."
            );
        }
    }
    text
}

/// Returns how what is on disk stands to what is served.
fn standing(identity: &VerifiedIdentity) -> (&'static str, Tone) {
    match (&identity.disk, &identity.served) {
        (None, _) => ("invalid", Tone::Bad),
        (Some(_), None) => ("new", Tone::Odd),
        (Some(disk), Some(served)) if disk.sha256 == served.sha256 => ("same", Tone::Good),
        (Some(_), Some(_)) => ("changed", Tone::Odd),
    }
}

fn verified_row(identity: &VerifiedIdentity, now: Timestamp) -> [Cell; 8] {
    let (word, tone) = standing(identity);
    let disk = identity.disk.as_ref();
    let fact = |get: &dyn Fn(&CertificateFacts) -> String| {
        disk.map_or_else(|| "-".to_owned(), |facts| get(facts))
    };
    let sha256 = |facts: &Option<Arc<CertificateFacts>>| {
        facts.as_ref().map(|facts| short(&facts.sha256).to_owned())
    };
    let fingerprint = match (sha256(&identity.served), sha256(&identity.disk)) {
        (Some(served), Some(disk)) if served != disk => format!("{served} -> {disk}"),
        (_, Some(disk)) => disk,
        (served, None) => served.unwrap_or_else(|| "-".to_owned()),
    };
    [
        Cell::plain(&identity.name),
        Cell::new(word, tone),
        Cell::plain(fact(&|facts| names(&facts.dns_names))),
        Cell::plain(fact(&|facts| facts.issuer.clone())),
        Cell::plain(fact(&|facts| facts.key_type.clone())),
        Cell::plain(fact(&|facts| days_left(facts, now).to_string())),
        Cell::plain(fingerprint),
        Cell::plain(&identity.cert),
    ]
}

/// Returns the first names of a certificate, and how many more there are.
fn names(all: &[String]) -> String {
    match all {
        [] => "-".to_owned(),
        [one, two, three, rest @ ..] if !rest.is_empty() => {
            format!("{one} {two} {three} +{}", rest.len())
        }
        few => few.join(" "),
    }
}

/// Returns the whole days until a certificate expires; negative once it has.
fn days_left(facts: &CertificateFacts, now: Timestamp) -> i64 {
    facts.not_after.days_since(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{ExpiryEffect, ExpiryKind};

    fn facts(letter: &str) -> Arc<CertificateFacts> {
        Arc::new(CertificateFacts {
            subject: "CN=db".into(),
            issuer: "CN=ca".into(),
            serial: "01".into(),
            sha256: letter.repeat(64),
            not_before: "2026-01-01T00:00:00Z".parse().unwrap(),
            not_after: "2026-04-01T00:00:00Z".parse().unwrap(),
            dns_names: vec!["db".into()],
            key_type: "ecdsa-p256".into(),
        })
    }

    #[test]
    fn a_reload_shows_old_and_new() {
        let report = ReloadReport {
            generation: 4,
            changed: true,
            workers: 2,
            identities: vec![IdentityChange {
                name: "default".into(),
                outcome: IdentityOutcome::Updated,
                old: Some(facts("a")),
                new: Some(facts("b")),
            }],
            unchanged: 0,
            problems: Vec::new(),
            trust_went_back: Vec::new(),
            revoked: RevokedSessions::default(),
        };
        let expected = "\
Generation 4 is served by 2 workers.
  IDENTITY  RESULT   SHA-256                               SUBJECT  EXPIRES
  default   updated  aaaaaaaaaaaaaaaa -> bbbbbbbbbbbbbbbb  CN=db    2026-04-01T00:00:00Z
";
        assert_eq!(reload_text(&report, Paint::new(false)), expected);
    }

    #[test]
    fn a_rollback_says_that_revocation_lists_went_back() {
        let mut report = ReloadReport {
            generation: 3,
            changed: true,
            workers: 1,
            identities: vec![],
            unchanged: 1,
            problems: vec![],
            trust_went_back: vec![],
            revoked: RevokedSessions::default(),
        };
        let text = |report: &ReloadReport| rollback_text(report, Paint::new(false));
        assert!(!text(&report).contains("revocation"));
        report.trust_went_back = vec!["main".into(), "\x1b".into()];
        let text = text(&report);
        let words = "lists for clients of listener \"main\", \"\\u{1b}\" went back too; clients";
        assert!(text.contains(words), "{text}");
        assert!(text.ends_with(AFTER_ROLLBACK), "{text}");
    }

    fn verified(name: &str, disk: Option<Arc<CertificateFacts>>) -> VerifiedIdentity {
        VerifiedIdentity {
            name: name.into(),
            cert: "/c".into(),
            key: "/k".into(),
            disk,
            served: Some(facts("a")),
        }
    }

    #[test]
    fn a_dry_run_tells_broken_from_changed() {
        let mut many = facts("a");
        Arc::make_mut(&mut many).dns_names = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        let identities = [
            verified("one", None),
            verified("two", Some(facts("b"))),
            verified("three", Some(many)),
        ];
        let now = "2026-03-30T12:00:00Z".parse().unwrap();
        let expected = "
  IDENTITY  DISK     NAMES     ISSUER  KEY         DAYS  SHA-256                               CERT
  one       invalid  -         -       -           -     aaaaaaaaaaaaaaaa                      /c
  two       changed  db        CN=ca   ecdsa-p256  1     aaaaaaaaaaaaaaaa -> bbbbbbbbbbbbbbbb  /c
  three     same     a b c +2  CN=ca   ecdsa-p256  1     aaaaaaaaaaaaaaaa                      /c
";
        let text = verified_list(&identities, now, Paint::new(false));
        assert_eq!(format!("\n{text}"), expected);
    }

    #[test]
    fn a_dry_run_says_what_it_found_first() {
        let mut report = VerifyReport {
            generation: 3,
            identities: vec![verified("one", None)],
            problems: vec![],
            warnings: vec![],
            not_tried: vec!["port \x1b1".into()],
            expiries: vec![],
        };
        let first = |report: &VerifyReport| {
            let text = verify_text(report, Paint::new(false));
            text.lines().next().unwrap().to_owned()
        };
        assert_eq!(
            first(&report),
            "What is on disk would load; generation 3 is served."
        );
        report.problems.push(Problem {
            subject: "identity \"one\"".into(),
            file: Some("/c".into()),
            reason: "is empty".into(),
        });
        assert_eq!(
            first(&report),
            "What is on disk has 1 problem; generation 3 is served."
        );
        let text = verify_text(&report, Paint::new(false));
        assert!(text.ends_with("Not tried: port \\u{1b}1\n"), "{text}");
    }

    #[test]
    fn a_dry_run_of_thousands_stays_short() {
        let name = |number: i64| format!("n{number}");
        let expiries = (0..10_000).map(|number| Expiry {
            kind: ExpiryKind::Identity,
            owner: format!("identity \"{}\"", name(number)),
            name: "CN=db".into(),
            file: None,
            starts_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            ends_at: "2026-04-01T00:00:00Z".parse().unwrap(),
            days_left: number - 1,
            effect: ExpiryEffect::ClientsRefuse,
        });
        let report = VerifyReport {
            generation: 3,
            identities: (0..10_000)
                .map(|number| verified(&name(number), Some(facts("a"))))
                .collect(),
            problems: vec![],
            warnings: vec![],
            not_tried: vec![],
            expiries: expiries.collect(),
        };
        let expected = "\
What is on disk would load; generation 3 is served.
10000 more identities are served as they are on disk.
What ends next:
  ended (2026-04-01T00:00:00Z): identity \"n0\": its certificate CN=db
  ends in 0d (2026-04-01T00:00:00Z): identity \"n1\": its certificate CN=db
  ends in 1d (2026-04-01T00:00:00Z): identity \"n2\": its certificate CN=db
  ends in 2d (2026-04-01T00:00:00Z): identity \"n3\": its certificate CN=db
  ends in 3d (2026-04-01T00:00:00Z): identity \"n4\": its certificate CN=db
  9995 more later; `--json` lists them all.
";
        assert_eq!(verify_text(&report, Paint::new(false)), expected);
    }

    #[test]
    fn a_long_list_holds_only_what_is_news() {
        let mut identities: Vec<_> = (0..100)
            .map(|number| verified(&format!("n{number}"), Some(facts("a"))))
            .collect();
        identities[7].disk = Some(facts("b"));
        let text = verified_list(&identities, Timestamp::UNIX_EPOCH, Paint::new(false));
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(
            text.contains("n7") && text.contains("99 more identities"),
            "{text}"
        );
    }
}
