//! What a release knew of its image: the findings in the verdicts that it attached, where they are signed by whom this
//! checkout trusts.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::attest::{self, Kind, Trust};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::gate::scan::published::Known;
use crate::registry::Repository;
use crate::verdict::Gate;

/// `None` where nothing says it that is trusted: everything counts as new then, so that it is never a reason to pass.
/// `manifest` is the file of the image's manifest.
///
/// # Errors
/// Exit 3: what is attached cannot be read or checked, so that nobody knows what is new.
pub async fn by_release(
    context: &Context,
    trust: Option<&Trust>,
    repository: &Repository,
    manifest: &Path,
) -> Result<Option<Known>> {
    let Some(trust) = trust else {
        return Ok(None);
    };
    let attached = attest::find(context, trust, repository, manifest).await?;
    let verdicts = attached.into_iter().filter(|one| one.kind == Kind::Verdicts);
    Ok(of_statements(verdicts.map(|one| one.held))?)
}

/// A statement that is not trusted says nothing; one that could not be checked might say all, where no other holds.
fn of_statements(verdicts: impl Iterator<Item = Result<Value, Failure>>) -> Result<Option<Known>, Failure> {
    let (mut held, mut unchecked) = (Vec::new(), None);
    for verdict in verdicts {
        match verdict {
            Ok(predicate) => held.push(predicate),
            Err(failure) if failure.exit == Exit::Undecided => unchecked = Some(failure),
            Err(_) => {}
        }
    }
    match unchecked {
        Some(failure) if held.is_empty() => Err(failure),
        _ => Ok(newest(held.iter())),
    }
}

/// Of several the newest: it was attached by the latest release of these very bytes. A registry's order says nothing.
fn newest<'p>(predicates: impl Iterator<Item = &'p Value>) -> Option<Known> {
    let made_at = |predicate: &Value| predicate["runAt"].as_str()?.parse::<jiff::Timestamp>().ok();
    let known = predicates.filter_map(|predicate| Some((made_at(predicate), scanned(predicate)?)));
    known.max_by_key(|(at, _)| *at).map(|(_, known)| known)
}

/// The findings of the scan in a statement's predicate; none where the gate passed with nothing found.
fn scanned(predicate: &Value) -> Option<Known> {
    let gates = predicate["gates"].as_array()?;
    let scan = gates.iter().find(|gate| gate["gate"] == Gate::Scan.name())?;
    let findings = scan["figures"]["findings"].as_array();
    Some(Known::of(findings.map_or(&[], Vec::as_slice)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_findings_of_the_scan_are_what_was_known() {
        let finding = json!({"id": "CVE-1", "package": "time", "severity": "LOW", "fixed": "2"});
        let predicate = json!({"gates": [{"gate": "lint", "figures": {}},
            {"gate": "scan", "figures": {"findings": [finding]}}]});
        assert_eq!(scanned(&predicate), Some(Known::of(&[finding])));
        let clean = json!({"gates": [{"gate": "scan", "figures": {}}]});
        assert_eq!(scanned(&clean), Some(Known::default()));
        for says_nothing in [
            json!({}),
            json!({"gates": []}),
            json!({"gates": [{"gate": "lint"}]}),
        ] {
            assert_eq!(scanned(&says_nothing), None, "{says_nothing}");
        }
    }

    #[test]
    fn what_could_not_be_checked_is_not_taken_for_nothing() {
        let forged = || Err(Failure::violated("signed by another key", "x"));
        let unchecked = || Err(Failure::undecided("the log does not answer", "x"));
        let said =
            || Ok(json!({"runAt": "2026-11-01T00:00:00Z", "gates": [{"gate": "scan", "figures": {}}]}));
        assert_eq!(of_statements([forged()].into_iter()).unwrap(), None);
        let failure = of_statements([forged(), unchecked()].into_iter()).unwrap_err();
        assert_eq!(failure.exit, Exit::Undecided);
        let known = of_statements([unchecked(), said()].into_iter()).unwrap();
        assert_eq!(known, Some(Known::default()));
    }

    #[test]
    fn of_several_the_newest_counts_in_whatever_order_they_come() {
        let said = |at: &str, id: &str| {
            let finding = json!({"id": id, "package": "time", "severity": "LOW", "fixed": "2"});
            json!({"runAt": at, "gates": [{"gate": "scan", "figures": {"findings": [finding]}}]})
        };
        let old = said("2025-01-01T00:00:00Z", "CVE-1");
        let new = said("2026-01-01T00:00:00Z", "CVE-2");
        let undated = json!({"gates": [{"gate": "scan"}]});
        for all in [[&undated, &old, &new], [&new, &undated, &old]] {
            assert_eq!(newest(all.into_iter()), scanned(&new));
        }
        assert_eq!(newest(std::iter::empty()), None);
    }
}
