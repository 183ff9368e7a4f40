//! Reading back: what the registry gives to everyone is compared with what was tested, before any tag names it.

use anyhow::Result;

use super::attach::is_listed;
use super::classic;
use super::journal::Step;
use super::plan::{BlobStep, ImageRelease, ManifestPlan};
use super::work::{Subject, Work, side_by_side, subjects};
use crate::exit::{Exit, Failure};
use crate::registry::Repository;

/// Reads back every image that was not read back yet.
///
/// # Errors
/// Exit 1: the registry gives something else, or lacks a part. Exit 3: it does not answer.
pub async fn all(work: &Work<'_>) -> Result<()> {
    let _under_way = work.context.board.step("reading back");
    let done = work.journal.state().read_back;
    let left = work
        .plan
        .images
        .iter()
        .filter(|image| !done.contains(&image.image));
    side_by_side(left.map(|image| one(work, image))).await.map(drop)
}

async fn one(work: &Work<'_>, image: &ImageRelease) -> Result<()> {
    let repository = work.repository(image);
    for manifest in &image.manifests {
        same_manifest(
            &repository,
            &manifest.digest,
            &work.layout.manifest_bytes(&manifest.digest)?,
        )
        .await?;
        blobs(work, &repository, manifest).await?;
    }
    if let Some(index) = &image.index {
        same_manifest(&repository, &index.digest, index.text.as_bytes()).await?;
    }
    for subject in subjects(&work.plan)
        .iter()
        .filter(|subject| subject.image.image == image.image)
    {
        attachments(work, &repository, subject).await?;
        classic::read_back(work, &repository, subject).await?;
    }
    let image = image.image.clone();
    work.journal.write(Step::ReadBack { image })
}

/// The configuration and every layer that this release brought, byte by byte; of the layers that were there before it,
/// that they are there in full length.
async fn blobs(work: &Work<'_>, repository: &Repository, manifest: &ManifestPlan) -> Result<()> {
    if let Some(config) = manifest.blobs.first() {
        same_blob(
            repository,
            &config.digest,
            &std::fs::read(work.layout.blob(&config.digest))?,
        )
        .await?;
    }
    for layer in manifest.blobs.iter().skip(1) {
        if layer.step != BlobStep::There {
            let read = repository.check_blob(&layer.digest, layer.size_bytes).await;
            read.map_err(|error| read_wrong(repository, &layer.digest, error))?;
            continue;
        }
        match repository.blob_size(&layer.digest).await? {
            Some(size) if size == layer.size_bytes => {}
            Some(size) => {
                return Err(other(
                    repository,
                    &layer.digest,
                    &format!("has {size} bytes of {}", layer.size_bytes),
                ));
            }
            None => return Err(other(repository, &layer.digest, "is not there")),
        }
    }
    Ok(())
}

/// Everything that was attached is listed, and is what was signed.
async fn attachments(work: &Work<'_>, repository: &Repository, subject: &Subject<'_>) -> Result<()> {
    let ours = work.attachments(subject)?;
    if ours.is_empty() {
        return Ok(());
    }
    let listed = repository.referrers(&subject.descriptor.digest).await?;
    for ours in ours {
        if !is_listed(&listed, &ours.descriptor) {
            let what = format!("(attached to {}) is not listed", subject.descriptor.digest);
            return Err(other(repository, &ours.descriptor.digest, &what));
        }
        same_manifest(repository, &ours.descriptor.digest, &ours.bytes).await?;
        same_blob(repository, &ours.bundle.0, &std::fs::read(&ours.bundle.1)?).await?;
    }
    Ok(())
}

async fn same_manifest(repository: &Repository, digest: &str, tested: &[u8]) -> Result<()> {
    match repository
        .manifest(digest)
        .await
        .map_err(|error| read_wrong(repository, digest, error))?
    {
        Some(raw) if raw.bytes == tested => Ok(()),
        Some(_) => Err(other(repository, digest, "reads back as something else")),
        None => Err(other(repository, digest, "is not there")),
    }
}

async fn same_blob(repository: &Repository, digest: &str, tested: &[u8]) -> Result<()> {
    let read = repository.blob(digest, tested.len() as u64).await;
    match read.map_err(|error| read_wrong(repository, digest, error))? {
        bytes if bytes == tested => Ok(()),
        _ => Err(other(repository, digest, "reads back as something else")),
    }
}

/// The client itself refuses bytes that are not their digest's: here that is a verdict about the registry.
fn read_wrong(repository: &Repository, digest: &str, error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<Failure>() {
        Some(failure) if failure.exit == Exit::Violated => {
            other(repository, digest, &format!("reads back wrong: {failure}"))
        }
        _ => error,
    }
}

fn other(repository: &Repository, digest: &str, what: &str) -> anyhow::Error {
    let what = format!("{}@{digest} {what}", repository.shown());
    let hint = "no tag has moved: find out what the registry did to it, then `cargo xtask release --resume`";
    Failure::violated(what, hint).into()
}
