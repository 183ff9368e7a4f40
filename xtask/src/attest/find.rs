//! What is attached to a digest in a registry, and what of it holds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::statement::{BUNDLE, Claim};
use super::{Kind, Trust, provide, verify};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::hash;
use crate::layout::{Descriptor, Manifest};
use crate::registry::Repository;

/// A bill of materials is the largest of them.
const BUNDLE_MOST: u64 = 64 << 20;

/// More than this nobody attaches in good faith.
const MOST: usize = 200;

/// Side by side: each is a request or two, and a start of cosign.
const AT_ONCE: usize = 4;

/// A statement of a kind of ours.
#[derive(Debug)]
pub struct Attached {
    pub kind: Kind,
    /// The manifest that attaches it.
    pub attachment: Descriptor,
    /// The predicate, where signature, subject and kind are as they must be.
    pub held: Result<Value, Failure>,
}

/// Everything of our kinds that is attached to the manifest in the file `manifest` (its exact bytes), checked, in the
/// registry's order. What others attached is passed over.
///
/// # Errors
/// Exit 3: the registry does not answer, or lists more than anybody attaches.
pub async fn find(
    context: &Context,
    trust: &Trust,
    repository: &Repository,
    manifest: &Path,
) -> Result<Vec<Attached>> {
    provide(context).await?;
    let sha256 = hash::of_file(manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let mut attached = repository.referrers(&format!("sha256:{sha256}")).await?;
    attached.retain(|one| one.artifact_type.as_deref().is_none_or(|kind| kind == BUNDLE));
    if attached.len() > MOST {
        let what = format!(
            "{}: {} things are attached to it",
            repository.shown(),
            attached.len()
        );
        return Err(Failure::undecided(what, "see who attaches them, and delete what nobody needs").into());
    }
    let work = work_folder(context)?;
    let looks = attached.into_iter().map(|one| {
        let folder = work.path();
        async move { look(context, trust, repository, manifest, one, folder).await }
    });
    let looks: Vec<Result<Vec<Attached>>> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    let looks: Vec<Vec<Attached>> = looks.into_iter().collect::<Result<_>>()?;
    Ok(looks.into_iter().flatten().collect())
}

/// The kinds of which one holds at least.
pub fn sound(attached: &[Attached]) -> BTreeSet<Kind> {
    let sound = attached.iter().filter(|one| one.held.is_ok());
    sound.map(|one| one.kind).collect()
}

/// What an attachment is. One that cannot be read may be of the kind that it is listed as, or of any: it hides no other.
async fn look(
    context: &Context,
    trust: &Trust,
    repository: &Repository,
    manifest: &Path,
    attachment: Descriptor,
    folder: &Path,
) -> Result<Vec<Attached>> {
    let read = read(context, trust, repository, manifest, &attachment, folder).await;
    let failure = match read.map_err(|error| error.downcast::<Failure>()) {
        Ok(read) => return Ok(read.into_iter().collect()),
        Err(Ok(failure)) if matches!(failure.exit, Exit::Violated | Exit::Undecided) => failure,
        Err(Ok(failure)) => return Err(failure.into()),
        Err(Err(error)) => return Err(error),
    };
    let listed_as = attachment.annotations.get("dev.sigstore.bundle.predicateType");
    let kinds = Kind::ALL.into_iter().filter(|kind| {
        // What is listed as none of ours is none of ours.
        listed_as.is_none_or(|listed_as| listed_as == kind.predicate_type())
    });
    let broken = kinds.map(|kind| Attached {
        kind,
        attachment: attachment.clone(),
        held: Err(failure.clone()),
    });
    Ok(broken.collect())
}

async fn read(
    context: &Context,
    trust: &Trust,
    repository: &Repository,
    manifest: &Path,
    attachment: &Descriptor,
    folder: &Path,
) -> Result<Option<Attached>> {
    let Some(raw) = repository.manifest(&attachment.digest).await? else {
        return Ok(None);
    };
    let bundles = serde_json::from_slice::<Manifest>(&raw.bytes).map(|manifest| manifest.layers);
    let bundle = bundles.unwrap_or_default();
    let Some(layer) = bundle.iter().find(|layer| layer.media_type == BUNDLE) else {
        return Ok(None);
    };
    let bytes = repository.blob(&layer.digest, BUNDLE_MOST).await?;
    // What it claims decides what it is held to; another's annotation decides nothing.
    let Ok(Some(claim)) = Claim::read(&bytes) else {
        return Ok(None);
    };
    let file = folder.join(attachment.digest.trim_start_matches("sha256:"));
    tokio::fs::write(&file, &bytes)
        .await
        .with_context(|| format!("cannot write {}", file.display()))?;
    let held = verify(context, trust, claim.kind, manifest, &file).await;
    Ok(Some(Attached {
        kind: claim.kind,
        attachment: attachment.clone(),
        held: match held {
            Ok(predicate) => Ok(predicate),
            // A trust root that is none is nobody's attachment's fault.
            Err(error) => match error.downcast::<Failure>() {
                Ok(failure) if failure.exit != Exit::Usage => Err(failure),
                Ok(failure) => return Err(failure.into()),
                Err(error) => return Err(error),
            },
        },
    }))
}

/// Where bundles lie while they are looked at. What a killed run left goes with the next look, a day later.
pub fn work_folder(context: &Context) -> Result<tempfile::TempDir> {
    let folder = context.root.join("target/horme");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for old in left_behind(&folder) {
        let _ = std::fs::remove_dir_all(old);
    }
    tempfile::Builder::new()
        .prefix(PREFIX)
        .tempdir_in(&folder)
        .with_context(|| format!("cannot create a folder in {}", folder.display()))
}

const PREFIX: &str = "attached-";

fn left_behind(folder: &Path) -> Vec<PathBuf> {
    let is_old = |entry: &std::fs::DirEntry| {
        let changed = entry.metadata().and_then(|facts| facts.modified());
        let age = changed.ok().and_then(|at| at.elapsed().ok());
        age.is_some_and(|age| age > Duration::from_secs(24 * 3600))
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    ours.filter(is_old).map(|entry| entry.path()).collect()
}
