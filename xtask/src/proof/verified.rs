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
    let listed = trivy::crates_in_bill(&bill.to_string()).map_or(0, |crates| crates.len());
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
mod tests {
    use serde_json::json;

    use super::super::testing::{AGES, good, now};
    use super::*;
    use crate::verdict::{Check, Origin};

    fn verdict(proof: &mut Proof, gate: Gate) -> &mut Record {
        let mut records = proof.images[0].records.iter_mut();
        records.find(|record| record.gate == gate).unwrap()
    }

    fn faults(proof: Proof) -> Vec<Failure> {
        Verified::of(proof, &Gate::ALL, &AGES, now()).map_or_else(|faults| faults, |_| Vec::new())
    }

    fn decided(proof: &mut Proof, gate: Gate, check: Check) {
        let record = verdict(proof, gate);
        let (service, digest, figures) = (
            record.service.clone(),
            record.digest.clone(),
            record.figures.clone(),
        );
        *record = Record::from_checks(&service, gate, vec![check], "");
        (record.digest, record.figures) = (digest, figures);
    }

    #[test]
    fn a_whole_proof_is_verified() {
        let verified = Verified::of(good(), &Gate::ALL, &AGES, now()).unwrap();
        assert_eq!(verified.images().len(), 2);
        assert_eq!(verified.proof(), &good());
    }

    /// Each gate in each way that it can be no pass.
    #[test]
    fn a_gate_that_did_not_pass_forbids_the_release_whatever_a_plain_run_tolerates() {
        type Spoil = fn(&mut Proof, Gate);
        let ways: [(Spoil, Exit, &str); 5] = [
            (
                |proof, gate| proof.images[0].records.retain(|record| record.gate != gate),
                Exit::Undecided,
                "no verdict of ",
            ),
            (
                |proof, gate| decided(proof, gate, Check::violated("a thing", "wrong", "mend it")),
                Exit::Violated,
                " is violated (a thing: wrong)",
            ),
            (
                |proof, gate| decided(proof, gate, Check::undecided("a thing", "unseen", "look")),
                Exit::Undecided,
                " is undecided (a thing: unseen)",
            ),
            (
                |proof, gate| {
                    decided(
                        proof,
                        gate,
                        Check::undecided("a thing", "unseen", "look").tolerated(),
                    )
                },
                Exit::Undecided,
                " is undecided (a thing: unseen)",
            ),
            (
                |proof, gate| {
                    let skipped = Record::skipped("alpha", gate, "left out by --service");
                    let digest = verdict(proof, gate).digest.clone();
                    *verdict(proof, gate) = skipped;
                    verdict(proof, gate).digest = digest;
                },
                Exit::Undecided,
                " was skipped (left out by --service)",
            ),
        ];
        for gate in Gate::ALL {
            for (spoil, exit, words) in &ways {
                let mut proof = good();
                spoil(&mut proof, gate);
                let faults = faults(proof);
                let said: Vec<&str> = faults.iter().map(|fault| fault.what.as_str()).collect();
                let found = faults
                    .iter()
                    .find(|fault| fault.what.contains(words) && fault.what.contains(gate.name()))
                    .unwrap_or_else(|| panic!("{gate:?} {words}: {said:?}"));
                assert_eq!(found.exit, *exit, "{said:?}");
                assert!(
                    found.what.starts_with("run 20261121-100000-abcd: alpha: "),
                    "{said:?}"
                );
                assert!(found.hint.is_some());
            }
        }
    }

    #[test]
    fn a_verdict_of_another_digest_or_of_none_is_refused() {
        for gate in Gate::ALL {
            let mut proof = good();
            verdict(&mut proof, gate).digest = Some(format!("sha256:{}", "9".repeat(64)));
            let other = faults(proof);
            assert_eq!((other.len(), other[0].exit), (1, Exit::Usage));
            assert!(other[0].what.contains("is about sha256:999"), "{}", other[0].what);
            let mut proof = good();
            verdict(&mut proof, gate).digest = None;
            assert_eq!(faults(proof).len(), usize::from(gate != Gate::Lint));
        }
    }

    #[test]
    fn an_outcome_that_its_checks_do_not_bear_out_is_no_pass() {
        let mut proof = good();
        verdict(&mut proof, Gate::Boot)
            .checks
            .push(Check::violated("a thing", "wrong", "mend it"));
        assert!(
            faults(proof)[0]
                .what
                .contains("boot is undecided (a thing: wrong)")
        );
        let mut proof = good();
        verdict(&mut proof, Gate::Boot).checks.clear();
        assert!(faults(proof)[0].what.contains("boot looked at nothing"));
    }

    #[test]
    fn age_counts_from_the_run_that_looked() {
        let day = 86_400;
        // The proof is one hour old.
        for (age_s, count) in [(6 * day, 0), (7 * day - 3_600, 0), (7 * day, 1), (40 * day, 1)] {
            for gate in Gate::ALL {
                let mut proof = good();
                verdict(&mut proof, gate).origin = Origin::Reused {
                    run_id: "20261101-000000-abcd".into(),
                    age_s,
                };
                let faults = faults(proof);
                // What was built stays built.
                let expected = if gate == Gate::Build { 0 } else { count };
                assert_eq!(faults.len(), expected, "{gate:?} {age_s}: {faults:?}");
                assert!(
                    faults
                        .iter()
                        .all(|fault| fault.what.contains("verdict_max_days = 7"))
                );
            }
        }
        let late = now() + jiff::SignedDuration::from_hours(24 * 30);
        let faults = Verified::of(good(), &Gate::ALL, &AGES, late).unwrap_err();
        // Five gates and the database, each told once for both images.
        assert_eq!(faults.len(), 6, "{faults:?}");
        assert!(faults[0].what.contains("alpha, beta: "), "{}", faults[0].what);
        let early = now() - jiff::SignedDuration::from_hours(24);
        assert!(
            Verified::of(good(), &Gate::ALL, &AGES, early).is_err(),
            "of a time to come"
        );
    }

    #[test]
    fn a_database_that_was_not_asked_or_is_too_old_is_refused() {
        for (at, words) in [
            (
                json!("2026-11-17T00:00:00Z"),
                "the vulnerability database is 5 days old",
            ),
            (json!("soon"), "no vulnerability database was asked"),
            (json!(null), "no vulnerability database was asked"),
        ] {
            let mut proof = good();
            verdict(&mut proof, Gate::Scan)
                .figures
                .insert("database_updated_at".into(), at);
            let faults = faults(proof);
            assert!(faults.len() == 1 && faults[0].what.contains(words), "{faults:?}");
        }
    }

    #[test]
    fn a_bill_of_materials_lists_what_the_scan_saw() {
        for bill in [
            None,
            Some(json!({ "bomFormat": "CycloneDX", "components": [] })),
            Some(json!({ "components": [{ "name": "a", "purl": "pkg:cargo/a@1" }] })),
            Some(json!({ "bomFormat": "CycloneDX", "components": [
                { "name": "a", "purl": "pkg:cargo/a@1" }, { "name": "b", "purl": "pkg:cargo/b@1" }] })),
        ] {
            let mut proof = good();
            proof.images[1].sbom = bill;
            let faults = faults(proof);
            assert!(
                faults.len() == 1
                    && faults[0].what.contains("beta: ")
                    && faults[0].what.contains("bill of materials"),
                "{faults:?}"
            );
        }
    }

    #[test]
    fn a_run_that_proves_nothing_of_a_commit_is_refused() {
        type Spoil = fn(&mut Proof);
        let ways: [(Spoil, &str); 5] = [
            (|proof| proof.dirty = true, "not as committed"),
            (|proof| proof.commit = "unknown".into(), "nobody knows its commit"),
            (|proof| proof.images.clear(), "it proved no image"),
            (
                |proof| proof.images[1].digest = "sha256:ab".into(),
                "by no digest",
            ),
            (
                |proof| proof.images[1].image = "horme-alpha".into(),
                "it is there twice",
            ),
        ];
        for (spoil, words) in ways {
            let mut proof = good();
            spoil(&mut proof);
            let faults = faults(proof);
            assert!(
                faults.iter().any(|fault| fault.what.contains(words)),
                "{faults:?}"
            );
        }
    }
}
