//! Attaching: statements as artifact manifests that name their subject. Where the registry keeps no list of them
//! itself, they are listed in an index under the tag `sha256-<hex>` of the subject, which others may write to as well.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::journal::Step;
use super::plan::INDEX;
use super::work::{Attachment, Subject, Work, side_by_side, subjects};
use crate::attest::EMPTY;
use crate::context::{Context, Deadline};
use crate::exit::Failure;
use crate::hash;
use crate::layout::Descriptor;
use crate::registry::{Raw, Repository};

/// How often the list is written before somebody must look: each time another writer came between, or the registry
/// lost what it had acknowledged.
const TRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(60);

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
    let ours = work.attachments(&subject)?;
    if !ours.is_empty() {
        let listed = repository.referrers(digest).await?;
        let left = ours.iter().filter(|ours| !is_listed(&listed, &ours.descriptor));
        let mut listed_by_registry = true;
        for attachment in left {
            listed_by_registry &= put(work, &repository, attachment).await?;
        }
        if !listed_by_registry {
            let ours: Vec<Descriptor> = ours.into_iter().map(|ours| ours.descriptor).collect();
            list(work.context, &repository, digest, &ours).await?;
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

/// Lists our entries beside those that are there. There is no way to write only where nobody else has written: what
/// is read back decides, and every entry that was ever seen is kept.
async fn list(context: &Context, repository: &Repository, subject: &str, ours: &[Descriptor]) -> Result<()> {
    let tag = subject.replace(':', "-");
    let deadline = Deadline::within(LONGEST);
    let mut seen: Vec<Value> = Vec::new();
    for attempt in 0..=TRIES {
        let there = repository.manifest(&tag).await?;
        let index = parse(repository, &tag, there.as_ref())?;
        merge(&mut seen, entries(&index));
        let mut wanted = seen.clone();
        merge(&mut wanted, &own(ours)?);
        if wanted.iter().all(|wanted| is_among(entries(&index), wanted)) {
            return Ok(());
        }
        if attempt == TRIES {
            break;
        }
        if attempt > 0 {
            pause(context, attempt, deadline).await?;
            // Somebody wrote meanwhile: what they wrote is read first.
            let now = repository.resolve(&tag).await?.map(|now| now.digest);
            if now != there.map(|there| there.digest) {
                continue;
            }
        }
        let bytes = serde_json::to_vec(&with_entries(index, wanted))?;
        repository.put_manifest(&tag, INDEX, &bytes).await?;
    }
    let what = format!(
        "{}:{tag} does not keep what is written to it: {TRIES} writes were acknowledged, and lost",
        repository.shown()
    );
    Err(Failure::undecided(
        what,
        "no tag has moved; when the registry is well: `cargo xtask release --resume`",
    )
    .into())
}

async fn pause(context: &Context, attempt: u32, deadline: Deadline) -> Result<()> {
    let pause = (FIRST_PAUSE * 2_u32.pow(attempt)).min(deadline.left());
    tokio::select! {
        () = tokio::time::sleep(pause) => Ok(()),
        () = context.cancel.cancelled() => Err(Failure::undecided("interrupted", "`cargo xtask release --resume`").into()),
    }
}

/// The index that is there, as it is; an empty one where there is none.
fn parse(repository: &Repository, tag: &str, there: Option<&Raw>) -> Result<Value> {
    let Some(raw) = there else {
        return Ok(json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }));
    };
    let index = serde_json::from_slice::<Value>(&raw.bytes).ok();
    index
        .filter(|index| index["manifests"].is_array())
        .ok_or_else(|| {
            let what = format!(
                "{}:{tag} is no index of attachments ({})",
                repository.shown(),
                raw.media_type
            );
            Failure::usage(
                what,
                "it is not ours to replace: find out who wrote it, and delete it",
            )
            .into()
        })
}

fn entries(index: &Value) -> &[Value] {
    index["manifests"].as_array().map_or(&[], Vec::as_slice)
}

fn own(ours: &[Descriptor]) -> Result<Vec<Value>> {
    Ok(ours.iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
}

/// Entries that are not among them yet, by digest, at the end.
fn merge(known: &mut Vec<Value>, more: &[Value]) {
    for entry in more {
        if !is_among(known, entry) {
            known.push(entry.clone());
        }
    }
}

fn is_among(known: &[Value], entry: &Value) -> bool {
    known.iter().any(|known| known["digest"] == entry["digest"])
}

fn with_entries(mut index: Value, entries: Vec<Value>) -> Value {
    index["manifests"] = Value::Array(entries);
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(digit: char) -> Value {
        json!({ "digest": format!("sha256:{digit}"), "annotations": { "of": "another" } })
    }

    #[test]
    fn entries_of_others_stay_as_they_are_and_ours_come_after_them() {
        let mut known = vec![entry('a')];
        merge(
            &mut known,
            &[entry('b'), json!({ "digest": "sha256:a" }), entry('b')],
        );
        assert_eq!(known, [entry('a'), entry('b')]);
        let index =
            json!({ "schemaVersion": 2, "annotations": { "kept": "too" }, "manifests": [entry('a')] });
        let written = with_entries(index, known.clone());
        assert_eq!(
            (entries(&written), &written["annotations"]["kept"]),
            (&known[..], &json!("too"))
        );
    }
}
