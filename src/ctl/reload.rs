//! `reload-tls`, `reload` and `verify`.

use std::fmt::Write as _;

use super::{
    CtlError, Output, ask,
    render::{Cell, Paint, Table, Tone, count, moment, short},
};
use crate::{
    cli::{exit, proxyctl::Proxyctl},
    control::{
        CertificateFacts, IdentityChange, IdentityOutcome, Problem, ReloadReport, Request,
        Response, VerifiedIdentity, VerifyReport, client::ClientError,
    },
};

/// The most identities that are listed although nothing happened to them.
const SHORT_LIST: usize = 50;

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

fn reload_text(report: &ReloadReport, paint: Paint) -> String {
    let workers = count(report.workers as u64, "worker");
    let mut text = if report.changed {
        format!("Generation {} is served by {workers}.\n", report.generation)
    } else if report.problems.is_empty() {
        format!(
            "Nothing new: generation {} is still served by {workers}.\n",
            report.generation
        )
    } else {
        format!(
            "Nothing could be taken: generation {} is still served by {workers}.\n",
            report.generation
        )
    };
    text.push_str(&changes_text(&report.identities, paint));
    text
}

/// Lists identities; those that stayed as they were only while the list is short enough to read.
fn changes_text(changes: &[IdentityChange], paint: Paint) -> String {
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
    match changes.len() - shown.len() {
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
    let sha256 = |facts: &Option<CertificateFacts>| match facts {
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
        facts.map_or_else(|| "-".to_owned(), get)
    };
    [
        Cell::plain(&change.name),
        Cell::new(word, tone),
        Cell::plain(fingerprint),
        Cell::plain(fact(|facts| facts.subject.clone())),
        Cell::plain(fact(|facts| moment(facts.not_after))),
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
            count(found as u64, "problem"),
            report.generation
        ),
    };
    let mut table = Table::new(&["IDENTITY", "DISK", "SHA-256", "SUBJECT", "EXPIRES", "CERT"]);
    for identity in &report.identities {
        table.row(verified_row(identity));
    }
    text.push_str(&table.text(paint));
    text
}

fn verified_row(identity: &VerifiedIdentity) -> [Cell; 6] {
    let same = |disk: &CertificateFacts| {
        let served = identity.served.as_ref();
        served.is_some_and(|served| served.sha256 == disk.sha256)
    };
    let (word, tone) = match &identity.disk {
        None => ("invalid", Tone::Bad),
        Some(disk) if same(disk) => ("same", Tone::Good),
        Some(_) if identity.served.is_none() => ("new", Tone::Odd),
        Some(_) => ("changed", Tone::Odd),
    };
    let fact =
        |get: fn(&CertificateFacts) -> String| identity.disk.as_ref().map_or("-".into(), get);
    [
        Cell::plain(&identity.name),
        Cell::new(word, tone),
        Cell::plain(fact(|facts| short(&facts.sha256).to_owned())),
        Cell::plain(fact(|facts| facts.subject.clone())),
        Cell::plain(fact(|facts| moment(facts.not_after))),
        Cell::plain(&identity.cert),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(letter: &str) -> CertificateFacts {
        CertificateFacts {
            subject: "CN=db".into(),
            issuer: "CN=ca".into(),
            serial: "01".into(),
            sha256: letter.repeat(64),
            not_before: "2026-01-01T00:00:00Z".parse().unwrap(),
            not_after: "2026-04-01T00:00:00Z".parse().unwrap(),
            dns_names: vec!["db".into()],
            key_type: "ecdsa-p256".into(),
        }
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
            problems: Vec::new(),
        };
        let expected = "\
Generation 4 is served by 2 workers.
  IDENTITY  RESULT   SHA-256                               SUBJECT  EXPIRES
  default   updated  aaaaaaaaaaaaaaaa -> bbbbbbbbbbbbbbbb  CN=db    2026-04-01T00:00:00Z
";
        assert_eq!(reload_text(&report, Paint::new(false)), expected);
    }

    #[test]
    fn a_dry_run_tells_broken_from_changed() {
        let identity = |name: &str, disk| VerifiedIdentity {
            name: name.into(),
            cert: "/c".into(),
            key: "/k".into(),
            disk,
            served: Some(facts("a")),
        };
        let report = VerifyReport {
            generation: 3,
            identities: vec![identity("one", None), identity("two", Some(facts("b")))],
            problems: vec![Problem {
                subject: "identity \"one\"".into(),
                file: Some("/c".into()),
                reason: "is empty".into(),
            }],
            warnings: Vec::new(),
        };
        let expected = "\
What is on disk has 1 problem; generation 3 is served.
  IDENTITY  DISK     SHA-256           SUBJECT  EXPIRES               CERT
  one       invalid  -                 -        -                     /c
  two       changed  bbbbbbbbbbbbbbbb  CN=db    2026-04-01T00:00:00Z  /c
";
        assert_eq!(verify_text(&report, Paint::new(false)), expected);
    }
}
