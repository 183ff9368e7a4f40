//! Trivy's report (schema version 2), the parts that the gate reads. Keys that are new are accepted, what is absent or
//! `null` is empty; another type than the one expected is an error: a report that is damaged says nothing.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::words::{Severity, Status};

/// The only schema there has been since 2021.
const SCHEMA: u64 = 2;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Report {
    /// A report always says it; a text that does not is none.
    #[serde(deserialize_with = "the_schema")]
    pub schema_version: u64,
    /// Absent where Trivy saw nothing that it knows.
    #[serde(default, deserialize_with = "or_default")]
    pub results: Vec<ScanResult>,
}

/// What was found in one place: a binary, the image's configuration, a file with secrets.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ScanResult {
    /// A path in the image, or the archive's.
    #[serde(deserialize_with = "or_default")]
    pub target: String,
    /// `lang-pkgs`, `os-pkgs`, `secret`, `config`.
    #[serde(deserialize_with = "or_default")]
    pub class: String,
    /// `rustbinary`, `debian`, `dockerfile`; absent of secrets.
    #[serde(deserialize_with = "or_default")]
    pub r#type: String,
    #[serde(deserialize_with = "or_default")]
    pub packages: Vec<Package>,
    #[serde(deserialize_with = "or_default")]
    pub vulnerabilities: Vec<Vulnerability>,
    #[serde(deserialize_with = "or_default")]
    pub secrets: Vec<Secret>,
    #[serde(deserialize_with = "or_default")]
    pub misconfigurations: Vec<Misconfiguration>,
    /// What Trivy's own rules would hide (`--show-suppressed`); [`parse`] puts it back where it belongs.
    #[serde(
        rename = "ExperimentalModifiedFindings",
        deserialize_with = "or_default",
        skip_serializing
    )]
    suppressed: Vec<Suppressed>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Package {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub version: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Vulnerability {
    /// `CVE-…`, `RUSTSEC-…`, `GHSA-…`: the one thing that a finding cannot do without.
    #[serde(rename = "VulnerabilityID")]
    pub id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub pkg_name: String,
    /// The file that holds the package, where it is not the result's target.
    #[serde(default, deserialize_with = "or_default")]
    pub pkg_path: String,
    #[serde(default, deserialize_with = "or_default")]
    pub pkg_identifier: Identifier,
    #[serde(default, deserialize_with = "or_default")]
    pub installed_version: String,
    /// A version or several ranges, `>= 0.6.14, < 1.0.0, >= 1.6.1`; empty where none exists.
    #[serde(default, deserialize_with = "or_default")]
    pub fixed_version: String,
    #[serde(default)]
    status: Status,
    #[serde(default)]
    pub severity: Severity,
    #[serde(default, deserialize_with = "or_default")]
    pub title: String,
    /// RFC 3339; absent of many advisories.
    #[serde(default, deserialize_with = "or_default")]
    pub published_date: String,
    #[serde(rename = "PrimaryURL", default, deserialize_with = "or_default")]
    pub primary_url: String,
    #[serde(default, deserialize_with = "or_default")]
    pub layer: Layer,
}

impl Vulnerability {
    /// A status that is absent or unheard-of follows from the version that mends it.
    pub fn status(&self) -> Status {
        match self.status {
            Status::Unknown if !self.fixed_version.is_empty() => Status::Fixed,
            status => status,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identifier {
    /// `pkg:cargo/smallvec@0.6.13`; Trivy 0.44 knows none.
    #[serde(rename = "PURL", deserialize_with = "or_default")]
    pub purl: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Layer {
    /// SHA-256 of the layer, unpacked.
    #[serde(rename = "DiffID", deserialize_with = "or_default")]
    pub diff_id: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Secret {
    #[serde(rename = "RuleID", deserialize_with = "or_default")]
    pub rule_id: String,
    pub severity: Severity,
    #[serde(deserialize_with = "or_default")]
    pub title: String,
    #[serde(deserialize_with = "or_default")]
    pub layer: Layer,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Misconfiguration {
    /// One spelling of the three there are: see [`one_spelling`].
    #[serde(rename = "ID", deserialize_with = "one_spelling")]
    pub id: String,
    pub severity: Severity,
    #[serde(deserialize_with = "or_default")]
    pub status: String,
    #[serde(deserialize_with = "or_default")]
    pub title: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Suppressed {
    #[serde(deserialize_with = "or_default")]
    r#type: String,
    finding: Value,
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

fn the_schema<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    match u64::deserialize(from)? {
        SCHEMA => Ok(SCHEMA),
        other => Err(D::Error::custom(format!("schema version {other}, not {SCHEMA}"))),
    }
}

/// `DS002`, `AVD-DS-0002` and `DS-0002` are one check: `DS-0002`.
fn one_spelling<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let said: String = or_default(from)?;
    let plain = said.strip_prefix("AVD-").unwrap_or(&said);
    let letters = plain.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = plain[letters.len()..].parse::<u32>();
    let letters = letters.trim_end_matches('-');
    Ok(match number {
        Ok(number) if !letters.is_empty() => format!("{letters}-{number:04}"),
        _ => said,
    })
}

/// Reads a report; what Trivy suppressed is a finding like any other: policy is ours alone.
///
/// # Errors
/// Not a report, or one that is damaged: cut off, of another schema, with a value of the wrong type.
pub fn parse(json: &str) -> serde_json::Result<Report> {
    let mut report: Report = serde_json::from_str(json)?;
    for result in &mut report.results {
        for hidden in std::mem::take(&mut result.suppressed) {
            match hidden.r#type.as_str() {
                "secret" => result.secrets.push(serde_json::from_value(hidden.finding)?),
                "misconfiguration" => result
                    .misconfigurations
                    .push(serde_json::from_value(hidden.finding)?),
                "license" => {}
                _ => result
                    .vulnerabilities
                    .push(serde_json::from_value(hidden.finding)?),
            }
        }
    }
    Ok(report)
}

impl Report {
    /// `name version` of every crate seen in a Rust binary.
    pub fn crates(&self) -> impl Iterator<Item = String> {
        let binaries = self.results.iter().filter(|result| result.r#type == "rustbinary");
        let packages = binaries.flat_map(|result| &result.packages);
        packages.map(|package| format!("{} {}", package.name, package.version))
    }

    pub fn vulnerabilities(&self) -> impl Iterator<Item = &Vulnerability> {
        self.results.iter().flat_map(|result| &result.vulnerabilities)
    }
}

#[cfg(test)]
mod tests;
