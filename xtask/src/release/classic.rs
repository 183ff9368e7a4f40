//! The signature that cosign 2 and most admission controllers look for, under the tag `sha256-<hex>.sig`: made together
//! with the statement of the same kind, and kept where that one is.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::journal::{Statement, Step};
use super::shared::{List, is_among};
use super::stage;
use super::work::{Subject, Work};
use crate::attest::{self, Classic, Kind, Signer};
use crate::exit::Failure;
use crate::hash;
use crate::registry::Repository;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn bundle(work: &Work, of: &Statement) -> std::path::PathBuf {
    work.bundle(of).with_file_name("classic.json")
}

/// Signs the digest of a statement of the kind `Signature`, where that was not done before.
///
/// # Errors
/// cosign fails.
pub async fn sign(work: &Work<'_>, signer: &Signer, subject: &Subject<'_>) -> Result<()> {
    let of = subject.statement(Kind::Signature);
    let path = bundle(work, &of);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let reference = work.repository(subject.image).shown();
    attest::sign_classic(work.context, signer, &reference, &of.subject, &path).await?;
    let sha256 = hash::of_file(&path).with_context(|| format!("cannot read {}", path.display()))?;
    work.journal.write(Step::SignedClassic { of, sha256 })
}

/// What was signed in this release, where anything was.
fn signed(work: &Work, repository: &Repository, subject: &Subject) -> Result<Option<Classic>> {
    let of = subject.statement(Kind::Signature);
    let Some(sha256) = work.journal.state().classic.get(&of).cloned() else {
        return Ok(None);
    };
    let bytes = std::fs::read(bundle(work, &of)).unwrap_or_default();
    if hash::of(&bytes) != sha256 {
        return Err(work.spoilt(&bundle(work, &of)));
    }
    attest::classic(&repository.shown(), &of.subject, &bytes).map(Some)
}

/// Pushes it beside the signatures that others put there.
///
/// # Errors
/// As of [`List::add`].
pub async fn attach(work: &Work<'_>, repository: &Repository, subject: &Subject<'_>) -> Result<()> {
    let Some(classic) = signed(work, repository, subject)? else {
        return Ok(());
    };
    for bytes in [&classic.config, &classic.payload] {
        let digest = stage::keep(&work.layout, bytes)?;
        repository
            .push_blob(&digest, &work.layout.blob(&digest), &[])
            .await?;
    }
    let (empty, layers) = layers(&classic)?;
    let list = List {
        tag: &classic.tag,
        media_type: MANIFEST,
        field: "layers",
        empty,
    };
    list.add(work.context, repository, &layers).await
}

/// The manifest without its layers, and those.
fn layers(classic: &Classic) -> Result<(Value, Vec<Value>)> {
    let mut manifest: Value = serde_json::from_slice(&classic.manifest)?;
    let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
    manifest["layers"] = Value::Array(Vec::new());
    Ok((manifest, layers))
}

/// # Errors
/// Exit 1: it is not there.
pub async fn read_back(work: &Work<'_>, repository: &Repository, subject: &Subject<'_>) -> Result<()> {
    let Some(classic) = signed(work, repository, subject)? else {
        return Ok(());
    };
    let there = repository.manifest(&classic.tag).await?;
    let there: Value = there.map_or(Ok(Value::Null), |raw| serde_json::from_slice(&raw.bytes))?;
    let listed = there["layers"].as_array().map_or(&[][..], Vec::as_slice);
    let (_, layers) = layers(&classic)?;
    let payload = repository
        .blob(
            &format!("sha256:{}", hash::of(&classic.payload)),
            classic.payload.len() as u64,
        )
        .await?;
    if layers.iter().all(|layer| is_among(listed, layer)) && payload == classic.payload {
        return Ok(());
    }
    let what = format!(
        "{}:{} does not hold the signature",
        repository.shown(),
        classic.tag
    );
    Err(Failure::violated(
        what,
        "no tag has moved: find out who wrote there, then `cargo xtask release --resume`",
    )
    .into())
}
