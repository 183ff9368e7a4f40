//! Each way in which a run is no proof.

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
