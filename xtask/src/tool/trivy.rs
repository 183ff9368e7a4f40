//! Trivy: its call, and its report. The exit code is never judged (findings and failures can share one): what
//! counts is a fresh report that parses. Unknown keys are accepted, absent and `null` lists are empty.

use std::ffi::OsString;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

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
    argv.extend(["--image-config-scanners", "secret,misconfig"].map(OsString::from));
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

/// Beside its own output, and without `TRIVY_*`: no `trivy.yaml`, `.trivyignore` or variable of the caller's may
/// decide what is found.
fn alone(argv: Vec<OsString>, output: &Path) -> Call {
    let call = Call::new(argv).withhold("TRIVY_");
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

/// The parts of a report that the gate reads (schema version 2).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Report {
    #[serde(deserialize_with = "null_is_empty")]
    pub results: Vec<ScanResult>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ScanResult {
    pub target: String,
    pub class: String,
    pub r#type: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub packages: Vec<Package>,
    #[serde(deserialize_with = "null_is_empty")]
    pub vulnerabilities: Vec<Vulnerability>,
    #[serde(deserialize_with = "null_is_empty")]
    pub secrets: Vec<Secret>,
    #[serde(deserialize_with = "null_is_empty")]
    pub misconfigurations: Vec<Misconfiguration>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Package {
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Vulnerability {
    #[serde(rename = "VulnerabilityID")]
    pub id: String,
    pub pkg_name: String,
    pub installed_version: String,
    pub fixed_version: String,
    pub severity: String,
    pub status: String,
    pub title: String,
    /// The file that holds the package, where it is not the result's target.
    pub pkg_path: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub pkg_identifier: Identifier,
    #[serde(deserialize_with = "null_is_empty")]
    pub layer: Layer,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identifier {
    /// `pkg:cargo/smallvec@0.6.13`.
    #[serde(rename = "PURL")]
    pub purl: String,
}

/// The layer that something was found in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Layer {
    /// SHA-256 of the layer, unpacked.
    #[serde(rename = "DiffID")]
    pub diff_id: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Secret {
    #[serde(rename = "RuleID")]
    pub rule_id: String,
    pub severity: String,
    pub title: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub layer: Layer,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Misconfiguration {
    #[serde(rename = "ID")]
    pub id: String,
    pub severity: String,
    pub status: String,
    pub title: String,
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

pub fn parse(json: &str) -> serde_json::Result<Report> {
    serde_json::from_str(json)
}

impl Report {
    pub fn vulnerabilities(&self) -> impl Iterator<Item = &Vulnerability> {
        self.results.iter().flat_map(|result| &result.vulnerabilities)
    }

    /// `name version` of every crate seen in a Rust binary.
    pub fn crates(&self) -> impl Iterator<Item = String> {
        let binaries = self.results.iter().filter(|result| result.r#type == "rustbinary");
        let packages = binaries.flat_map(|result| &result.packages);
        packages.map(|package| format!("{} {}", package.name, package.version))
    }
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
    pub updated_at: jiff::Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_with_absent_null_and_unknown_parts_is_read() {
        let text = r#"{"SchemaVersion":2,"New":1,"Results":[{"Target":"gateway","Class":"lang-pkgs","Type":"rustbinary",
            "Packages":[{"Name":"axum","Version":"0.8.9"}],"Vulnerabilities":null},{"Target":"x","Secrets":null}]}"#;
        let report = parse(text).unwrap();
        assert_eq!(report.crates().collect::<Vec<_>>(), ["axum 0.8.9"]);
        assert_eq!(parse("{}").unwrap().results.len(), 0);
        assert_eq!(parse(r#"{"Results":null}"#).unwrap().results.len(), 0);
        assert!(parse(r#"{"Results":[{"Target""#).is_err());
    }

    #[test]
    fn a_bill_lists_crates_only() {
        let text = r#"{"components":[{"name":"axum","version":"0.8.9","purl":"pkg:cargo/axum@0.8.9"},
            {"name":"nexus-gateway","type":"application"}]}"#;
        assert_eq!(crates_in_bill(text).unwrap(), ["axum 0.8.9"]);
    }
}
