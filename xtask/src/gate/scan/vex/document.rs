//! One OpenVEX document (version 0.2.0 of the specification): its shape, and what its statements are about.

use jiff::Timestamp;
use serde::Deserialize;

use super::{Image, harmless};
use crate::tool::trivy::Vulnerability;

const CONTEXT: &str = "https://openvex.dev/ns";

/// A document, whole: what it lacks or has beyond the specification makes it malformed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a document without these is malformed")]
struct Document {
    #[serde(rename = "@context")]
    context: String,
    #[serde(rename = "@id")]
    id: String,
    author: String,
    role: Option<String>,
    timestamp: Time,
    last_updated: Option<Time>,
    version: u64,
    tooling: Option<String>,
    supplier: Option<String>,
    statements: Vec<Said>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what the specification allows beside what is judged")]
struct Said {
    #[serde(rename = "@id")]
    id: Option<String>,
    version: Option<u64>,
    vulnerability: Named,
    #[serde(default)]
    products: Vec<Product>,
    status: Word,
    timestamp: Option<Time>,
    last_updated: Option<Time>,
    supplier: Option<String>,
    status_notes: Option<String>,
    justification: Option<Justification>,
    impact_statement: Option<String>,
    action_statement: Option<String>,
    action_statement_timestamp: Option<Time>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what the specification allows beside what is judged")]
struct Named {
    #[serde(rename = "@id")]
    id: Option<String>,
    name: String,
    description: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
}

/// RFC 3339.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Time(Timestamp);

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = text.parse().map(Time);
        parsed.map_err(|_| format!("'{text}' is no timestamp, such as 2026-11-01T00:00:00Z"))
    }
}

/// A product, and the parts of it that are meant; all parts where none is named.
#[derive(Debug, Clone, Deserialize)]
struct Product {
    #[serde(flatten)]
    own: Component,
    #[serde(default)]
    subcomponents: Vec<Component>,
}

#[derive(Debug, Clone, Deserialize)]
struct Component {
    #[serde(rename = "@id")]
    id: Option<String>,
    #[serde(default)]
    identifiers: Identifiers,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Identifiers {
    purl: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    NotAffected,
    Affected,
    Fixed,
    UnderInvestigation,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Justification {
    ComponentNotPresent,
    VulnerableCodeNotPresent,
    VulnerableCodeNotInExecutePath,
    VulnerableCodeCannotBeControlledByAdversary,
    InlineMitigationsAlreadyExist,
}

impl Justification {
    fn words(self) -> &'static str {
        match self {
            Justification::ComponentNotPresent => "the component is not present",
            Justification::VulnerableCodeNotPresent => "the vulnerable code is not present",
            Justification::VulnerableCodeNotInExecutePath => "the vulnerable code is not in the execute path",
            Justification::VulnerableCodeCannotBeControlledByAdversary => {
                "the vulnerable code cannot be controlled by an adversary"
            }
            Justification::InlineMitigationsAlreadyExist => "inline mitigations exist already",
        }
    }
}

/// One statement that is well-formed.
#[derive(Debug)]
pub(super) struct Statement {
    vulnerability: Named,
    products: Vec<Product>,
    status: Word,
    /// Why it does no harm, for a person.
    why: String,
    author: String,
    pub(super) said_at: Timestamp,
}

impl Statement {
    pub(super) fn id(&self) -> &str {
        &self.vulnerability.name
    }

    pub(super) fn lets_pass(&self) -> bool {
        harmless(self.status)
    }

    /// `not affected, says ann: the vulnerable code is not present`.
    pub(super) fn words(&self) -> String {
        let status = match self.status {
            Word::NotAffected => "not affected",
            Word::Affected => "affected",
            Word::Fixed => "fixed",
            Word::UnderInvestigation => "under investigation",
        };
        match self.why.as_str() {
            "" => format!("{status}, says {}", self.author),
            why => format!("{status}, says {}: {why}", self.author),
        }
    }

    /// Whether the statement speaks of this very finding in this very image.
    pub(super) fn is_about(&self, found: &Vulnerability, image: Image) -> bool {
        let names = std::iter::once(&self.vulnerability.name).chain(&self.vulnerability.aliases);
        let mut names = names.filter(|name| name.eq_ignore_ascii_case(&found.id));
        names.next().is_some() && self.products.iter().any(|product| product.covers(found, image))
    }
}

impl Product {
    fn covers(&self, found: &Vulnerability, image: Image) -> bool {
        let is_part = |part: &Component| part.purls().any(|purl| same_package(purl, found));
        if self.own.purls().any(|purl| same_image(purl, image)) {
            return self.subcomponents.is_empty() || self.subcomponents.iter().any(is_part);
        }
        self.subcomponents.is_empty() && is_part(&self.own)
    }
}

impl Component {
    fn purls(&self) -> impl Iterator<Item = &str> {
        let named = self
            .id
            .as_deref()
            .into_iter()
            .chain(self.identifiers.purl.as_deref());
        named.filter(|purl| purl.starts_with("pkg:"))
    }
}

/// A package URL without its qualifiers, apart: `pkg:cargo/smallvec` and `0.6.13`.
fn parts(purl: &str) -> (&str, Option<&str>) {
    let plain = purl.split(['?', '#']).next().unwrap_or_default();
    match plain.rsplit_once('@') {
        // A scope (`@scope/name`) is no version.
        Some((name, version)) if !version.contains('/') => (name, Some(version)),
        _ => (plain, None),
    }
}

/// A package URL without a version means every version.
fn same_package(purl: &str, found: &Vulnerability) -> bool {
    let own = match found.pkg_identifier.purl.as_str() {
        // Trivy 0.44 names none; crates are what we ship.
        "" => format!("pkg:cargo/{}@{}", found.pkg_name, found.installed_version),
        own => own.to_owned(),
    };
    let ((name, version), (own_name, own_version)) = (parts(purl), parts(&own));
    name == own_name && (version.is_none() || version == own_version)
}

/// `pkg:oci/<repository's last word>`, with a digest or for every one.
fn same_image(purl: &str, image: Image) -> bool {
    let (name, version) = parts(purl);
    let own = image.name.rsplit('/').next().unwrap_or_default();
    let digest = version.map(|version| version.replace("%3A", ":").replace("%3a", ":"));
    name.strip_prefix("pkg:oci/") == Some(own) && digest.is_none_or(|digest| digest == image.digest)
}

/// Reads a document's text.
///
/// # Errors
/// Why it is malformed, naming the statement (from 1) where one is.
pub(super) fn parse(text: &str) -> Result<Vec<Statement>, String> {
    let document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let version = document.context.strip_prefix(CONTEXT).unwrap_or("?");
    if !matches!(version, "" | "/v0.2.0") {
        return Err(format!(
            "@context: '{}' is not {CONTEXT}/v0.2.0",
            document.context
        ));
    }
    if document.statements.is_empty() {
        return Err("statements: a document must say something".to_owned());
    }
    let statements = document.statements.into_iter().enumerate();
    statements
        .map(|(index, said)| {
            statement(said, &document.author, document.timestamp)
                .map_err(|why| format!("statement {}: {why}", index + 1))
        })
        .collect()
}

fn statement(said: Said, author: &str, timestamp: Time) -> Result<Statement, String> {
    let id = &said.vulnerability.name;
    let blank = |text: &Option<String>| text.as_deref().is_none_or(|text| text.trim().is_empty());
    if id.trim().is_empty() {
        return Err("vulnerability.name must say something".to_owned());
    }
    if said.status == Word::NotAffected && said.justification.is_none() && blank(&said.impact_statement) {
        return Err(format!(
            "{id}: not_affected needs a justification or an impact_statement"
        ));
    }
    if said.status == Word::Affected && blank(&said.action_statement) {
        return Err(format!("{id}: affected needs an action_statement"));
    }
    let components = said
        .products
        .iter()
        .flat_map(|product| std::iter::once(&product.own).chain(&product.subcomponents));
    if said.products.is_empty()
        || components
            .into_iter()
            .any(|component| component.purls().count() == 0)
    {
        return Err(format!(
            "{id}: every product and subcomponent needs a package URL (pkg:...)"
        ));
    }
    let why = said.impact_statement.filter(|text| !text.trim().is_empty());
    let justification = said
        .justification
        .map(|justification| justification.words().to_owned());
    Ok(Statement {
        why: justification.or(why).unwrap_or_default(),
        vulnerability: said.vulnerability,
        products: said.products,
        status: said.status,
        author: author.to_owned(),
        said_at: said.timestamp.unwrap_or(timestamp).0,
    })
}
