//! Known vulnerabilities in what an image holds, and what policy, exceptions and VEX statements make of each. "None"
//! needs a database, and one that is not too old.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::civil::Date;

use super::Scanner;
use super::origin::Origins;
use super::policy::DatabasePolicy;
use super::vex::Image;
use crate::catalogue::plural;
use crate::tool::trivy::{Report, Status, Vulnerability};
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
    /// It was there before the change, and policy reports such ones.
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
    let fate = |found| (found, fate(found, scanner, origins, image, today));
    let mut found: Vec<(&Vulnerability, Fate)> = report.vulnerabilities().map(fate).collect();
    // Of one that is found in several places, what fails stays.
    found.sort_by_key(|(found, fate)| (*fate != Fate::Fails, Reverse(found.severity)));
    let mut seen = BTreeSet::new();
    found.retain(|(found, _)| seen.insert((&found.id, &found.pkg_name, &found.installed_version)));
    found.sort_by_key(|(found, _)| (Reverse(found.severity), &found.id));
    found
}

fn fate(found: &Vulnerability, scanner: &Scanner, origins: &Origins, image: Image, today: Date) -> Fate {
    if let Some(why) = scanner.vex.lets_pass(found, image) {
        return Fate::Harmless(why);
    }
    if !scanner.policy.fails(found.severity, found.status()) {
        return Fate::Reported;
    }
    match scanner.exceptions.lets_pass(found, today) {
        true => Fate::Excepted,
        false if origins.lets_pass(found) => Fate::Disclosed,
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
        let detail = format!(
            "{} ({}): {}{more}",
            words(first),
            origins.words(first),
            first.title
        );
        return Check::violated(NAME, detail, origins.remedy(first));
    }
    let age = database.age_days(now);
    let let_pass = let_pass(found, origins);
    if age < 0 {
        let updated_at = database.updated_at;
        let detail = format!(
            "nothing that fails, but the database says it is of {updated_at}, which is to come{let_pass}"
        );
        let hint = "set this machine's clock, or bring another database: --vuln-db DIR";
        return may_be_open(scanner, Check::undecided(NAME, detail, hint));
    }
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

pub(super) fn words(found: &Vulnerability) -> String {
    format!(
        "{} {} in {} {}{}",
        found.severity.word(),
        found.id,
        found.pkg_name,
        found.installed_version,
        match found.status() {
            Status::Fixed => String::new(),
            status => format!(", {}", status.word().replace('_', " ")),
        }
    )
}

pub(super) fn others(more: &[&Vulnerability]) -> String {
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
            words(first),
            others(&reported[1..])
        ));
    }
    for (found, fate) in found {
        match fate {
            Fate::Excepted => text.push_str(&format!("; excepted: {}", words(found))),
            Fate::Harmless(why) => text.push_str(&format!("; {}: {why}", words(found))),
            Fate::Disclosed => {
                text.push_str(&format!(
                    "; reported: {} ({})",
                    words(found),
                    origins.words(found)
                ));
            }
            Fate::Fails | Fate::Reported => {}
        }
    }
    text
}

impl Fate {
    /// The word for the report, and why where a statement says so.
    pub fn words(&self) -> (&'static str, Option<&str>) {
        match self {
            Fate::Fails => ("fails", None),
            Fate::Excepted => ("excepted", None),
            Fate::Harmless(why) => ("let pass", Some(why)),
            Fate::Disclosed | Fate::Reported => ("reported", None),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        let text = json!({"SchemaVersion": 2, "Results": [{"Type": "rustbinary", "Vulnerabilities": [
            {"VulnerabilityID": "CVE-1", "PkgName": "time", "InstalledVersion": "0.1", "FixedVersion": fixed, "Severity": severity}]}]});
        trivy::parse(&text.to_string()).unwrap()
    }

    fn with(scanner: &Scanner, report: &Report) -> Check {
        origins(None, Disclosed::Fail, false, |origins| {
            from(origins, scanner, report)
        })
    }

    fn from(origins: &Origins, scanner: &Scanner, report: &Report) -> Check {
        let now = jiff::Timestamp::now();
        judge(
            &fates(report, scanner, origins, IMAGE, day(now)),
            scanner,
            origins,
            now,
        )
    }

    #[test]
    fn a_finding_is_told_with_its_path_and_what_was_disclosed_may_be_reported_alone() {
        let report = trivy::parse(REAL).unwrap();
        let mut scanner = scanner(Some(1), DatabasePolicy::Required);
        let text = "[[exception]]\nid = \"CVE-2099-0003\"\npackage = \"horme-fixture-unrated\"\nowner = \"ann\"\nreason = \"x\"\nexpires = \"2999-01-01\"\n";
        scanner.exceptions = crate::gate::scan::Exceptions::parse(text).unwrap().into();
        let judged = |before: &[&str], policy| {
            origins(Some(before), policy, false, |origins| {
                from(origins, &scanner, &report)
            })
        };
        let check = judged(&[], Disclosed::Report);
        let told = "CRITICAL CVE-2021-25900 in smallvec 0.6.13 (frontend -> axum 1.0.0 -> smallvec; introduced since v1.0.0): ";
        assert!(check.detail.starts_with(told), "{}", check.detail);
        assert_eq!(
            check.hint.as_deref(),
            Some("cargo update -p smallvec@0.6.13 --precise 0.6.14")
        );
        let was = ["smallvec 0.6.13"];
        assert_eq!(judged(&was, Disclosed::Fail).outcome, Outcome::Violated);
        let check = judged(&was, Disclosed::Report);
        assert_eq!(check.outcome, Outcome::Passed, "{}", check.detail);
        let told = "reported: CRITICAL CVE-2021-25900 in smallvec 0.6.13 (frontend -> axum 1.0.0 -> smallvec; disclosed since v1.0.0)";
        assert!(check.detail.contains(told), "{}", check.detail);
    }

    fn judged(report: &Report, days_old: Option<i64>) -> Check {
        with(&scanner(days_old, DatabasePolicy::WhenAvailable), report)
    }

    #[test]
    fn clean_needs_a_fresh_database_and_a_finding_needs_none() {
        let clean = Report::default();
        assert_eq!(judged(&clean, Some(1)).outcome, Outcome::Passed);
        assert_eq!(judged(&clean, Some(30)).outcome, Outcome::Undecided);
        assert_eq!(judged(&clean, None).outcome, Outcome::Undecided);
        let to_come = judged(&clean, Some(-2));
        assert_eq!(to_come.outcome, Outcome::Undecided, "{}", to_come.detail);
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
        let check = |policy| with(&scanner(None, policy), &Report::default());
        assert!(check(DatabasePolicy::WhenAvailable).tolerated);
        assert!(!check(DatabasePolicy::Required).tolerated);
        let mut damaged = scanner(None, DatabasePolicy::WhenAvailable);
        damaged.damage = Some("db/trivy.db is cut off".to_owned());
        let check = with(&damaged, &Report::default());
        assert_eq!((check.outcome, check.tolerated), (Outcome::Undecided, false));
        assert_eq!(check.detail, "db/trivy.db is cut off");
    }

    #[test]
    fn an_excepted_finding_passes_and_its_exception_is_used() {
        let (scanner, mut records) = excused(1);
        let check = with(&scanner, &found("HIGH", "2"));
        assert_eq!(check.outcome, Outcome::Passed);
        assert!(check.detail.contains("excepted: HIGH CVE-1"), "{}", check.detail);
        assert!(!unused_exceptions(&scanner, &mut records));
    }

    #[test]
    fn of_one_finding_in_two_places_what_fails_is_told() {
        let places = [("HIGH", "0.3"), ("HIGH", ""), ("LOW", "0.3")].map(|(severity, fixed)| {
            let one = found(severity, fixed);
            one.results[0].clone()
        });
        for order in [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut report = found("HIGH", "0.3");
            report.results = order.map(|index| places[index].clone()).to_vec();
            let check = judged(&report, Some(1));
            assert_eq!(check.outcome, Outcome::Violated, "{order:?}: {}", check.detail);
            assert!(!check.detail.contains("more"), "once: {}", check.detail);
        }
    }

    #[test]
    fn a_real_report_is_judged_finding_by_finding() {
        let report = trivy::parse(REAL).unwrap();
        let scanner = scanner(Some(1), DatabasePolicy::Required);
        let today = day(jiff::Timestamp::now());
        origins(None, Disclosed::Fail, false, |origins| {
            let found = fates(&report, &scanner, origins, IMAGE, today);
            let said: Vec<_> = found.iter().map(|(found, fate)| (&*found.id, fate)).collect();
            assert_eq!(
                said,
                [
                    ("CVE-2021-25900", &Fate::Fails),
                    ("CVE-2099-0002", &Fate::Reported),
                    ("CVE-2099-0001", &Fate::Reported),
                    ("CVE-2099-0003", &Fate::Fails),
                ]
            );
        });
        let check = with(&scanner, &report);
        assert_eq!(
            check.detail,
            "CRITICAL CVE-2021-25900 in smallvec 0.6.13 (frontend -> axum 1.0.0 -> smallvec; no release to compare with): \
             Buffer overflow in SmallVec::insert_many; and 1 more: CVE-2099-0003"
        );
    }
}
