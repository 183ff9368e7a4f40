//! Crates seen must equal the crates that the binary is made of, or "no findings" would mean "nothing was looked at".

use std::collections::BTreeSet;

use crate::catalogue::first_of;
use crate::verdict::Check;

/// The crates seen must be those of the binary. Crates of the build are set aside first: cargo-auditable 0.7.7
/// lists a procedural macro as part of the binary when its package has test targets too.
pub fn judge(seen: &BTreeSet<String>, expected: &BTreeSet<String>, build: &BTreeSet<String>) -> Check {
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
            words.push(format!("{what}: {}", first_of(&names)));
        }
    }
    Check::violated("crates", words.join("; "), hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;

    #[test]
    fn an_empty_list_of_crates_is_a_violation_and_so_is_a_different_one() {
        let set = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<BTreeSet<_>>()
        };
        let (expected, none) = (set(&["axum 0.8.9", "tokio 1.54.1"]), set(&[]));
        assert_eq!(judge(&expected, &expected, &none).outcome, Outcome::Passed);
        assert!(
            judge(&set(&[]), &expected, &none)
                .detail
                .contains("nothing was looked at")
        );
        assert_eq!(
            judge(&set(&["axum 0.8.9"]), &expected, &none).detail,
            "not seen: tokio 1.54.1"
        );
        let stale = set(&["axum 0.8.9", "tokio 1.54.1", "time 0.1.0"]);
        assert_eq!(judge(&stale, &expected, &none).outcome, Outcome::Violated);
        assert_eq!(
            judge(&stale, &expected, &set(&["time 0.1.0"])).outcome,
            Outcome::Passed,
            "a crate of the build"
        );
    }
}
