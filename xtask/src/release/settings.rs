//! Where a release goes and what it asks for: `[workspace.metadata.release]` of the root's Cargo.toml (version,
//! registry) and `docker/policy/release.toml` (ages, trust).

mod address;

use std::path::Path;

use anyhow::Result;
use semver::Version;
use serde::Deserialize;

use crate::attest::Trust;
use crate::context::Context;
use crate::exit::Failure;
use crate::process;
use crate::tool::git;

const MANIFEST: &str = "Cargo.toml";
const TABLE: &str = "[workspace.metadata.release]";
pub const POLICY: &str = "docker/policy/release.toml";

/// How old a verdict may be when its image is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ages {
    /// Days; of every gate's verdict.
    pub verdict_max_days: u32,
    /// Days; of the vulnerability database that the scan asked.
    pub database_max_days: u32,
}

/// Everything that is configured about releases.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[workspace.metadata.release] version`: what the next release is called.
    pub version: Option<Version>,
    /// Registry host, e.g. `ghcr.io`, and owner, e.g. `acme` (may have several parts, may be empty).
    pub host: String,
    pub owner: String,
    pub ages: Ages,
    /// Whom `verify` trusts where no flag says.
    pub trust: Option<Trust>,
    /// The public source, for provenance: GitHub's variables, or the remote `origin` of git.
    pub source: Option<String>,
}

/// What is outside of the files.
#[derive(Debug, Clone, Default)]
struct Surroundings {
    /// The flag or variable.
    registry: Option<String>,
    /// `GITHUB_REPOSITORY_OWNER`.
    github_owner: Option<String>,
    /// `GITHUB_SERVER_URL/GITHUB_REPOSITORY`.
    github_source: Option<String>,
    /// The address of the remote `origin`.
    origin: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    version: Option<String>,
    registry: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    age: Ages,
    trust: Option<TrustTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustTable {
    key: Option<String>,
    issuer: Option<String>,
    identity: Option<String>,
}

impl Settings {
    /// `registry` is the flag's or variable's `HOST/OWNER`.
    ///
    /// # Errors
    /// Exit 2: names file, key and remedy.
    pub async fn read(context: &Context, registry: Option<&str>) -> Result<Self> {
        let surroundings = surroundings(context, registry).await;
        Settings::of(&context.root, &surroundings)
    }

    /// The version as tags and journals name it; nothing where none is configured.
    pub fn version_word(&self) -> String {
        self.version.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// The repository's name within the registry: `owner/image`.
    pub fn repository(&self, image: &str) -> String {
        match self.owner.as_str() {
            "" => image.to_owned(),
            owner => format!("{owner}/{image}"),
        }
    }

    fn of(root: &Path, around: &Surroundings) -> Result<Self> {
        let declared = declared(root)?;
        let (ages, trust) = policy(root)?;
        let version = declared.version.as_deref().map(version).transpose()?;
        let (host, owner) = place(&declared, around)?;
        let origin = around.origin.as_deref().and_then(address::public);
        Ok(Settings {
            version,
            host,
            owner,
            ages,
            trust,
            source: around.github_source.clone().or(origin),
        })
    }
}

async fn surroundings(context: &Context, registry: Option<&str>) -> Surroundings {
    let said = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let repository = said("GITHUB_SERVER_URL").zip(said("GITHUB_REPOSITORY"));
    let origin = process::run(context, &git::remote(&context.root)).await.ok();
    let origin = origin.filter(process::Output::success);
    Surroundings {
        registry: registry.filter(|given| !given.is_empty()).map(str::to_owned),
        github_owner: said("GITHUB_REPOSITORY_OWNER"),
        github_source: repository.map(|(server, name)| format!("{server}/{name}")),
        origin: origin.map(|output| output.stdout.trim().to_owned()),
    }
}

fn declared(root: &Path) -> Result<Declared> {
    let hint = "keys: version, registry";
    let wrong = |why: &str| Failure::usage(format!("{MANIFEST}: {TABLE}: {why}"), hint);
    let text = std::fs::read_to_string(root.join(MANIFEST)).map_err(|error| wrong(&error.to_string()))?;
    let manifest: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| wrong(error.message()))?;
    let table = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("metadata"))
        .and_then(|metadata| metadata.get("release"));
    match table {
        Some(table) => Ok(table
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| wrong(error.message()))?),
        None => Ok(Declared::default()),
    }
}

fn version(text: &str) -> Result<Version> {
    let version = Version::parse(text).map_err(|error| {
        let what = format!("{MANIFEST}: {TABLE} version: '{text}' is not SemVer: {error}");
        Failure::usage(what, "three numbers without a `v`, e.g. version = \"1.4.2\"")
    })?;
    super::tags::refuse_build_metadata(&version)?;
    Ok(version)
}

/// Registry and owner: as the flag or variable says, else Cargo.toml, else GHCR for whom GitHub or the remote names.
fn place(declared: &Declared, around: &Surroundings) -> Result<(String, String)> {
    let key = format!("{MANIFEST}: {TABLE} registry");
    if let Some(given) = &around.registry {
        return address::registry(given, "--registry");
    }
    if let Some(given) = &declared.registry {
        return address::registry(given, &key);
    }
    let of_remote = || around.origin.as_deref().and_then(address::github_owner);
    let Some(owner) = around.github_owner.clone().or_else(of_remote) else {
        let what = "no registry is named, and no GitHub repository to derive it from";
        let hint = format!(
            "say --registry ghcr.io/OWNER, set HORME_REGISTRY, or write registry = \"ghcr.io/OWNER\" under {TABLE} in {MANIFEST}"
        );
        return Err(Failure::usage(what, hint).into());
    };
    // GitHub's names keep their case, a registry's have none.
    address::registry(
        &format!("ghcr.io/{}", owner.to_lowercase()),
        "the repository's owner",
    )
}

fn policy(root: &Path) -> Result<(Ages, Option<Trust>)> {
    let text =
        std::fs::read_to_string(root.join(POLICY)).map_err(|error| wrong_policy(&error.to_string()))?;
    let policy: Policy = toml::from_str(&text).map_err(|error| wrong_policy(error.to_string().trim()))?;
    for (key, days) in [
        ("verdict_max_days", policy.age.verdict_max_days),
        ("database_max_days", policy.age.database_max_days),
    ] {
        if days == 0 {
            return Err(wrong_policy(&format!("[age] {key}: at least 1")));
        }
    }
    let trust = policy.trust.map(|table| trust(root, table)).transpose()?;
    Ok((policy.age, trust))
}

fn trust(root: &Path, table: TrustTable) -> Result<Trust> {
    match (table.key, table.issuer, table.identity) {
        // A KMS address.
        (Some(key), None, None) if key.contains("://") => Ok(Trust::Key(key)),
        (Some(key), None, None) => {
            let file = root.join(&key);
            match file.is_file() {
                true => Ok(Trust::Key(file.display().to_string())),
                false => Err(wrong_policy(&format!("[trust] key: there is no file {key}"))),
            }
        }
        (None, Some(issuer), Some(identity)) => {
            if let Some(Err(error)) = identity.starts_with('^').then(|| regex::Regex::new(&identity)) {
                return Err(wrong_policy(&format!("[trust] identity: {error}")));
            }
            Ok(Trust::Identity { issuer, identity })
        }
        _ => Err(wrong_policy("[trust]: either key, or issuer and identity")),
    }
}

fn wrong_policy(why: &str) -> anyhow::Error {
    let hint = "keys: [age] verdict_max_days, database_max_days; [trust] key, or issuer and identity";
    Failure::usage(format!("{POLICY}: {why}"), hint).into()
}

#[cfg(test)]
mod tests;
