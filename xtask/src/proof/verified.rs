//! From a proof to what may be pushed: every gate of every image looked, at this very digest, passed, and is young
//! enough. All that is wrong is told at once, and each thing once, however many images it concerns.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Proof, ProvenImage};
use crate::exit::{Exit, Failure};
use crate::release::settings::Ages;
use crate::tool::trivy;
use crate::verdict::{Gate, Outcome, Record, age};

/// Images of which every gate passed, decided and young enough: the only thing that can be pushed.
#[derive(Debug, Clone)]
pub struct Verified {
    proof: Proof,
}

impl Verified {
    /// # Errors
    /// Everything that is wrong, at once: a gate that is missing, violated, undecided (whatever a policy tolerates in
    /// a plain run), too old, or about another digest; no bill of materials; a checkout that was not as committed.
    pub fn of(proof: Proof, gates: &[Gate], ages: &Ages, now: Timestamp) -> Result<Self, Vec<Failure>> {
        let mut faults = Faults::default();
        of_the_run(&proof, &mut faults);
        let judging = Judging {
            proof: &proof,
            ages,
            now,
        };
        for image in &proof.images {
            for gate in gates {
                faults.of(image, judging.gate(image, *gate));
            }
            if gates.contains(&Gate::Scan) {
                faults.of(image, judging.database(image));
            }
            faults.of(image, bill(image));
        }
        match faults.0.is_empty() {
            true => Ok(Verified { proof }),
            false => Err(faults.told(&proof.run_id)),
        }
    }

    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    pub fn images(&self) -> &[ProvenImage] {
        &self.proof.images
    }
}

/// Something that forbids a release, and the services that it is true of (none: of the whole run).
#[derive(Debug)]
struct Fault {
    exit: Exit,
    what: String,
    hint: String,
    services: Vec<String>,
}

impl Fault {
    fn new(failure: Failure) -> Self {
        Fault {
            exit: failure.exit,
            what: failure.what,
            hint: failure.hint.unwrap_or_default(),
            services: Vec::new(),
        }
    }
}

#[derive(Debug, Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, failure: Failure) {
        self.0.push(Fault::new(failure));
    }

    fn of(&mut self, image: &ProvenImage, judged: Result<(), Failure>) {
        let Err(failure) = judged else { return };
        let fault = Fault::new(failure);
        let same = |other: &Fault| {
            !other.services.is_empty() && (&other.what, &other.hint) == (&fault.what, &fault.hint)
        };
        let place = match self.0.iter().position(&same) {
            Some(place) => place,
            None => {
                self.0.push(fault);
                self.0.len() - 1
            }
        };
        self.0[place].services.push(image.service.clone());
    }

    fn told(self, run_id: &str) -> Vec<Failure> {
        let told = self.0.into_iter().map(|fault| {
            let of = match fault.services.is_empty() {
                true => String::new(),
                false => format!("{}: ", fault.services.join(", ")),
            };
            Failure {
                exit: fault.exit,
                what: format!("run {run_id}: {of}{}", fault.what),
                hint: Some(fault.hint),
            }
        });
        told.collect()
    }
}

/// The remedy of what was not looked at.
const LOOK: &str = "`cargo xtask ci` looks at every image with every gate";
/// The remedy of what was looked at long ago.
const AGAIN: &str = "`cargo xtask ci --fresh` looks again";

fn of_the_run(proof: &Proof, faults: &mut Faults) {
    if proof.dirty {
        let hint = "commit or put away what differs (`git status`), then `cargo xtask ci`";
        faults.add(Failure::usage("the checkout was not as committed", hint));
    }
    let hex =
        |text: &str, most: usize| text.len() == most && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hex(&proof.commit, 40) {
        let what = format!("nobody knows its commit ('{}')", proof.commit);
        faults.add(Failure::usage(what, "run `cargo xtask ci` in a git checkout"));
    }
    if proof.images.is_empty() {
        faults.add(Failure::undecided("it proved no image", LOOK));
    }
    let mut seen = BTreeSet::new();
    for image in &proof.images {
        let digest = image.digest.strip_prefix("sha256:").unwrap_or_default();
        if !hex(digest, 64) || !seen.insert(&image.service) | !seen.insert(&image.image) {
            let what = format!("{}: it is there twice, or by no digest", image.image);
            faults.add(Failure::usage(
                what,
                "the proof was edited: `cargo xtask ci` writes another",
            ));
        }
    }
}

struct Judging<'a> {
    proof: &'a Proof,
    ages: &'a Ages,
    now: Timestamp,
}

impl Judging<'_> {
    fn gate(&self, image: &ProvenImage, gate: Gate) -> Result<(), Failure> {
        let name = gate.name();
        let mut own = image.records.iter();
        let own = own.find(|record| record.gate == gate && record.service == image.service);
        let record = own.ok_or_else(|| Failure::undecided(format!("no verdict of {name}"), LOOK))?;
        about(image, record)?;
        passed(record)?;
        if gate != Gate::Build {
            // What was built stays built: its age is no doubt about it.
            self.young(record)?;
        }
        Ok(())
    }

    fn young(&self, record: &Record) -> Result<(), Failure> {
        let (name, most) = (record.gate.name(), self.ages.verdict_max_days);
        match self.too_old(self.proof.found_at(record), most) {
            None => Ok(()),
            Some(age) => {
                let limit = format!("verdict_max_days = {most} in docker/policy/release.toml");
                let what = format!("the verdict of {name} is {age} old, {limit}");
                Err(Failure::undecided(what, AGAIN))
            }
        }
    }

    /// Whether a scan that passed asked a database, and one that is young enough.
    fn database(&self, image: &ProvenImage) -> Result<(), Failure> {
        let mut scans = image.records.iter().filter(|record| record.gate == Gate::Scan);
        let Some(record) = scans.find(|record| record.outcome == Outcome::Passed) else {
            return Ok(());
        };
        let hint = "name one with --vuln-db (or HORME_VULN_DB), then `cargo xtask ci`";
        let updated_at = record.figures.get("database_updated_at");
        let updated_at = updated_at.and_then(|at| at.as_str()?.parse::<Timestamp>().ok());
        let updated_at =
            updated_at.ok_or_else(|| Failure::undecided("no vulnerability database was asked", hint))?;
        let most = self.ages.database_max_days;
        match self.too_old(updated_at, most) {
            None => Ok(()),
            Some(age) => {
                let limit = format!("database_max_days = {most} in docker/policy/release.toml");
                let what = format!("the vulnerability database is {age} old, {limit}");
                Err(Failure::undecided(
                    what,
                    "bring a newer one (--vuln-db), then `cargo xtask ci`",
                ))
            }
        }
    }

    /// The age of what is older than so many days, or of a time to come.
    fn too_old(&self, at: Timestamp, most_days: u32) -> Option<String> {
        let seconds = self.now.duration_since(at).as_secs();
        match u64::try_from(seconds) {
            Ok(seconds) => (seconds > u64::from(most_days) * 86_400).then(|| age(seconds)),
            // Two clocks may differ by a little.
            Err(_) => (seconds < -3600).then(|| format!("-{}", age(seconds.unsigned_abs()))),
        }
    }
}

/// Whether a verdict is about this digest. Lint judges the sources of the commit alone.
fn about(image: &ProvenImage, record: &Record) -> Result<(), Failure> {
    let name = record.gate.name();
    match &record.digest {
        Some(digest) if *digest == image.digest => Ok(()),
        Some(digest) => {
            let what = format!(
                "the verdict of {name} is about {digest}, the image is {}",
                image.digest
            );
            Err(Failure::usage(what, LOOK))
        }
        None if record.gate == Gate::Lint => Ok(()),
        None => Err(Failure::usage(
            format!("the verdict of {name} names no digest"),
            LOOK,
        )),
    }
}

fn passed(record: &Record) -> Result<(), Failure> {
    let name = record.gate.name();
    let failed = record
        .checks
        .iter()
        .find(|check| check.outcome != Outcome::Passed);
    let why = match failed {
        Some(check) => format!(
            "{}: {}",
            check.name,
            check.detail.lines().next().unwrap_or_default()
        ),
        None => record.reason.clone(),
    };
    let hint = record.hint().unwrap_or(LOOK);
    match (record.outcome, failed) {
        (Outcome::Passed, None) if !record.checks.is_empty() => Ok(()),
        (Outcome::Passed, None) => Err(Failure::undecided(format!("{name} looked at nothing"), LOOK)),
        (Outcome::Violated, _) => Err(Failure::violated(format!("{name} is violated ({why})"), hint)),
        (Outcome::Skipped, _) => Err(Failure::undecided(format!("{name} was skipped ({why})"), LOOK)),
        _ => Err(Failure::undecided(format!("{name} is undecided ({why})"), hint)),
    }
}

/// Whether the bill of materials lists the crates that the scan saw.
fn bill(image: &ProvenImage) -> Result<(), Failure> {
    let again = "`cargo xtask scan --fresh` makes one, and so does `cargo xtask ci --fresh`";
    let Some(bill) = image
        .sbom
        .as_ref()
        .filter(|bill| bill["bomFormat"] == "CycloneDX")
    else {
        return Err(Failure::undecided("no bill of materials", again));
    };
    let listed = trivy::crates_in_bill(&bill.to_string()).unwrap_or_default();
    let listed = listed.into_iter().collect::<BTreeSet<_>>().len();
    let scan = image.records.iter().find(|record| record.gate == Gate::Scan);
    let seen = scan.and_then(|scan| scan.figures.get("crates_seen")?.as_u64());
    if listed == 0 || seen.is_some_and(|seen| seen != listed as u64) {
        let seen = seen.map_or(String::new(), |seen| format!(", the scan saw {seen}"));
        return Err(Failure::undecided(
            format!("the bill of materials lists {listed} crates{seen}"),
            again,
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
