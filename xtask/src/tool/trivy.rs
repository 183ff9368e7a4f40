//! Trivy: its calls. The exit code is never judged (findings and failures can share one): what counts is a fresh
//! report that parses.

mod report;
mod words;

use std::ffi::OsString;
use std::path::Path;

use serde::Deserialize;

pub use report::{Misconfiguration, Report, Vulnerability, parse};
pub use words::{Severity, Status};

use crate::process::Call;

/// What to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scanners {
    /// Vulnerabilities, secrets, misconfigurations; needs a database.
    All,
    /// Secrets and misconfigurations, where there is no database.
    WithoutDatabase,
}

/// Scans an image archive; the JSON report goes to `output`. No update, no network, nothing shared with other
/// scans that run beside it.
pub fn scan(program: &Path, archive: &Path, cache_dir: &Path, output: &Path, scanners: Scanners) -> Call {
    let list = match scanners {
        Scanners::All => "vuln,secret,misconfig",
        Scanners::WithoutDatabase => "secret,misconfig",
    };
    let mut argv: Vec<OsString> = vec![program.into()];
    argv.extend(["image", "--input"].map(OsString::from));
    argv.push(archive.into());
    argv.extend(["--format", "json", "--list-all-pkgs", "--scanners", list].map(OsString::from));
    argv.extend(["--image-config-scanners", "secret,misconfig", "--show-suppressed"].map(OsString::from));
    argv.extend(offline(cache_dir, output));
    alone(argv, output)
}

/// The software bill of an image archive: every package that can be seen in it. Needs no database.
pub fn bill(program: &Path, archive: &Path, cache_dir: &Path, output: &Path) -> Call {
    let mut argv: Vec<OsString> = vec![program.into()];
    argv.extend(["image", "--input"].map(OsString::from));
    argv.push(archive.into());
    argv.extend(["--format", "cyclonedx"].map(OsString::from));
    argv.extend(offline(cache_dir, output));
    alone(argv, output)
}

/// The same bill out of a JSON report of [`scan`], without another look.
pub fn convert(program: &Path, report: &Path, output: &Path) -> Call {
    let mut argv: Vec<OsString> = vec![program.into()];
    argv.extend(["convert", "--quiet", "--format", "cyclonedx", "--output"].map(OsString::from));
    argv.extend([output.into(), report.into()]);
    alone(argv, output)
}

/// Fetches the vulnerability database into a cache folder, from its makers or from a repository that mirrors it.
pub fn fetch_database(program: &Path, cache_dir: &Path, repository: Option<&str>) -> Call {
    let mut argv: Vec<OsString> = vec![program.into()];
    argv.extend(["image", "--download-db-only", "--no-progress", "--cache-dir"].map(OsString::from));
    argv.push(cache_dir.into());
    if let Some(repository) = repository {
        argv.extend(["--db-repository", repository].map(OsString::from));
    }
    quiet(argv)
}

/// Without `TRIVY_*` of the caller's, and without telling the makers of the call or asking them for news: by variables,
/// because a scanner that does not know such a flag refuses it.
fn quiet(argv: Vec<OsString>) -> Call {
    Call::new(argv)
        .withhold("TRIVY_")
        .env("TRIVY_DISABLE_TELEMETRY", "true")
        .env("TRIVY_SKIP_VERSION_CHECK", "true")
}

/// Beside its own output, and without `TRIVY_*`: no `trivy.yaml`, `.trivyignore` or variable of the caller's may
/// decide what is found.
fn alone(argv: Vec<OsString>, output: &Path) -> Call {
    let call = quiet(argv);
    match output.parent() {
        Some(folder) => call.cwd(folder),
        None => call,
    }
}

fn offline(cache_dir: &Path, output: &Path) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec!["--cache-dir".into(), cache_dir.into()];
    argv.extend(
        [
            "--cache-backend",
            "memory",
            "--skip-db-update",
            "--skip-java-db-update",
        ]
        .map(OsString::from),
    );
    argv.extend(
        [
            "--skip-check-update",
            "--offline-scan",
            "--quiet",
            "--no-progress",
        ]
        .map(OsString::from),
    );
    argv.extend(["--output".into(), output.into()]);
    argv
}

/// `name version` of every crate in a CycloneDX bill (its purl type is `cargo`).
pub fn crates_in_bill(json: &str) -> serde_json::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Bill {
        #[serde(default)]
        components: Vec<Component>,
    }
    #[derive(Deserialize)]
    struct Component {
        name: String,
        #[serde(default)]
        version: String,
        #[serde(default)]
        purl: String,
    }
    let bill: Bill = serde_json::from_str(json)?;
    let crates = bill
        .components
        .into_iter()
        .filter(|component| component.purl.starts_with("pkg:cargo/"));
    Ok(crates
        .map(|component| format!("{} {}", component.name, component.version))
        .collect())
}

/// What lies beside a database (`db/metadata.json`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DatabaseMetadata {
    version: u64,
    pub updated_at: jiff::Timestamp,
}

impl DatabaseMetadata {
    /// The schema that the accepted scanners read.
    const VERSION: u64 = 2;

    /// # Errors
    /// Why the text is none, or of another schema.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let metadata: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        match metadata.version {
            Self::VERSION => Ok(metadata),
            other => Err(format!("version {other}, not {}", Self::VERSION)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_comes_from_the_repository_that_is_named() {
        let shown = |repository| fetch_database("trivy".as_ref(), "dir".as_ref(), repository).shown();
        assert!(!shown(None).contains("--db-repository"));
        assert!(shown(Some("a.b/c:2")).ends_with("--db-repository a.b/c:2"));
    }

    #[test]
    fn no_call_tells_the_makers_of_it() {
        let path: &Path = "x".as_ref();
        for call in [
            scan(path, path, path, path, Scanners::All),
            bill(path, path, path, path),
            convert(path, path, path),
            fetch_database(path, path, None),
        ] {
            for name in ["TRIVY_DISABLE_TELEMETRY", "TRIVY_SKIP_VERSION_CHECK"] {
                assert_eq!(call.env[name], "true");
            }
        }
    }

    #[test]
    fn a_bill_lists_crates_only() {
        let text = r#"{"components":[{"name":"axum","version":"0.8.9","purl":"pkg:cargo/axum@0.8.9"},
            {"name":"nexus-gateway","type":"application"}]}"#;
        assert_eq!(crates_in_bill(text).unwrap(), ["axum 0.8.9"]);
    }
}
