//! Attaching: statements as artifact manifests that name their subject. Where the registry keeps no list of them
//! itself, they are listed in an index under the tag `sha256-<hex>` of the subject, which others may write to as well.

use anyhow::Result;
use serde_json::{Value, json};

use super::classic;
use super::journal::Step;
use super::plan::INDEX;
use super::shared::List;
use super::work::{Attachment, Subject, Work, side_by_side, subjects};
use crate::attest::EMPTY;
use crate::hash;
use crate::layout::Descriptor;
use crate::registry::Repository;

/// Attaches everything that is signed, subjects side by side, one writer each.
///
/// # Errors
/// The registry refuses, does not answer, or keeps losing what it acknowledged.
pub async fn all(work: &Work<'_>) -> Result<()> {
    let _under_way = work.context.board.step("attaching");
    let attached = work.journal.state().attached;
    let left = subjects(&work.plan).into_iter().filter(|subject| {
        !attached.contains(&(subject.image.image.clone(), subject.descriptor.digest.clone()))
    });
    side_by_side(left.map(|subject| one(work, subject)))
        .await
        .map(drop)
}

async fn one(work: &Work<'_>, subject: Subject<'_>) -> Result<()> {
    let (repository, digest) = (work.repository(subject.image), &subject.descriptor.digest);
    // Where the statement is found, so is this: a release that begins anew keeps both.
    classic::attach(work, &repository, &subject).await?;
    let ours = work.attachments(&subject)?;
    if !ours.is_empty() {
        let listed = repository.referrers(digest).await?;
        let left = ours.iter().filter(|ours| !is_listed(&listed, &ours.descriptor));
        let mut listed_by_registry = true;
        for attachment in left {
            listed_by_registry &= put(work, &repository, attachment).await?;
        }
        if !listed_by_registry {
            let ours: Vec<Value> = ours
                .iter()
                .map(|ours| serde_json::to_value(&ours.descriptor))
                .collect::<Result<_, _>>()?;
            let tag = digest.replace(':', "-");
            let empty = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] });
            let list = List {
                tag: &tag,
                media_type: INDEX,
                field: "manifests",
                empty,
            };
            list.add(work.context, &repository, &ours).await?;
        }
    }
    let image = subject.image.image.clone();
    work.journal.write(Step::Attached {
        image,
        subject: digest.clone(),
    })
}

pub fn is_listed(listed: &[Descriptor], ours: &Descriptor) -> bool {
    listed.iter().any(|listed| listed.digest == ours.digest)
}

/// Puts the artifact manifest by its digest; whether the registry lists it itself.
async fn put(work: &Work<'_>, repository: &Repository, ours: &Attachment) -> Result<bool> {
    let empty = format!("sha256:{}", hash::of(EMPTY));
    let (bundle, path) = &ours.bundle;
    repository
        .push_blob(&empty, &work.layout.blob(&empty), &[])
        .await?;
    repository.push_blob(bundle, path, &[]).await?;
    let Descriptor {
        digest, media_type, ..
    } = &ours.descriptor;
    repository.put_manifest(digest, media_type, &ours.bytes).await
}
