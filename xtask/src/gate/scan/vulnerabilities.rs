//! Known vulnerabilities in what an image holds. "None" needs a database, and one that is not too old.

use super::origin::Origins;
use super::policy::DatabasePolicy;
use super::{Scanner, day};
use crate::catalogue::plural;
use crate::tool::trivy::{Report, Vulnerability};
use crate::verdict::Check;

/// A finding counts whatever the database's age; "none" counts only from a fresh one.
pub fn judge(report: &Report, scanner: &Scanner, origins: &Origins, now: jiff::Timestamp) -> Check {
    let name = "vulnerabilities";
    let may_be_open = |check: Check| match scanner.policy.database {
        DatabasePolicy::WhenAvailable => check.tolerated(),
        DatabasePolicy::Required => check,
    };
    let Some(database) = &scanner.database else {
        return may_be_open(Check::undecided(
            name,
            "no database",
            "name one: --vuln-db DIR or HORME_VULN_DB",
        ));
    };
    let all = report.results.iter().flat_map(|result| &result.vulnerabilities);
    let today = day(now);
    let counts = |found: &&Vulnerability| {
        !found.fixed_version.is_empty()
            && scanner.policy.fail_severities.contains(&found.severity)
            && !scanner.exceptions.lets_pass(found, today)
    };
    let (over, others): (Vec<_>, Vec<_>) = all.partition(counts);
    let (disclosed, failing): (Vec<_>, Vec<_>) = over.into_iter().partition(|found| origins.lets_pass(found));
    if let Some(first) = failing.first() {
        let more = if failing.len() > 1 {
            format!(" and {} more", failing.len() - 1)
        } else {
            String::new()
        };
        let detail = format!(
            "{} ({}){more}: {}",
            named(first),
            origins.words(first),
            first.title
        );
        return Check::violated(name, detail, origins.remedy(first));
    }
    let age = database.age_days(now);
    let mut below = format!("{} below the threshold", others.len());
    for found in disclosed {
        below.push_str(&format!(
            ", reported: {} ({})",
            named(found),
            origins.words(found)
        ));
    }
    if age > i64::from(scanner.policy.database_max_age_days) {
        let detail = format!(
            "none that fails, {below}, but the database is {age} day{} old",
            plural(age.unsigned_abs() as usize)
        );
        return may_be_open(Check::undecided(
            name,
            detail,
            "bring a newer database: --vuln-db DIR",
        ));
    }
    Check::passed(
        name,
        format!("none that fails, {below}; database of {}", database.updated_at),
    )
}

fn named(found: &Vulnerability) -> String {
    let Vulnerability {
        severity,
        id,
        pkg_name,
        installed_version,
        ..
    } = found;
    format!("{severity} {id} in {pkg_name} {installed_version}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::scan::origin::tests::origins;
    use crate::gate::scan::policy::Disclosed;
    use crate::gate::scan::testing::{excused, scanner};
    use crate::tool::trivy;
    use crate::verdict::Outcome;

    fn found(severity: &str, fixed: &str) -> Report {
        let text = serde_json::json!({"Results": [{"Type": "rustbinary", "Vulnerabilities": [
            {"VulnerabilityID": "RUSTSEC-1", "PkgName": "time", "InstalledVersion": "0.1", "FixedVersion": fixed, "Severity": severity}]}]});
        trivy::parse(&text.to_string()).unwrap()
    }

    fn judged(report: &Report, days_old: Option<i64>) -> Check {
        judged_by(&scanner(days_old, DatabasePolicy::WhenAvailable), report)
    }

    /// Judged where nothing is known of where findings come from.
    fn judged_by(scanner: &Scanner, report: &Report) -> Check {
        origins(None, Disclosed::Fail, false, |origins| {
            judge(report, scanner, origins, jiff::Timestamp::now())
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
                judge(&report, &scanner, origins, jiff::Timestamp::now())
            })
        };
        let check = judged(&[], Disclosed::Report);
        assert_eq!(
            check.detail,
            "CRITICAL CVE-2021-25900 in smallvec 0.6.13 (frontend -> axum 1.0.0 -> smallvec; introduced since v1.0.0): overflow"
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
        assert_eq!(
            judged(&found("HIGH", "0.3"), Some(30)).outcome,
            Outcome::Violated,
            "stale, but it found something"
        );
        assert_eq!(
            judged(&found("HIGH", ""), Some(1)).outcome,
            Outcome::Passed,
            "no fixed version exists"
        );
        assert_eq!(judged(&found("MEDIUM", "0.3"), Some(1)).outcome, Outcome::Passed);
    }

    #[test]
    fn policy_decides_whether_a_missing_database_is_tolerated() {
        let check = |policy| judged_by(&scanner(None, policy), &Report::default());
        assert!(check(DatabasePolicy::WhenAvailable).tolerated);
        assert!(!check(DatabasePolicy::Required).tolerated);
    }

    #[test]
    fn an_excepted_finding_passes_and_its_exception_is_used() {
        let text = r#"{"Results":[{"Vulnerabilities":[{"VulnerabilityID":"CVE-1","PkgName":"time","FixedVersion":"2","Severity":"HIGH"}]}]}"#;
        let (scanner, mut records) = excused(1);
        let report = trivy::parse(text).unwrap();
        assert_eq!(judged_by(&scanner, &report).outcome, Outcome::Passed);
        assert!(!crate::gate::scan::unused_exceptions(&scanner, &mut records));
    }
}
