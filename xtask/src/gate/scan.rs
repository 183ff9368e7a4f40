//! The scan gate: Trivy on an image's archive. Crates seen must equal the crates that the binary is made of,
//! or "no findings" would mean "nothing was looked at". Vulnerabilities need a database and its age.

mod configuration;
mod exceptions;
mod files;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::build::Built;
use crate::cache::Cache;
use crate::catalogue::plural;
use crate::context::Context;
use crate::engine::Engine;
use crate::evidence::{self, Subject};
use crate::exit::Failure;
use crate::gate::step;
use crate::hash;
use crate::plan::Limits;
use crate::process;
use crate::tool::trivy::{self, DatabaseMetadata, Report, Scanners, Vulnerability};
use crate::verdict::{Check, Gate, Origin, Outcome, Record};
use exceptions::Exceptions;

/// `docker/policy/scan.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub database: DatabasePolicy,
    pub database_max_age_days: u32,
    pub fail_severities: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatabasePolicy {
    WhenAvailable,
    Required,
}

const SEVERITIES: [&str; 5] = ["CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN"];

impl Policy {
    /// Reads the policy of the checkout.
    ///
    /// # Errors
    /// Exit 2 for an unreadable file, an unknown key or an unknown severity.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join("docker/policy/scan.toml");
        let hint = "the keys are described in the file that is shipped";
        let wrong = |why: String| Failure::usage(format!("docker/policy/scan.toml: {why}"), hint);
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let policy: Policy =
            toml::from_str(&text).map_err(|error| wrong(error.to_string().trim().to_owned()))?;
        match policy
            .fail_severities
            .iter()
            .find(|severity| !SEVERITIES.contains(&severity.as_str()))
        {
            Some(unknown) => Err(wrong(format!(
                "fail_severities: '{unknown}' is none of {}",
                SEVERITIES.join(", ")
            ))
            .into()),
            None => Ok(policy),
        }
    }
}

/// A vulnerability database, by what it is and when it was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Database {
    /// The Trivy cache folder that holds it.
    pub dir: PathBuf,
    /// SHA-256 of `trivy.db`: which snapshot judged.
    pub sha256: String,
    pub updated_at: jiff::Timestamp,
}

impl Database {
    /// The database in a Trivy cache folder.
    ///
    /// # Errors
    /// Exit 2: the folder was named, but holds no readable database.
    pub fn open(dir: &Path, cache: &Cache) -> Result<Self> {
        let wrong = |what: &str, why: String| {
            Failure::usage(
                format!("--vuln-db {}: {what}: {why}", dir.display()),
                "name a Trivy cache folder: it holds db/trivy.db and db/metadata.json",
            )
        };
        let metadata = std::fs::read_to_string(dir.join("db/metadata.json"));
        let metadata = metadata.map_err(|error| wrong("db/metadata.json", error.to_string()))?;
        let metadata: DatabaseMetadata =
            serde_json::from_str(&metadata).map_err(|error| wrong("db/metadata.json", error.to_string()))?;
        let file = dir.join("db/trivy.db");
        let sha256 = identity(cache, &file).map_err(|error| wrong("db/trivy.db", error.to_string()))?;
        Ok(Database {
            // The scanner runs in a folder of its own.
            dir: std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf()),
            sha256,
            updated_at: metadata.updated_at,
        })
    }

    fn age_days(&self, now: jiff::Timestamp) -> i64 {
        now.duration_since(self.updated_at).as_hours() / 24
    }
}

/// SHA-256 of a file that may be large: worked out once for as long as the file stays as it is.
fn identity(cache: &Cache, file: &Path) -> std::io::Result<String> {
    // An absent file must be an error, not an old answer.
    file.metadata()?;
    let as_it_is = evidence::file(file);
    if let Some(kept) = cache.get("file", &as_it_is) {
        return Ok(kept.value);
    }
    let sha256 = hash::of_file(file)?;
    cache.put("file", &as_it_is, &sha256);
    Ok(sha256)
}

/// What every scan of a run shares.
#[derive(Debug)]
pub struct Scanner {
    pub trivy: PathBuf,
    pub policy: Policy,
    pub database: Option<Database>,
    exceptions: Exceptions,
}

/// The policy of the checkout, and the database that was named: read before anything is built, so that a fault
/// in them does not cost a build.
#[derive(Debug)]
pub struct Settings {
    policy: Policy,
    named: Option<Database>,
}

impl Settings {
    /// # Errors
    /// Exit 2: see [`Policy::read`] and [`Database::open`].
    pub fn read(context: &Context) -> Result<Self> {
        let named = context.options.vuln_db.as_deref();
        Ok(Settings {
            named: named.map(|dir| Database::open(dir, &context.cache)).transpose()?,
            policy: Exceptions::read(&context.root).and(Policy::read(&context.root))?,
        })
    }

    /// The folder of the database that will be asked, if there is one.
    pub fn database_dir(&self) -> Option<PathBuf> {
        self.named
            .as_ref()
            .map(|database| database.dir.clone())
            .or_else(crate::setup::database)
    }
}

impl Scanner {
    /// Made once set-up has seen to the scanner. Where no database was named, the one that set-up keeps.
    ///
    /// # Errors
    /// Exit 3: there is no scanner.
    pub fn new(context: &Context, settings: &Settings) -> Result<Self> {
        let trivy = crate::setup::trivy().ok_or_else(|| {
            Failure::undecided("there is no Trivy to scan with", "`cargo xtask setup` fetches it")
        })?;
        let kept = || {
            crate::setup::database()
                .map(|dir| Database::open(&dir, &context.cache))
                .transpose()
        };
        let database = match settings.named.clone() {
            Some(named) => Some(named),
            None => kept()?,
        };
        Ok(Scanner {
            trivy,
            policy: settings.policy.clone(),
            database,
            exceptions: Exceptions::read(&context.root)?,
        })
    }

    /// What a scan's findings are true of. Policy and age are not among it: they are applied anew in every run.
    fn subject(&self, image: &Built) -> Subject {
        let service = image.plan.service.name.as_str();
        // Beside the database lies a bundle of checks, where one was fetched.
        let checks = self
            .database
            .as_ref()
            .map(|database| evidence::folders(&database.dir, &["policy"], ""));
        let tools = [evidence::file(&self.trivy)].into_iter().chain(checks).collect();
        let digest = [(service.to_owned(), image.digest.clone())];
        let mut subject = Subject::new(Gate::Scan, service, digest, Value::Null, tools);
        subject.database = self.database.as_ref().map(|database| database.sha256.clone());
        subject
    }

    /// Whether an earlier run's findings about this image can be judged without another scan.
    pub fn knows(&self, context: &Context, image: &Built) -> bool {
        evidence::find::<Seen>(context, &self.subject(image)).is_some()
    }
}

/// Judges one image: by the findings of an earlier scan where nothing that they depend on has changed.
pub async fn check(
    context: &Context,
    engine: &Engine,
    scanner: &Scanner,
    image: &Built,
    limits: &Limits,
) -> Result<Record> {
    let subject = scanner.subject(image);
    if let Some(kept) = evidence::find::<Seen>(context, &subject) {
        let origin = Origin::Reused {
            run_id: kept.run_id.clone(),
            age_s: kept.age_s(),
        };
        return Ok(judge(scanner, image, &kept.value).by_evidence_of(origin));
    }
    let seen = look(context, engine, scanner, image, limits).await?;
    let service = &image.plan.service;
    // A scan that did not see the binary's crates has looked at nothing: the next run looks again.
    if crates(&seen.crates, &service.crates, &service.build_crates).outcome == Outcome::Passed {
        evidence::keep(context, &subject, &seen);
    }
    Ok(judge(scanner, image, &seen))
}

fn judge(scanner: &Scanner, image: &Built, seen: &Seen) -> Record {
    let service = &image.plan.service;
    let now = jiff::Timestamp::now();
    let checks = vec![
        crates(&seen.crates, &service.crates, &service.build_crates),
        vulnerabilities(&seen.report, scanner, now),
        secrets(&seen.report),
        files::judge(&seen.odd_files),
        configuration::judge(&image.env, &image.labels),
        scanner.exceptions.judge(day(now)),
        misconfigurations(&seen.report, &scanner.policy),
    ];
    let reason = format!("{} crates, nothing found", service.crates.len());
    let mut record = Record::from_checks(&service.name, Gate::Scan, checks, reason)
        .figure("crates_seen", seen.crates.len())
        .figure("crates_expected", service.crates.len());
    if let Some(database) = &scanner.database {
        record = record
            .figure("database_sha256", database.sha256.clone())
            .figure("database_updated_at", database.updated_at.to_string());
    }
    record
}

/// The day, in UTC.
fn day(now: jiff::Timestamp) -> jiff::civil::Date {
    now.to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// Adds an exception that no image needed to the verdicts that it concerns: all of them. To be asked once every
/// image of the checkout was scanned with a database; until then nobody knows. Returns what changed.
pub fn unused_exceptions(scanner: &Scanner, records: &mut [Record]) -> bool {
    let asked = |record: &Record| record.figures.contains_key("database_sha256");
    if scanner.database.is_none() || !records.iter().all(asked) {
        return false;
    }
    let Some(check) = scanner.exceptions.unused() else {
        return false;
    };
    for record in records {
        let mut checks = std::mem::take(&mut record.checks);
        checks.push(check.clone());
        let judged = Record::from_checks(&record.service, Gate::Scan, checks, "");
        (record.checks, record.outcome, record.reason) = (judged.checks, judged.outcome, judged.reason);
    }
    true
}

/// What a scan found, before any policy.
#[derive(Serialize, Deserialize)]
struct Seen {
    report: Report,
    crates: BTreeSet<String>,
    odd_files: Vec<String>,
}

/// Runs Trivy. Crates come from the report where there is a database; without one, from a bill of materials.
async fn look(
    context: &Context,
    engine: &Engine,
    scanner: &Scanner,
    image: &Built,
    limits: &Limits,
) -> Result<Seen> {
    let archive = image.export(engine).await?;
    let name = step(Gate::Scan, &image.plan.service.name);
    let output = context.run_dir.join("scan").join(format!("{name}.json"));
    let cache = context.run_dir.join("scan").join(format!("{name}.cache"));
    std::fs::create_dir_all(&cache).context("cannot create the scan's folder")?;
    let (dir, scanners) = match &scanner.database {
        Some(database) => (database.dir.as_path(), Scanners::All),
        None => (cache.as_path(), Scanners::WithoutDatabase),
    };
    let call = trivy::scan(&scanner.trivy, archive, dir, &output, scanners);
    let text = report(context, call, &output, &name, limits).await?;
    let mut report = trivy::parse(&text).map_err(|error| unreadable(&name, &error.to_string()))?;
    let mut crates: BTreeSet<String> = report.crates().collect();
    if scanner.database.is_none() {
        let output = context.run_dir.join("scan").join(format!("{name}.cdx.json"));
        let call = trivy::bill(&scanner.trivy, archive, dir, &output);
        let text = self::report(context, call, &output, &name, limits).await?;
        crates = trivy::crates_in_bill(&text)
            .map_err(|error| unreadable(&name, &error.to_string()))?
            .into_iter()
            .collect();
    }
    let _ = std::fs::remove_dir_all(&cache);
    report
        .results
        .iter_mut()
        .for_each(|result| result.packages.clear());
    let (archive, digest) = (archive.clone(), image.digest.clone());
    let odd_files = tokio::task::spawn_blocking(move || files::odd(&archive, &digest)).await??;
    Ok(Seen {
        report,
        crates,
        odd_files,
    })
}

/// The text of a report that this very call has written.
async fn report(
    context: &Context,
    call: process::Call,
    output: &Path,
    name: &str,
    limits: &Limits,
) -> Result<String> {
    let _ = std::fs::remove_file(output);
    let mut call = call.log(context.log(name));
    call.deadline = Duration::from_millis(limits.scan_deadline_ms);
    let ended = process::run(context, &call).await?;
    std::fs::read_to_string(output).map_err(|_| {
        let why = format!(
            "Trivy ended with {} and wrote no report:\n{}",
            ended.status,
            ended.last_lines(3)
        );
        Failure::undecided(why, format!("see logs/{name}.log")).into()
    })
}

fn unreadable(name: &str, why: &str) -> anyhow::Error {
    Failure::undecided(
        format!("Trivy's report cannot be read: {why}"),
        format!("see logs/{name}.log"),
    )
    .into()
}

/// The crates seen must be those of the binary. Crates of the build are set aside first: cargo-auditable 0.7.7
/// lists a procedural macro as part of the binary when its package has test targets too.
fn crates(seen: &BTreeSet<String>, expected: &BTreeSet<String>, build: &BTreeSet<String>) -> Check {
    let seen = &(seen - build);
    let hint = "build with `cargo auditable build`, and build the image from this checkout";
    if seen.is_empty() {
        let detail = "the scanner sees no crates in the binary: nothing was looked at";
        return Check::violated("crates", detail, hint);
    }
    let missing: Vec<&str> = expected.difference(seen).map(String::as_str).collect();
    let unexpected: Vec<&str> = seen.difference(expected).map(String::as_str).collect();
    if missing.is_empty() && unexpected.is_empty() {
        return Check::passed("crates", format!("all {} seen", seen.len()));
    }
    let mut words = Vec::new();
    for (what, names) in [("not seen", missing), ("not in Cargo.lock's closure", unexpected)] {
        if !names.is_empty() {
            let first: Vec<&str> = names.iter().copied().take(4).collect();
            let more = if names.len() > 4 {
                format!(" and {} more", names.len() - 4)
            } else {
                String::new()
            };
            words.push(format!("{what}: {}{more}", first.join(", ")));
        }
    }
    Check::violated("crates", words.join("; "), hint)
}

/// A finding counts whatever the database's age; "none" counts only from a fresh one.
fn vulnerabilities(report: &Report, scanner: &Scanner, now: jiff::Timestamp) -> Check {
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

fn secrets(report: &Report) -> Check {
    let found = report
        .results
        .iter()
        .flat_map(|result| result.secrets.iter().map(move |secret| (result, secret)));
    let found: Vec<_> = found.collect();
    match found.first() {
        Some((result, secret)) => Check::violated(
            "secrets",
            format!("{} ({}) in {}", secret.title, secret.rule_id, result.target),
            "take it out of the image and revoke it: it must count as known",
        ),
        None => Check::passed("secrets", "none"),
    }
}

fn misconfigurations(report: &Report, policy: &Policy) -> Check {
    let all = report.results.iter().flat_map(|result| &result.misconfigurations);
    let failing = |found: &&trivy::Misconfiguration| {
        found.status != "PASS" && policy.fail_severities.contains(&found.severity)
    };
    match all.clone().find(failing) {
        Some(found) => Check::violated(
            "misconfigurations",
            format!("{} {}: {}", found.severity, found.id, found.title),
            "mend the service's Dockerfile",
        ),
        None => Check::passed(
            "misconfigurations",
            format!("none that fails, {} below the threshold", all.count()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanner(days_old: Option<i64>, database: DatabasePolicy) -> Scanner {
        let now = jiff::Timestamp::now();
        Scanner {
            trivy: "trivy".into(),
            policy: Policy {
                database,
                database_max_age_days: 7,
                fail_severities: vec!["CRITICAL".into(), "HIGH".into()],
            },
            database: days_old.map(|days| Database {
                dir: "db".into(),
                sha256: "ab".into(),
                updated_at: now - jiff::SignedDuration::from_hours(24 * days),
            }),
            exceptions: Exceptions::default(),
        }
    }

    fn found(severity: &str, fixed: &str) -> Report {
        let text = serde_json::json!({"Results": [{"Type": "rustbinary", "Vulnerabilities": [
            {"VulnerabilityID": "RUSTSEC-1", "PkgName": "time", "InstalledVersion": "0.1", "FixedVersion": fixed, "Severity": severity}]}]});
        trivy::parse(&text.to_string()).unwrap()
    }

    fn judged(report: &Report, days_old: Option<i64>) -> Check {
        vulnerabilities(
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
        let check =
            |policy| vulnerabilities(&Report::default(), &scanner(None, policy), jiff::Timestamp::now());
        assert!(check(DatabasePolicy::WhenAvailable).tolerated);
        assert!(!check(DatabasePolicy::Required).tolerated);
    }

    #[test]
    fn an_empty_list_of_crates_is_a_violation_and_so_is_a_different_one() {
        let set = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<BTreeSet<_>>()
        };
        let (expected, none) = (set(&["axum 0.8.9", "tokio 1.54.1"]), set(&[]));
        assert_eq!(crates(&expected, &expected, &none).outcome, Outcome::Passed);
        assert!(
            crates(&set(&[]), &expected, &none)
                .detail
                .contains("nothing was looked at")
        );
        assert_eq!(
            crates(&set(&["axum 0.8.9"]), &expected, &none).detail,
            "not seen: tokio 1.54.1"
        );
        let stale = set(&["axum 0.8.9", "tokio 1.54.1", "time 0.1.0"]);
        assert_eq!(crates(&stale, &expected, &none).outcome, Outcome::Violated);
        assert_eq!(
            crates(&stale, &expected, &set(&["time 0.1.0"])).outcome,
            Outcome::Passed,
            "a crate of the build"
        );
    }

    /// A scanner with one exception, and a verdict of its scan.
    fn excused(records: usize) -> (Scanner, Vec<Record>) {
        let text = "[[exception]]\nid = \"CVE-1\"\npackage = \"time\"\nowner = \"ann\"\nreason = \"x\"\nexpires = \"2999-01-01\"\n";
        let mut scanner = scanner(Some(1), DatabasePolicy::Required);
        scanner.exceptions = Exceptions::parse(text).unwrap();
        let record = || {
            let checks = vec![Check::passed("crates", "all seen")];
            Record::from_checks("frontend", Gate::Scan, checks, "").figure("database_sha256", "ab")
        };
        (scanner, (0..records).map(|_| record()).collect())
    }

    #[test]
    fn an_excepted_finding_passes_and_its_exception_is_used() {
        let text = r#"{"Results":[{"Vulnerabilities":[{"VulnerabilityID":"CVE-1","PkgName":"time","FixedVersion":"2","Severity":"HIGH"}]}]}"#;
        let (scanner, mut records) = excused(1);
        let report = trivy::parse(text).unwrap();
        assert_eq!(
            vulnerabilities(&report, &scanner, jiff::Timestamp::now()).outcome,
            Outcome::Passed
        );
        assert!(!unused_exceptions(&scanner, &mut records));
    }

    #[test]
    fn an_exception_that_no_image_needs_fails_all_once_all_were_asked() {
        let (scanner, mut records) = excused(2);
        assert!(unused_exceptions(&scanner, &mut records));
        assert!(records.iter().all(|record| record.outcome == Outcome::Violated));
        let (scanner, mut records) = excused(2);
        records[1].figures.clear();
        assert!(
            !unused_exceptions(&scanner, &mut records),
            "one image was not asked about"
        );
    }

    #[test]
    fn secrets_and_misconfigurations_are_named() {
        let report = trivy::parse(
            r#"{"Results":[{"Target":"/app/key","Secrets":[{"RuleID":"aws-access-key-id","Severity":"CRITICAL","Title":"AWS key"}]},
            {"Misconfigurations":[{"ID":"DS002","Severity":"HIGH","Status":"FAIL","Title":"root user"}]}]}"#,
        )
        .unwrap();
        assert_eq!(secrets(&report).detail, "AWS key (aws-access-key-id) in /app/key");
        let policy = scanner(None, DatabasePolicy::Required).policy;
        assert_eq!(
            misconfigurations(&report, &policy).detail,
            "HIGH DS002: root user"
        );
    }
}
