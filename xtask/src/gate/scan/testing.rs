//! Scanners and verdicts for the tests of the gate's parts.

use super::Scanner;
use super::database::Database;
use super::exceptions::Exceptions;
use super::policy::{DatabasePolicy, Policy};
use crate::verdict::{Check, Gate, Record};

/// A scanner whose database is so many days old, or that has none.
pub fn scanner(days_old: Option<i64>, database: DatabasePolicy) -> Scanner {
    let mut policy = Policy::parse(include_str!("../../../../docker/policy/scan.toml")).unwrap();
    policy.database = database;
    let now = jiff::Timestamp::now();
    Scanner {
        trivy: "trivy".into(),
        policy,
        database: days_old.map(|days| Database {
            dir: "db".into(),
            sha256: "ab".into(),
            updated_at: now - jiff::SignedDuration::from_hours(24 * days),
            seen_as: String::new(),
        }),
        damage: None,
        exceptions: Default::default(),
        vex: Default::default(),
        dependencies: Default::default(),
        bills: Default::default(),
    }
}

/// A scanner with one exception, and a verdict of its scan.
pub fn excused(records: usize) -> (Scanner, Vec<Record>) {
    let text = "[[exception]]\nid = \"CVE-1\"\npackage = \"time\"\nowner = \"ann\"\nreason = \"x\"\nexpires = \"2999-01-01\"\n";
    let mut scanner = scanner(Some(1), DatabasePolicy::Required);
    scanner.exceptions = Exceptions::parse(text).unwrap().into();
    let record = || {
        let checks = vec![Check::passed("crates", "all seen")];
        Record::from_checks("frontend", Gate::Scan, checks, "").figure("database_sha256", "ab")
    };
    (scanner, (0..records).map(|_| record()).collect())
}
