//! cargo: the workspace's metadata, and its test runner's closing lines.

use std::path::Path;

use crate::catalogue::TARGET;
use crate::process::Call;

/// `cargo metadata` of the services' workspace, for the platform that images are built for.
pub fn metadata(root: &Path) -> Call {
    let manifest = root.join("Cargo.toml").into_os_string();
    let argv = [
        "cargo",
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform",
        TARGET,
    ];
    Call::new(
        argv.map(Into::into)
            .into_iter()
            .chain(["--manifest-path".into(), manifest]),
    )
    .deadline_s(300)
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
