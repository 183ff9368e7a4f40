//! What is made of what is attached to a digest: one check a kind of statement. Pure.

use jiff::Timestamp;
use serde_json::Value;

use crate::attest::{Attached, Kind, Verdicts, count_components};
use crate::exit::Exit;
use crate::verdict::{Check, Gate, Outcome, age};

/// What every platform's manifest must have. An index, which is nothing but a list of them, is signed.
pub(super) const OF_MANIFEST: [Kind; 4] = Kind::ALL;
pub(super) const OF_INDEX: [Kind; 1] = [Kind::Signature];

/// What a check needs to know beyond the statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside<'a> {
    /// Who is trusted, in words.
    pub trusted: &'a str,
    /// The image that was asked for: the last part of its repository's name.
    pub image: &'a str,
    /// As the index says, where there is one.
    pub platform: Option<&'a str>,
    pub now: Timestamp,
    /// The oldest that a gate's verdict may be, where the reader says so.
    pub max_age_days: Option<u32>,
}

/// Clocks differ; what is said to be further ahead than this was not said in good faith.
const AHEAD_S: i64 = 300;
const DAY_S: u64 = 24 * 3600;

/// One kind. What does not hold is passed over where another of its kind does: whoever may push could add it.
pub(super) fn check(kind: Kind, attached: &[Attached], beside: Beside) -> Check {
    let name = kind.word();
    let of_kind: Vec<&Attached> = attached.iter().filter(|one| one.kind == kind).collect();
    let held: Vec<&Value> = of_kind.iter().filter_map(|one| one.held.as_ref().ok()).collect();
    let broken = of_kind.len() - held.len();
    // Of several, the newest counts, in whatever order the registry lists them.
    let Some(newest) = held.into_iter().max_by_key(|predicate| made_at(predicate)) else {
        return missing(name, &of_kind);
    };
    let beside_it = match broken {
        0 => String::new(),
        broken => format!(" (of {} attached, {broken} do not hold)", of_kind.len()),
    };
    match said(kind, newest, beside) {
        Ok(words) => Check::passed(name, format!("{words}{beside_it}")),
        Err(why) => Check::violated(name, why, "do not use the image; ask whoever released it"),
    }
}

/// When a statement was made, as far as its kind says.
fn made_at(predicate: &Value) -> Option<Timestamp> {
    let places = ["/runAt", "/runDetails/metadata/finishedOn", "/metadata/timestamp"];
    let said = places.iter().find_map(|place| predicate.pointer(place)?.as_str());
    said.and_then(|at| at.parse().ok())
}

/// None holds: why the first does not, or that there is none.
fn missing(name: &str, of_kind: &[&Attached]) -> Check {
    // What could not be checked might hold.
    let failures = of_kind
        .iter()
        .filter_map(|one| one.held.as_ref().err().map(|failure| (*one, failure)));
    let first = failures.min_by_key(|(_, failure)| failure.exit != Exit::Undecided);
    let Some((one, failure)) = first else {
        let hint = "it was not released as it should be: do not use it";
        return Check::violated(name, "none is attached to this digest", hint);
    };
    let hint = failure.hint.clone().unwrap_or_default();
    let what = format!("{} (attached as {})", failure.what, one.attachment.digest);
    match failure.exit {
        Exit::Undecided => Check::undecided(name, what, hint),
        _ => Check::violated(name, what, hint),
    }
}

/// What a statement that holds says, in a few words, or what is wrong with it.
fn said(kind: Kind, predicate: &Value, beside: Beside) -> Result<String, String> {
    match kind {
        Kind::Signature => Ok(format!("by {}", beside.trusted)),
        Kind::Sbom => bill(predicate),
        Kind::Provenance => provenance(predicate, beside),
        Kind::Verdicts => verdicts(predicate, beside),
    }
}

fn bill(bill: &Value) -> Result<String, String> {
    if bill["bomFormat"] != "CycloneDX" {
        return Err("it is no CycloneDX document".to_owned());
    }
    let version = bill["specVersion"].as_str().unwrap_or("of no version");
    match count_components(bill) {
        0 => Err("it lists nothing".to_owned()),
        1 => Ok(format!("1 component (CycloneDX {version})")),
        count => Ok(format!("{count} components (CycloneDX {version})")),
    }
}

fn provenance(predicate: &Value, beside: Beside) -> Result<String, String> {
    let definition = &predicate["buildDefinition"];
    let dependencies = definition["resolvedDependencies"].as_array();
    let source = dependencies
        .into_iter()
        .flatten()
        .find(|dependency| dependency["digest"]["gitCommit"].is_string())
        .ok_or("it names no commit")?;
    let details = &predicate["runDetails"];
    let builder = details["builder"]["id"].as_str().ok_or("it names no builder")?;
    same_platform(definition["externalParameters"]["platform"].as_str(), beside)?;
    let internal = &definition["internalParameters"];
    same_image(internal["image"].as_str(), beside)?;
    let commit = source["digest"]["gitCommit"].as_str().unwrap_or_default();
    let uri = source["uri"].as_str().map(|uri| uri.trim_start_matches("git+"));
    let place = uri
        .and_then(|uri| uri.rsplit_once('@'))
        .map(|(place, _)| format!(" of {place}"));
    let built = details["metadata"]["finishedOn"]
        .as_str()
        .and_then(|at| at.parse().ok());
    let built = built.map(|at| not_to_come("it was built", at, beside.now));
    let built = built.transpose()?.map(|old| format!(", {} ago", age(old)));
    let release = internal["release"].as_str();
    let release = release.map(|release| format!(", first released as {release}"));
    Ok(format!(
        "commit {}{}, built by {builder}{}{}",
        commit.chars().take(12).collect::<String>(),
        place.unwrap_or_default(),
        built.unwrap_or_default(),
        release.unwrap_or_default()
    ))
}

/// Whoever may push can copy another service's image here, with all that is attached to it.
fn same_image(said: Option<&str>, beside: Beside) -> Result<(), String> {
    match said {
        Some(said) if said == beside.image => Ok(()),
        Some(said) => Err(format!("it is about the image {said}, not {}", beside.image)),
        None => Err("it names no image".to_owned()),
    }
}

/// Every gate of the main job passed, about this very digest (the statement's subject).
fn verdicts(predicate: &Value, beside: Beside) -> Result<String, String> {
    let verdicts: Verdicts =
        serde_json::from_value(predicate.clone()).map_err(|error| format!("they cannot be read: {error}"))?;
    same_platform(Some(&verdicts.platform), beside)?;
    let outcome = |gate: Gate| {
        let of_gate = verdicts
            .gates
            .iter()
            .filter(|verdict| verdict.gate == gate.name());
        of_gate.map(|verdict| verdict.outcome).max()
    };
    for gate in Gate::ALL {
        match outcome(gate) {
            Some(Outcome::Passed) => {}
            Some(outcome) => return Err(format!("{} is {}", gate.name(), outcome.word())),
            None => return Err(format!("nothing is said of {}", gate.name())),
        }
    }
    if verdicts.result != "PASSED" || !verdicts.failed_tests.is_empty() {
        return Err(format!("the result is {}, not PASSED", verdicts.result));
    }
    young_enough(&verdicts, beside)?;
    let found = |at: Timestamp| age(seconds(at, beside.now));
    let reused = verdicts
        .gates
        .iter()
        .filter(|verdict| verdict.found_by != verdicts.run);
    let reused: Vec<String> = reused
        .map(|verdict| {
            format!(
                "{} (run {}, {} ago)",
                verdict.gate,
                verdict.found_by,
                found(verdict.found_at)
            )
        })
        .collect();
    let mut words = format!(
        "{} gates passed, {} ago (run {})",
        Gate::ALL.len(),
        found(verdicts.run_at),
        verdicts.run
    );
    if !reused.is_empty() {
        words.push_str(&format!("; found before: {}", reused.join(", ")));
    }
    Ok(words)
}

fn same_platform(said: Option<&str>, beside: Beside) -> Result<(), String> {
    match (said, beside.platform) {
        (Some(said), Some(listed)) if said != listed => Err(format!(
            "it is about {said}, the index lists the image for {listed}"
        )),
        _ => Ok(()),
    }
}

/// What was built stays built: every other gate's verdict grows old.
fn young_enough(verdicts: &Verdicts, beside: Beside) -> Result<(), String> {
    not_to_come("they were gathered", verdicts.run_at, beside.now)?;
    for verdict in &verdicts.gates {
        let what = format!("{} was found", verdict.gate);
        let old = not_to_come(&what, verdict.found_at, beside.now)?;
        let most = beside.max_age_days.filter(|_| verdict.gate != Gate::Build.name());
        if let Some(days) = most.filter(|days| old > u64::from(*days) * DAY_S) {
            let days = format!("{days} day{}", if days == 1 { "" } else { "s" });
            return Err(format!("{what} {} ago, more than {days}", age(old)));
        }
    }
    Ok(())
}

/// How many seconds ago it was.
///
/// # Errors
/// In words: at a time to come.
fn not_to_come(what: &str, at: Timestamp, now: Timestamp) -> Result<u64, String> {
    match at.duration_since(now).as_secs() {
        ahead if ahead > AHEAD_S => Err(format!("{what} at a time to come ({at})")),
        _ => Ok(seconds(at, now)),
    }
}

fn seconds(at: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.duration_since(at).as_secs()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
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
}
