//! cargo: the workspace's metadata, and its test runner's closing lines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::catalogue::TARGET;
use crate::process::Call;

/// `cargo metadata` of the services' workspace, for the platform that images are built for.
pub fn metadata(root: &Path) -> Call {
    let words = [
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform",
        TARGET,
    ];
    cargo(root, &words).deadline_s(300)
}

/// cargo about the services' workspace, from whatever folder.
fn cargo(root: &Path, words: &[&str]) -> Call {
    let manifest = root.join("Cargo.toml").into_os_string();
    let argv = std::iter::once("cargo").chain(words.iter().copied());
    let argv = argv.chain(["--manifest-path"]).map(Into::into);
    Call::new(argv.chain([manifest]))
}

/// Prints every crate of the services' workspace with the features that a build of all members turns on: unlike
/// [`metadata`], without those that tests alone ask for.
pub fn features(root: &Path) -> Call {
    let words = [
        "tree",
        "--workspace",
        "--locked",
        "--edges",
        "normal,build",
        "--target",
        TARGET,
        "--prefix",
        "none",
        "--format",
        "{p}|{f}",
    ];
    cargo(root, &words).deadline_s(300)
}

/// The answer to [`features`]: `name version` -> features, separated by spaces. A crate that is built twice, for
/// the host and for the target, has those of both.
pub fn parse_features(stdout: &str) -> BTreeMap<String, String> {
    let mut features: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for line in stdout.lines() {
        let Some((package, listed)) = line.trim_end_matches(" (*)").split_once('|') else {
            continue;
        };
        let mut words = package.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            let id = format!("{name} {}", version.trim_start_matches('v'));
            features
                .entry(id)
                .or_default()
                .extend(listed.split(',').filter(|word| !word.is_empty()));
        }
    }
    features
        .into_iter()
        .map(|(id, set)| (id, Vec::from_iter(set).join(" ")))
        .collect()
}

/// Asks the registries about every locked crate of the services' workspace, and changes nothing. What they say is
/// kept below `home`, an empty folder but for cargo's settings: of what is kept there cargo would not ask again.
pub fn ask_registries(root: &Path, home: &Path) -> Call {
    cargo(root, &["update", "--workspace", "--dry-run"])
        .cwd(root)
        .env("CARGO_HOME", home.display().to_string())
}

/// Locks the workspace's own members, and lets everything else be as it is.
pub fn lock_members(root: &Path) -> Call {
    cargo(root, &["update", "--workspace", "--offline"]).deadline_s(120)
}

/// What the closing lines of test binaries add up to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct TestSummary {
    pub passed: u64,
    pub failed: u64,
    pub ignored: u64,
}

impl TestSummary {
    /// Adds a line such as `test result: ok. 12 passed; 0 failed; 1 ignored; ...`; other lines count nothing.
    pub fn add_line(&mut self, line: &str) {
        let Some(rest) = line.trim_start().strip_prefix("test result: ") else {
            return;
        };
        let figures = rest.split_once(". ").map_or("", |(_, figures)| figures);
        for part in figures.split(';') {
            match part.split_whitespace().collect::<Vec<_>>()[..] {
                [count, "passed"] => self.passed += count.parse().unwrap_or(0),
                [count, "failed"] => self.failed += count.parse().unwrap_or(0),
                [count, "ignored"] => self.ignored += count.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read_by_crate() {
        let said = "kit v0.1.0 (/x/services/kit)|\ntokio v1.54.1|net,rt\n\ntokio v1.54.1|fs,rt (*)\nserde_derive v1.0.2 (proc-macro)|default (*)\n";
        let features = parse_features(said);
        assert_eq!(features["tokio 1.54.1"], "fs net rt");
        assert_eq!(
            (
                features["kit 0.1.0"].as_str(),
                features["serde_derive 1.0.2"].as_str()
            ),
            ("", "default")
        );
        assert_eq!(features.len(), 3);
    }

    #[test]
    fn closing_lines_add_up() {
        let mut summary = TestSummary::default();
        summary.add_line(
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
        );
        summary.add_line("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        summary.add_line("test catalogue::tests::sizes ... ok");
        assert_eq!(
            summary,
            TestSummary {
                passed: 15,
                failed: 2,
                ignored: 1
            }
        );
    }
}
