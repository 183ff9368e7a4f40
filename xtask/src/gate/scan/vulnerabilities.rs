//! Known vulnerabilities in what an image holds, and what policy, exceptions and VEX statements make of each. "None"
//! needs a database, and one that is not too old.

use std::collections::BTreeSet;

use jiff::civil::Date;

use super::Scanner;
use super::origin::Origins;
use super::policy::DatabasePolicy;
use super::vex::Image;
use crate::catalogue::plural;
use crate::tool::trivy::{Report, Vulnerability};
use crate::verdict::Check;

const NAME: &str = "vulnerabilities";

/// How many findings a line names; all of them are in the report's figures.
const NAMED: usize = 3;

/// What becomes of a finding.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    Fails,
    /// An exception holds.
    Excepted,
    /// A VEX statement says why.
    Harmless(String),
    /// It was in the image before, and policy only reports what the world discloses.
    Disclosed,
    /// Below what policy fails.
    Reported,
}

/// Every finding once, the worst first.
pub fn fates<'r>(
    report: &'r Report,
    scanner: &Scanner,
    origins: &Origins,
    image: Image,
    today: Date,
) -> Vec<(&'r Vulnerability, Fate)> {
    let mut seen = BTreeSet::new();
    let mut found: Vec<&Vulnerability> = report
        .vulnerabilities()
        .filter(|found| seen.insert((&found.id, &found.pkg_name, &found.installed_version)))
        .collect();
    found.sort_by_key(|found| (std::cmp::Reverse(found.severity), &found.id));
    let fate = |found| (found, fate(found, scanner, origins, image, today));
    found.into_iter().map(fate).collect()
}

fn fate(found: &Vulnerability, scanner: &Scanner, origins: &Origins, image: Image, today: Date) -> Fate {
    if let Some(why) = scanner.vex.lets_pass(found, image) {
        return Fate::Harmless(why);
    }
    if !scanner.policy.fails(found.severity, found.status()) {
        return Fate::Reported;
    }
    if scanner.exceptions.lets_pass(found, today) {
        return Fate::Excepted;
    }
    match origins.lets_pass(found) {
        true => Fate::Disclosed,
        false => Fate::Fails,
    }
}

/// A finding counts whatever the database's age; "none" counts only from a fresh one.
pub fn judge(
    found: &[(&Vulnerability, Fate)],
    scanner: &Scanner,
    origins: &Origins,
    now: jiff::Timestamp,
) -> Check {
    let Some(database) = &scanner.database else {
        return match &scanner.damage {
            Some(damage) => {
                let hint = "bring another one, --vuln-db DIR, or take it away: `cargo xtask setup` fetches one where \
                            registries answer";
                Check::undecided(NAME, damage, hint)
            }
            None => may_be_open(
                scanner,
                Check::undecided(NAME, "no database", "name one: --vuln-db DIR or HORME_VULN_DB"),
            ),
        };
    };
    let failing: Vec<&Vulnerability> = with(found, |fate| *fate == Fate::Fails);
    if let Some(first) = failing.first() {
        let more = others(&failing[1..]);
        let detail = format!("{}: {}{more}", words(first, origins), first.title);
        return Check::violated(NAME, detail, remedy(first, origins));
    }
    let age = database.age_days(now);
    let let_pass = let_pass(found, origins);
    if age > i64::from(scanner.policy.database_max_age_days) {
        let days = plural(age.unsigned_abs() as usize);
        let detail = format!("nothing that fails, but the database is {age} day{days} old{let_pass}");
        let hint = "bring a newer database: --vuln-db DIR";
        return may_be_open(scanner, Check::undecided(NAME, detail, hint));
    }
    Check::passed(
        NAME,
        format!("none that fails{let_pass}; database of {}", database.updated_at),
    )
}

fn may_be_open(scanner: &Scanner, check: Check) -> Check {
    match scanner.policy.database {
        DatabasePolicy::WhenAvailable => check.tolerated(),
        DatabasePolicy::Required => check,
    }
}

fn with<'r>(found: &[(&'r Vulnerability, Fate)], is: impl Fn(&Fate) -> bool) -> Vec<&'r Vulnerability> {
    let such = found.iter().filter(|(_, fate)| is(fate));
    such.map(|(found, _)| *found).collect()
}

fn words(found: &Vulnerability, origins: &Origins) -> String {
    format!(
        "{} {} in {} {} ({}; {})",
        found.severity.word(),
        found.id,
        found.pkg_name,
        found.installed_version,
        found.status().word().replace('_', " "),
        origins.words(found)
    )
}

fn others(more: &[&Vulnerability]) -> String {
    let ids: Vec<&str> = more.iter().take(NAMED).map(|found| found.id.as_str()).collect();
    match more.len() {
        0 => String::new(),
        count => {
            let dots = if count > NAMED { ", ..." } else { "" };
            format!("; and {count} more: {}{dots}", ids.join(", "))
        }
    }
}

/// What was found and does not fail, never hidden: `; below the policy: ...; let pass: ...`.
fn let_pass(found: &[(&Vulnerability, Fate)], origins: &Origins) -> String {
    let mut text = String::new();
    let reported = with(found, |fate| *fate == Fate::Reported);
    if let Some(first) = reported.first() {
        text.push_str(&format!(
            "; below the policy: {}{}",
            words(first, origins),
            others(&reported[1..])
        ));
    }
    for (found, fate) in found {
        match fate {
            Fate::Excepted => text.push_str(&format!("; excepted: {}", words(found, origins))),
            Fate::Disclosed => text.push_str(&format!("; reported: {}", words(found, origins))),
            Fate::Harmless(why) => text.push_str(&format!("; {}: {why}", words(found, origins))),
            Fate::Fails | Fate::Reported => {}
        }
    }
    text
}

fn remedy(found: &Vulnerability, origins: &Origins) -> String {
    if found.fixed_version.is_empty() {
        return format!(
            "no version of {} mends it: replace it, or say why it does no harm (docker/policy/openvex.json)",
            found.pkg_name
        );
    }
    origins.remedy(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::scan::origin::tests::origins;
    use crate::gate::scan::policy::Disclosed;
    use crate::gate::scan::testing::{excused, scanner};
    use crate::gate::scan::{day, unused_exceptions};
    use crate::tool::trivy;
    use crate::verdict::Outcome;

    const IMAGE: Image = Image {
        name: "shop",
        digest: "sha256:aa",
    };

    const REAL: &str = include_str!("../../../tests/captured/trivy-0.68.2/vulnerable.json");

    fn found(severity: &str, fixed: &str) -> Report {
        let text = serde_json::json!({"SchemaVersion": 2, "Results": [{"Type": "rustbinary", "Vulnerabilities": [
            {"VulnerabilityID": "CVE-1", "PkgName": "time", "InstalledVersion": "0.1", "FixedVersion": fixed, "Severity": severity}]}]});
        trivy::parse(&text.to_string()).unwrap()
    }

    fn with(scanner: &Scanner, report: &Report, origins: &Origins) -> Check {
        let now = jiff::Timestamp::now();
        let found = fates(report, scanner, origins, IMAGE, day(now));
        judge(&found, scanner, origins, now)
    }

    fn judged(report: &Report, days_old: Option<i64>) -> Check {
        judged_by(&scanner(days_old, DatabasePolicy::WhenAvailable), report)
    }

    /// Judged where nothing is known of where findings come from.
    fn judged_by(scanner: &Scanner, report: &Report) -> Check {
        origins(None, Disclosed::Fail, false, |origins| {
            with(scanner, report, origins)
        })
    }

    #[test]
    fn a_finding_is_told_with_its_path_and_what_was_disclosed_may_be_reported_alone() {
        let text = r#"{"SchemaVersion":2,"Results":[{"Vulnerabilities":[{"VulnerabilityID":"CVE-2021-25900","PkgName":"smallvec",
            "InstalledVersion":"0.6.13","FixedVersion":"0.6.14, 1.6.1","Status":"fixed","Severity":"CRITICAL","Title":"overflow"}]}]}"#;
        let report = trivy::parse(text).unwrap();
        let scanner = scanner(Some(1), DatabasePolicy::Required);
        let judged = |before: &[&str], policy| {
            origins(Some(before), policy, false, |origins| {
                with(&scanner, &report, origins)
            })
        };
        let check = judged(&[], Disclosed::Report);
        assert_eq!(
            check.detail,
            "CRITICAL CVE-2021-25900 in smallvec 0.6.13 (fixed; frontend -> axum 1.0.0 -> smallvec; introduced since v1.0.0): overflow"
        );
        assert_eq!(
            check.hint.as_deref(),
            Some("cargo update -p smallvec@0.6.13 --precise 0.6.14")
        );
        let was = ["smallvec 0.6.13"];
        assert_eq!(judged(&was, Disclosed::Fail).outcome, Outcome::Violated);
        let check = judged(&was, Disclosed::Report);
        assert_eq!(check.outcome, Outcome::Passed);
        assert!(
            check
                .detail
                .contains("reported: CRITICAL CVE-2021-25900 in smallvec 0.6.13"),
            "{}",
            check.detail
        );
    }

    #[test]
    fn clean_needs_a_fresh_database_and_a_finding_needs_none() {
        let clean = Report::default();
        assert_eq!(judged(&clean, Some(1)).outcome, Outcome::Passed);
        assert_eq!(judged(&clean, Some(30)).outcome, Outcome::Undecided);
        assert_eq!(judged(&clean, None).outcome, Outcome::Undecided);
        let stale = judged(&found("HIGH", "0.3"), Some(30));
        assert_eq!(stale.outcome, Outcome::Violated, "stale, but it found something");
        let unfixed = judged(&found("HIGH", ""), Some(1));
        assert_eq!(unfixed.outcome, Outcome::Passed, "no fixed version exists");
        assert!(
            unfixed.detail.contains("HIGH CVE-1 in time 0.1"),
            "and it is not hidden"
        );
        assert_eq!(judged(&found("MEDIUM", "0.3"), Some(1)).outcome, Outcome::Passed);
        let unrated = judged(&found("NEGLIGIBLE", "0.3"), Some(1));
        assert_eq!(unrated.outcome, Outcome::Violated, "nobody knows how bad it is");
    }

    #[test]
    fn policy_decides_whether_a_missing_database_is_tolerated_and_a_damaged_one_never_is() {
        let check = |policy| judged_by(&scanner(None, policy), &Report::default());
        assert!(check(DatabasePolicy::WhenAvailable).tolerated);
        assert!(!check(DatabasePolicy::Required).tolerated);
        let mut damaged = scanner(None, DatabasePolicy::WhenAvailable);
        damaged.damage = Some("db/trivy.db is cut off".to_owned());
        let check = judged_by(&damaged, &Report::default());
        assert_eq!((check.outcome, check.tolerated), (Outcome::Undecided, false));
        assert_eq!(check.detail, "db/trivy.db is cut off");
    }

    #[test]
    fn an_excepted_finding_passes_and_its_exception_is_used() {
        let (scanner, mut records) = excused(1);
        let check = judged_by(&scanner, &found("HIGH", "2"));
        assert_eq!(check.outcome, Outcome::Passed);
        assert!(check.detail.contains("excepted: HIGH CVE-1"), "{}", check.detail);
        assert!(!unused_exceptions(&scanner, &mut records));
    }

    #[test]
    fn a_real_report_is_judged_finding_by_finding() {
        let report = trivy::parse(REAL).unwrap();
        let scanner = scanner(Some(1), DatabasePolicy::Required);
        let today = day(jiff::Timestamp::now());
        let said: Vec<(String, Fate)> = origins(None, Disclosed::Fail, false, |origins| {
            let found = fates(&report, &scanner, origins, IMAGE, today);
            found
                .iter()
                .map(|(found, fate)| (found.id.clone(), fate.clone()))
                .collect()
        });
        let expected = [
            ("CVE-2021-25900", Fate::Fails),
            ("CVE-2099-0002", Fate::Reported),
            ("CVE-2099-0001", Fate::Reported),
            ("CVE-2099-0003", Fate::Fails),
        ];
        assert_eq!(said, expected.map(|(id, fate)| (id.to_owned(), fate)));
        let detail = judged_by(&scanner, &report).detail;
        assert!(
            detail.starts_with("CRITICAL CVE-2021-25900 in smallvec 0.6.13 (fixed; "),
            "{detail}"
        );
        assert!(
            detail.ends_with("): Buffer overflow in SmallVec::insert_many; and 1 more: CVE-2099-0003"),
            "{detail}"
        );
    }
}
