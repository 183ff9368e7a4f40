//! What is made of what a release would attach, with something changed in it.

use serde_json::json;

use super::*;
use crate::attest::{predicate, testing};
use crate::exit::Failure;
use crate::layout::Descriptor;

fn attached(kind: Kind, held: Result<Value, Failure>) -> Attached {
    Attached {
        kind,
        attachment: Descriptor {
            media_type: String::new(),
            digest: testing::digest('f'),
            size: 0,
            artifact_type: None,
            platform: None,
            annotations: [].into(),
        },
        held,
    }
}

/// The statement that a release would make, with something changed in it.
fn made(kind: Kind, change: impl FnOnce(&mut Value)) -> Attached {
    let proof = testing::proof();
    let mut made = predicate(kind, &testing::release(), &proof, &proof.images[0]).unwrap();
    change(&mut made);
    attached(kind, Ok(made))
}

fn beside() -> Beside<'static> {
    Beside {
        trusted: "the key k.pub",
        image: "horme-frontend",
        platform: Some("linux/amd64"),
        now: "2026-11-22T10:15:02Z".parse().unwrap(),
        max_age_days: None,
    }
}

fn judged(kind: Kind, attached: &[Attached]) -> Check {
    check(kind, attached, beside())
}

fn words(check: &Check) -> String {
    format!("{}: {}", check.outcome.word(), check.detail)
}

#[test]
fn what_a_release_says_is_said_in_a_line() {
    let all = Kind::ALL.map(|kind| words(&judged(kind, &[made(kind, |_| ())])));
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_statement_that_says_too_little_is_no_pass() {
    let said = |kind, change: fn(&mut Value)| words(&judged(kind, &[made(kind, change)]));
    let cases = [
        said(Kind::Sbom, |bill| bill["components"] = json!([])),
        said(Kind::Sbom, |bill| bill["bomFormat"] = "SPDX".into()),
        said(Kind::Provenance, |said| {
            said["buildDefinition"]["resolvedDependencies"] = json!([])
        }),
        said(Kind::Provenance, |said| said["runDetails"]["builder"] = json!({})),
        said(Kind::Provenance, |said| {
            said["buildDefinition"]["externalParameters"]["platform"] = "linux/arm64".into();
        }),
        said(Kind::Provenance, |said| {
            said["buildDefinition"]["internalParameters"]["image"] = "horme-mcp-server".into();
        }),
        said(Kind::Provenance, |said| {
            said["buildDefinition"]["internalParameters"] = json!({})
        }),
        said(Kind::Provenance, |said| {
            said["runDetails"]["metadata"]["finishedOn"] = "2027-01-01T00:00:00Z".into();
        }),
        said(Kind::Verdicts, |said| *said = json!({})),
        said(Kind::Verdicts, |said| {
            said["runAt"] = "2027-01-01T00:00:00Z".into()
        }),
        said(Kind::Verdicts, |said| {
            said["gates"][2]["foundAt"] = "2027-01-01T00:00:00Z".into()
        }),
        said(Kind::Verdicts, |said| {
            said["gates"][2]["outcome"] = "undecided".into()
        }),
        said(Kind::Verdicts, |said| said["gates"] = json!([])),
        said(Kind::Verdicts, |said| said["result"] = "WARNED".into()),
        said(Kind::Verdicts, |said| said["platform"] = "linux/arm64".into()),
    ];
    insta::assert_snapshot!(cases.join("\n"));
    assert!(cases.iter().all(|case| case.starts_with("violated: ")));
}

#[test]
fn verdicts_are_as_old_as_the_reader_lets_them_be() {
    // Found two hours before the run, which was a day ago.
    let of_boot = |change: fn(&mut Value), days| {
        let beside = Beside {
            max_age_days: days,
            ..beside()
        };
        words(&check(Kind::Verdicts, &[made(Kind::Verdicts, change)], beside))
    };
    let boot_is_old = |said: &mut Value| said["gates"][4]["foundAt"] = "2026-11-01T00:00:00Z".into();
    assert!(of_boot(boot_is_old, None).starts_with("passed: "));
    assert!(of_boot(boot_is_old, Some(22)).starts_with("passed: "));
    assert_eq!(
        of_boot(boot_is_old, Some(1)),
        "violated: boot was found 22 days ago, more than 1 day"
    );
    let build_is_old = |said: &mut Value| said["gates"][0]["foundAt"] = "2020-11-01T00:00:00Z".into();
    assert!(
        of_boot(build_is_old, Some(2)).starts_with("passed: "),
        "it stays built"
    );
}

#[test]
fn one_that_holds_is_enough_and_the_newest_counts() {
    let forged = || {
        attached(
            Kind::Verdicts,
            Err(Failure::violated("the gate verdicts do not hold", "x")),
        )
    };
    let newer = made(Kind::Verdicts, |said| {
        said["runAt"] = "2026-11-22T00:00:00Z".into();
        said["gates"][0]["outcome"] = "violated".into();
    });
    let check = judged(Kind::Verdicts, &[made(Kind::Verdicts, |_| ()), forged()]);
    assert_eq!(check.outcome, Outcome::Passed);
    assert!(
        check.detail.ends_with("(of 2 attached, 1 do not hold)"),
        "{}",
        check.detail
    );
    let check = judged(Kind::Verdicts, &[newer, made(Kind::Verdicts, |_| ())]);
    assert_eq!(words(&check), "violated: build is violated");
}

#[test]
fn none_that_holds_is_said_with_the_reason() {
    let forged = || attached(Kind::Sbom, Err(Failure::violated("it does not hold", "do not")));
    let unasked = || attached(Kind::Sbom, Err(Failure::undecided("no answer", "try again")));
    let said = |attached: &[Attached]| words(&judged(Kind::Sbom, attached));
    assert_eq!(said(&[]), "violated: none is attached to this digest");
    assert_eq!(
        said(&[made(Kind::Signature, |_| ())]),
        said(&[]),
        "of another kind"
    );
    let place = format!("(attached as {})", testing::digest('f'));
    assert_eq!(said(&[forged()]), format!("violated: it does not hold {place}"));
    assert_eq!(
        said(&[forged(), unasked()]),
        format!("undecided: no answer {place}")
    );
}
