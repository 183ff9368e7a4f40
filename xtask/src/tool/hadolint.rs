//! hadolint: its call, and its findings.

use std::path::Path;

use serde::Deserialize;

use crate::process::Call;

/// One finding of `hadolint --format json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Finding {
    pub code: String,
    pub level: String,
    #[serde(default)]
    pub line: u64,
    pub message: String,
}

impl Finding {
    /// Errors and warnings fail the gate; info and style are for the log.
    pub fn counts(&self) -> bool {
        matches!(self.level.as_str(), "error" | "warning")
    }
}

/// `--no-fail`: findings are judged from the report, never by an exit code.
pub fn call(program: &Path, root: &Path, dockerfile: &Path) -> Call {
    let program = program.as_os_str().to_owned();
    let config = root.join("docker/policy/hadolint.yaml");
    // A file of ours is always named, so that none of the caller's is looked for.
    let argv = [
        program,
        "--no-fail".into(),
        "--format".into(),
        "json".into(),
        "--config".into(),
    ];
    let argv = argv
        .into_iter()
        .chain([config.into_os_string(), dockerfile.as_os_str().to_owned()]);
    Call::new(argv).cwd(root).withhold("HADOLINT_")
}

pub fn parse(stdout: &str) -> serde_json::Result<Vec<Finding>> {
    serde_json::from_str(stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_read_and_weighed() {
        let findings = parse(
            r#"[{"code":"DL3006","column":1,"file":"Dockerfile","level":"warning","line":1,"message":"tag it"},
                {"code":"DL3059","column":1,"file":"Dockerfile","level":"info","line":9,"message":"join them"}]"#,
        )
        .unwrap();
        assert_eq!(
            findings.iter().map(Finding::counts).collect::<Vec<_>>(),
            [true, false]
        );
        assert!(parse("hadolint: not a file").is_err());
    }
}
