//! Known vulnerabilities in what an image holds. "None" needs a database, and one that is not too old.

use super::policy::DatabasePolicy;
use super::{Scanner, day};
use crate::catalogue::plural;
use crate::tool::trivy::{Report, Vulnerability};
use crate::verdict::Check;

/// A finding counts whatever the database's age; "none" counts only from a fresh one.
pub fn judge(report: &Report, scanner: &Scanner, now: jiff::Timestamp) -> Check {
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
    let (failing, others): (Vec<_>, Vec<_>) = all.partition(counts);
    if let Some(first) = failing.first() {
        let more = if failing.len() > 1 {
            format!(" and {} more", failing.len() - 1)
        } else {
            String::new()
        };
        let detail = format!(
            "{} {} in {} {}{more}: {}",
            first.severity, first.id, first.pkg_name, first.installed_version, first.title
        );
        let hint = format!(
            "cargo update -p {} (fixed in {})",
            first.pkg_name, first.fixed_version
        );
        return Check::violated(name, detail, hint);
    }
    let age = database.age_days(now);
    let below = format!("{} below the threshold", others.len());
    if age > i64::from(scanner.policy.database_max_age_days) {
        let detail = format!(
            "nothing found, but the database is {age} day{} old",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::scan::testing::{excused, scanner};
    use crate::tool::trivy;
    use crate::verdict::Outcome;

    fn found(severity: &str, fixed: &str) -> Report {
        let text = serde_json::json!({"Results": [{"Type": "rustbinary", "Vulnerabilities": [
            {"VulnerabilityID": "RUSTSEC-1", "PkgName": "time", "InstalledVersion": "0.1", "FixedVersion": fixed, "Severity": severity}]}]});
        trivy::parse(&text.to_string()).unwrap()
    }

    fn judged(report: &Report, days_old: Option<i64>) -> Check {
        judge(
            report,
            &scanner(days_old, DatabasePolicy::WhenAvailable),
            jiff::Timestamp::now(),
        )
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
        let check = |policy| judge(&Report::default(), &scanner(None, policy), jiff::Timestamp::now());
        assert!(check(DatabasePolicy::WhenAvailable).tolerated);
        assert!(!check(DatabasePolicy::Required).tolerated);
    }

    #[test]
    fn an_excepted_finding_passes_and_its_exception_is_used() {
        let text = r#"{"Results":[{"Vulnerabilities":[{"VulnerabilityID":"CVE-1","PkgName":"time","FixedVersion":"2","Severity":"HIGH"}]}]}"#;
        let (scanner, mut records) = excused(1);
        let report = trivy::parse(text).unwrap();
        assert_eq!(
            judge(&report, &scanner, jiff::Timestamp::now()).outcome,
            Outcome::Passed
        );
        assert!(!crate::gate::scan::unused_exceptions(&scanner, &mut records));
    }
}
