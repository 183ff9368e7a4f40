//! A published image, looked at again: what the world has found out since it went out. Scanner, database, policy,
//! exceptions and statements are the gate's; a failure is only what its release did not know and what can be mended.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::layers::Layers;
use super::look::{report, unchanged, unreadable};
use super::origin::{Finding, Origins};
use super::vex::Image;
use super::vulnerabilities::{self, Fate, others, words};
use super::{Scanner, day};
use crate::catalogue::{Service, plural};
use crate::context::Context;
use crate::gate::step;
use crate::tool::trivy::{self, Report, Scanners, Status, Vulnerability};
use crate::verdict::{Check, Gate};

/// What a release knew when it went out: a finding that can be mended, by id, package and severity. One that was rated
/// higher since is another one. What an exception let pass is none of them: it comes back when the exception ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known(BTreeSet<[String; 3]>);

impl Known {
    /// From the scan's `findings`, as the verdicts that are attached to an image keep them.
    pub fn of(findings: &[Value]) -> Self {
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let mendable = findings
            .iter()
            .filter(|finding| !text(finding, "fixed").is_empty() && finding["became"] != "excepted");
        Known(
            mendable
                .map(|finding| ["id", "package", "severity"].map(|key| text(finding, key)))
                .collect(),
        )
    }

    fn has(&self, found: &Vulnerability) -> bool {
        let severity = found.severity.word().to_owned();
        self.0
            .contains(&[found.id.clone(), found.pkg_name.clone(), severity])
    }
}

/// An image that is out, fetched into a folder.
pub struct Published<'a> {
    pub service: &'a Service,
    /// Of the platform's manifest.
    pub digest: &'a str,
    /// An OCI layout that holds this image alone.
    pub layout: &'a Path,
    /// What its release knew; `None` where nothing says it that is trusted.
    pub known: Option<Known>,
}

/// Scans it, and says what is new. `name` is the check's and its files'.
///
/// # Errors
/// Exit 3: the scanner ended without a report, or the database changed while it was asked.
pub async fn again(
    context: &Context,
    scanner: &Scanner,
    image: &Published<'_>,
    name: &str,
) -> Result<(Check, Vec<Finding>)> {
    let Some(database) = &scanner.database else {
        return Ok((without_database(scanner, name), Vec::new()));
    };
    let file = name.replace([' ', '/', '(', ')'], "-");
    let log = step(Gate::Scan, &image.service.name);
    let folder = context.run_dir.join("scan");
    let output = folder.join(format!("{}-{file}.json", image.service.name));
    let temporary = folder.join(format!("{}-{file}.cache", image.service.name));
    std::fs::create_dir_all(&temporary).context("cannot create the scan's folder")?;
    let call = trivy::scan(
        &scanner.trivy,
        image.layout,
        &database.dir,
        &output,
        Scanners::All,
    );
    let call = call.env("TMPDIR", temporary.display().to_string());
    let text = report(context, call, &output, &log, scanner).await;
    let _ = std::fs::remove_dir_all(&temporary);
    let text = text?;
    unchanged(database)?;
    let seen = trivy::parse(&text).map_err(|error| unreadable(&log, &error.to_string()))?;
    let dockerfile = std::fs::read_to_string(context.root.join(image.service.dockerfile()));
    let layers = Layers::read(&text, &dockerfile.unwrap_or_default())
        .map_err(|error| unreadable(&log, &error.to_string()))?;
    let origins = scanner.dependencies.origins_of(image.service, &layers);
    Ok(judge(
        &seen,
        scanner,
        &origins,
        image,
        name,
        jiff::Timestamp::now(),
    ))
}

fn without_database(scanner: &Scanner, name: &str) -> Check {
    let why = scanner.damage.as_deref().unwrap_or("no database");
    Check::undecided(
        name,
        why,
        "name one: --vuln-db DIR, or let `--setup` fetch today's where registries answer",
    )
}

/// New is what fails by policy, can be mended, and was not known. Nothing else fails, and nothing is hidden.
fn judge(
    report: &Report,
    scanner: &Scanner,
    origins: &Origins,
    image: &Published,
    name: &str,
    now: jiff::Timestamp,
) -> (Check, Vec<Finding>) {
    let product = Image {
        name: &image.service.image,
        digest: image.digest,
    };
    let mut found = vulnerabilities::fates(report, scanner, origins, product, day(now));
    let is_known = |found: &Vulnerability| image.known.as_ref().is_some_and(|known| known.has(found));
    let mut let_pass = 0;
    for (found, fate) in found.iter_mut().filter(|(_, fate)| *fate == Fate::Fails) {
        if is_known(found) || !can_be_mended(found) {
            *fate = Fate::Reported;
            let_pass += 1;
        }
    }
    let new: Vec<&Vulnerability> = found
        .iter()
        .filter(|(_, fate)| *fate == Fate::Fails)
        .map(|(found, _)| *found)
        .collect();
    let mut findings = origins.findings(&found, report, &[]);
    findings.retain(|finding| finding.kind == "vulnerability");
    let check = match new.first() {
        Some(first) => Check::violated(name, said(first, &new[1..], origins), origins.remedy(first)),
        None => nothing_new(scanner, name, let_pass, now),
    };
    (check, findings)
}

fn can_be_mended(found: &Vulnerability) -> bool {
    found.status() == Status::Fixed || !found.fixed_version.is_empty()
}

/// `CRITICAL CVE-2021-25900 in smallvec 0.6.13, mended in 0.6.14 (frontend -> smallvec): Buffer overflow`.
fn said(first: &Vulnerability, more: &[&Vulnerability], origins: &Origins) -> String {
    format!(
        "{}, mended in {} ({}): {}{}",
        words(first),
        first.fixed_version,
        origins.words_of_place(first),
        first.title,
        others(more)
    )
}

/// "Nothing new" says something only where the database is of today.
fn nothing_new(scanner: &Scanner, name: &str, let_pass: usize, now: jiff::Timestamp) -> Check {
    let let_pass = match let_pass {
        0 => String::new(),
        count => format!(
            "; {count} finding{} known at the release, or without a mending",
            plural(count)
        ),
    };
    let Some(database) = &scanner.database else {
        return without_database(scanner, name);
    };
    if !scanner.has_fresh_database(now) {
        let detail = format!(
            "nothing new, but the database is of {}{let_pass}",
            database.updated_at
        );
        let hint = "bring one of today: --vuln-db DIR, or `--setup` where registries answer";
        return Check::undecided(name, detail, hint);
    }
    Check::passed(
        name,
        format!(
            "none that can be mended{let_pass}; database of {}",
            database.updated_at
        ),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gate::scan::origin::tests::origins;
    use crate::gate::scan::policy::{DatabasePolicy, Disclosed};
    use crate::gate::scan::testing::{excused, scanner};
    use crate::verdict::Outcome;

    const NAME: &str = "new findings";

    fn found(id: &str, severity: &str, fixed: &str) -> Report {
        let text = json!({"SchemaVersion": 2, "Results": [{"Type": "rustbinary", "Vulnerabilities": [
            {"VulnerabilityID": id, "PkgName": "time", "InstalledVersion": "0.1.0", "FixedVersion": fixed,
             "Severity": severity, "Status": if fixed.is_empty() { "affected" } else { "fixed" }}]}]});
        trivy::parse(&text.to_string()).unwrap()
    }

    fn known(severity: &str, fixed: &str) -> Option<Known> {
        let finding = json!({"id": "CVE-1", "package": "time", "severity": severity, "fixed": fixed});
        Some(Known::of(&[finding]))
    }

    fn judged(scanner: &Scanner, report: &Report, known: Option<Known>) -> (Check, Vec<Finding>) {
        origins(None, Disclosed::Fail, false, |origins| {
            let image = Published {
                service: origins.service,
                digest: "sha256:aa",
                layout: "x".as_ref(),
                known: known.clone(),
            };
            judge(report, scanner, origins, &image, NAME, jiff::Timestamp::now())
        })
    }

    fn outcome(report: &Report, known: Option<Known>) -> Outcome {
        judged(&scanner(Some(0), DatabasePolicy::WhenAvailable), report, known)
            .0
            .outcome
    }

    #[test]
    fn what_its_release_did_not_know_fails_where_it_can_be_mended() {
        let critical = found("CVE-1", "CRITICAL", "0.2.0");
        assert_eq!(
            outcome(&critical, None),
            Outcome::Violated,
            "nothing says what was known"
        );
        assert_eq!(outcome(&critical, Some(Known::default())), Outcome::Violated);
        assert_eq!(outcome(&critical, known("CRITICAL", "0.2.0")), Outcome::Passed);
        let rose = "it was rated lower then";
        assert_eq!(
            outcome(&critical, known("LOW", "0.2.0")),
            Outcome::Violated,
            "{rose}"
        );
        let mended = "there was no version to go to then";
        assert_eq!(
            outcome(&critical, known("CRITICAL", "")),
            Outcome::Violated,
            "{mended}"
        );
        let nobody = found("CVE-1", "CRITICAL", "");
        assert_eq!(
            outcome(&nobody, None),
            Outcome::Passed,
            "there is nothing to do yet"
        );
        assert_eq!(outcome(&found("CVE-1", "LOW", "0.2.0"), None), Outcome::Passed);
    }

    #[test]
    fn it_is_named_with_its_remedy_and_what_does_not_fail_is_counted() {
        let today = scanner(Some(0), DatabasePolicy::WhenAvailable);
        let (check, findings) = judged(&today, &found("CVE-1", "CRITICAL", "0.2.0"), None);
        assert!(
            check
                .detail
                .starts_with("CRITICAL CVE-1 in time 0.1.0, mended in 0.2.0 ("),
            "{}",
            check.detail
        );
        assert!(!check.hint.unwrap().is_empty());
        assert_eq!(findings[0].became, "fails");
        let (check, findings) = judged(
            &today,
            &found("CVE-1", "CRITICAL", "0.2.0"),
            known("CRITICAL", "0.2.0"),
        );
        assert!(
            check.detail.contains("1 finding known at the release"),
            "{}",
            check.detail
        );
        assert_eq!(findings[0].became, "reported");
    }

    #[test]
    fn an_exception_of_today_holds_for_what_is_out() {
        let (scanner, _) = excused(1);
        let (check, findings) = judged(&scanner, &found("CVE-1", "CRITICAL", "0.2.0"), None);
        assert_eq!((check.outcome, findings[0].became), (Outcome::Passed, "excepted"));
    }

    #[test]
    fn what_went_out_under_an_exception_comes_back_when_that_ends() {
        let finding = json!({"id": "CVE-1", "package": "time", "severity": "CRITICAL", "fixed": "0.2.0",
            "became": "excepted"});
        let known = || Some(Known::of(std::slice::from_ref(&finding)));
        let critical = found("CVE-1", "CRITICAL", "0.2.0");
        let (still, _) = excused(1);
        assert_eq!(judged(&still, &critical, known()).0.outcome, Outcome::Passed);
        assert_eq!(outcome(&critical, known()), Outcome::Violated);
    }

    #[test]
    fn nothing_new_needs_a_database_of_today_whatever_a_plain_run_may() {
        for days in [None, Some(400), Some(-3)] {
            let scanner = scanner(days, DatabasePolicy::WhenAvailable);
            let (check, _) = judged(&scanner, &found("CVE-1", "LOW", "1"), None);
            assert_eq!(
                (check.outcome, check.tolerated),
                (Outcome::Undecided, false),
                "{days:?}"
            );
        }
        let old = scanner(Some(400), DatabasePolicy::WhenAvailable);
        let (check, _) = judged(&old, &found("CVE-1", "CRITICAL", "2"), None);
        assert_eq!(check.outcome, Outcome::Violated, "what it knows, it knows");
    }
}
