//! The scan gate: Trivy on an image's archive. Crates seen must equal the crates that the binary is made of,
//! or "no findings" would mean "nothing was looked at". Vulnerabilities need a database and its age.

mod bill;
pub mod configuration;
mod crates;
mod database;
mod dependencies;
mod exceptions;
pub(super) mod files;
mod findings;
mod layers;
mod licences;
mod look;
#[cfg(test)]
mod mutations;
mod origin;
mod policy;
mod remedy;
mod since;
#[cfg(test)]
mod testing;
mod vex;
mod vulnerabilities;
pub mod yanked;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde_json::Value;

use crate::build::Built;
use crate::catalogue::Catalogue;
use crate::context::Context;
use crate::engine::Engine;
use crate::evidence::{self, Subject};
use crate::exit::Failure;
use crate::fingerprint::dockerfile;
use crate::verdict::{Check, Gate, Origin, Outcome, Record};
use database::{Database, Opened};
use dependencies::Dependencies;
use exceptions::Exceptions;
use look::{Seen, look};
pub use policy::{Policy, a_repository};
use vex::Vex;

/// What every scan of a run shares.
#[derive(Debug)]
pub struct Scanner {
    pub trivy: PathBuf,
    pub policy: Policy,
    pub database: Option<Database>,
    /// Why the database that there is cannot be asked.
    damage: Option<String>,
    exceptions: Arc<Exceptions>,
    dependencies: Arc<Dependencies>,
    vex: Arc<Vex>,
    /// Digest -> the bill of materials, of every image that was judged.
    bills: Mutex<BTreeMap<String, Value>>,
}

/// The policy of the checkout, and the database that was named: read before anything is built, so that a fault
/// in them does not cost a build.
#[derive(Debug)]
pub struct Settings {
    policy: Policy,
    named: Option<Opened>,
    exceptions: Arc<Exceptions>,
    dependencies: Arc<Dependencies>,
    vex: Arc<Vex>,
}

impl Settings {
    /// # Errors
    /// Exit 2: see [`Policy::read`], [`Exceptions::read`], [`Vex::read`], [`Dependencies::read`] and [`Database::open`];
    /// or a scanner is named that is no file.
    pub fn read(context: &Context, catalogue: &Catalogue) -> Result<Self> {
        crate::setup::named_trivy(context)?;
        let named = context.options.vuln_db.as_deref();
        Ok(Settings {
            named: named.map(|dir| Database::open(dir, &context.cache)).transpose()?,
            dependencies: Arc::new(Dependencies::read(context, catalogue)?),
            exceptions: Arc::new(Exceptions::read(&context.root)?),
            vex: Arc::new(Vex::read(&context.root)?),
            policy: Policy::read(&context.root)?,
        })
    }

    /// The folder of the database that will be asked, if there is one.
    pub fn database_dir(&self, context: &Context) -> Option<PathBuf> {
        match &self.named {
            Some(Ok(database)) => Some(database.dir.clone()),
            Some(Err(_)) => None,
            None => crate::setup::database(context),
        }
    }
}

impl Scanner {
    /// Made once set-up has seen to the scanner. Where no database was named, the one that set-up keeps.
    ///
    /// # Errors
    /// Exit 3: there is no scanner.
    pub fn new(context: &Context, settings: &Settings) -> Result<Self> {
        let trivy = crate::setup::trivy(context).ok_or_else(|| {
            Failure::undecided("there is no Trivy to scan with", "`cargo xtask setup` fetches it")
        })?;
        // Nobody named the kept one: that it cannot be opened is no fault of the call.
        let kept = || {
            let opened = Database::open(&crate::setup::database(context)?, &context.cache);
            Some(opened.unwrap_or_else(|error| Err(format!("{error:#}"))))
        };
        let opened = settings.named.clone().or_else(kept);
        let (database, damage) = match opened {
            Some(Ok(database)) => (Some(database), None),
            Some(Err(damage)) => (None, Some(damage)),
            None => (None, None),
        };
        Ok(Scanner {
            trivy,
            policy: settings.policy.clone(),
            database,
            damage,
            exceptions: settings.exceptions.clone(),
            dependencies: settings.dependencies.clone(),
            vex: settings.vex.clone(),
            bills: Mutex::default(),
        })
    }

    /// Digest -> the bill of materials (CycloneDX), of every image that was judged so far.
    pub fn bills(&self) -> BTreeMap<String, Value> {
        self.bills.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn bill(&self, image: &Built, bill: Value) {
        let mut bills = self.bills.lock().unwrap_or_else(PoisonError::into_inner);
        bills.insert(image.digest.clone(), bill);
    }

    /// What a scan's findings are true of. Policy and age are not among it: they are applied anew in every run.
    fn subject(&self, context: &Context, image: &Built) -> Subject {
        let service = image.plan.service.name.as_str();
        // Beside the database lies a bundle of checks, where one was fetched.
        let checks = self
            .database
            .as_ref()
            .map(|database| evidence::folders(&database.dir, &["policy"], ""));
        let tools = [evidence::file(&self.trivy)].into_iter().chain(checks).collect();
        let digest = [(service.to_owned(), image.digest.clone())];
        // It tells which layers are the base's.
        let dockerfile = std::fs::read_to_string(context.root.join(image.plan.service.dockerfile()));
        let own = dockerfile::shipped(&dockerfile.unwrap_or_default()).words.len();
        let settings = serde_json::json!({ "instructions": own });
        let mut subject = Subject::new(Gate::Scan, service, digest, settings, tools);
        subject.database = self.database.as_ref().map(|database| database.sha256.clone());
        subject
    }

    /// Whether what the database does not know counts: it is of a time that was, within policy's age.
    fn has_fresh_database(&self, now: jiff::Timestamp) -> bool {
        let most = i64::from(self.policy.database_max_age_days);
        let age = self.database.as_ref().map(|database| database.age_days(now));
        age.is_some_and(|age| (0..=most).contains(&age))
    }

    /// Whether an earlier run's findings about this image can be judged without another scan.
    pub fn knows(&self, context: &Context, image: &Built) -> bool {
        evidence::find::<Seen>(context, &self.subject(context, image)).is_some()
            && bill::kept(context, image, &self.trivy).is_some()
    }
}

/// Judges one image: by the findings of an earlier scan where nothing that they depend on has changed.
pub async fn check(context: &Context, engine: &Engine, scanner: &Scanner, image: &Built) -> Result<Record> {
    let subject = scanner.subject(context, image);
    let known = evidence::find::<Seen>(context, &subject);
    // Without its bill of materials a scan is not whole.
    if let Some((kept, bill)) = known.zip(bill::kept(context, image, &scanner.trivy)) {
        scanner.bill(image, bill);
        let origin = Origin::Reused {
            run_id: kept.run_id.clone(),
            age_s: kept.age_s(),
        };
        return Ok(judge(context, scanner, image, &kept.value)
            .await
            .by_evidence_of(origin));
    }
    let (seen, bill) = look(context, engine, scanner, image).await?;
    scanner.bill(image, bill);
    let service = &image.plan.service;
    // A scan that did not see the binary's crates has looked at nothing: the next run looks again.
    if crates::judge(&seen.crates, &service.crates, &service.build_crates).outcome == Outcome::Passed {
        evidence::keep(context, &subject, &seen);
    }
    Ok(judge(context, scanner, image, &seen).await)
}

async fn judge(context: &Context, scanner: &Scanner, image: &Built, seen: &Seen) -> Record {
    let service = &image.plan.service;
    let now = jiff::Timestamp::now();
    let dependencies = &scanner.dependencies;
    let origins = dependencies
        .origins(context, &image.plan, &scanner.policy, seen)
        .await;
    let product = vex::Image {
        name: &service.image,
        digest: &image.digest,
    };
    let found = vulnerabilities::fates(&seen.report, scanner, &origins, product, day(now));
    let mut checks = vec![
        crates::judge(&seen.crates, &service.crates, &service.build_crates),
        vulnerabilities::judge(&found, scanner, &origins, now),
        findings::secrets(&seen.report, &seen.layers),
        files::judge(&seen.odd_files, &seen.layers),
        configuration::judge(&image.env, &image.labels),
        scanner.exceptions.judge(day(now)),
        scanner.vex.judge(),
        findings::misconfigurations(&seen.report, &scanner.policy),
    ];
    checks.extend(dependencies.judge(context, service, &scanner.policy).await);
    let findings = origins.findings(&found, &seen.report, &seen.odd_files);
    let words = match findings.len() {
        0 => "nothing found".to_owned(),
        count => format!("{count} found, none that fails"),
    };
    let reason = format!("{} crates, {words}", service.crates.len());
    let mut record = Record::from_checks(&service.name, Gate::Scan, checks, reason)
        .figure("crates_seen", seen.crates.len())
        .figure("crates_expected", service.crates.len());
    if !findings.is_empty() {
        record = record.figure("findings", serde_json::json!(findings));
    }
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

/// Adds exceptions and statements that no image needed to the verdicts that they concern: all of them. To be asked
/// once every image of the checkout was scanned with a fresh database; until then nobody knows. Returns what changed.
pub fn unused_exceptions(scanner: &Scanner, records: &mut [Record]) -> bool {
    let now = jiff::Timestamp::now();
    let asked = |record: &Record| record.figures.contains_key("database_sha256");
    if !scanner.has_fresh_database(now) || !records.iter().all(asked) {
        return false;
    }
    let unused: Vec<Check> = scanner
        .exceptions
        .unused(day(now))
        .into_iter()
        .chain(scanner.vex.unused())
        .collect();
    if unused.is_empty() {
        return false;
    }
    for record in records {
        let mut checks = std::mem::take(&mut record.checks);
        checks.retain(|check| unused.iter().all(|unused| unused.name != check.name));
        checks.extend(unused.iter().cloned());
        let judged = Record::from_checks(&record.service, Gate::Scan, checks, "");
        (record.checks, record.outcome, record.reason) = (judged.checks, judged.outcome, judged.reason);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::testing::excused;
    use super::*;

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
        for days_old in [400, -2] {
            let (mut scanner, mut records) = excused(1);
            scanner.database = testing::scanner(Some(days_old), scanner.policy.database).database;
            let changed = unused_exceptions(&scanner, &mut records);
            assert!(!changed, "such a database knows nothing of what is new");
        }
    }
}
