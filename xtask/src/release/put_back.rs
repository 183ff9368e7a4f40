//! Putting tags back to what they pointed to before a release, by its journal: after a move that failed, and for
//! `--undo`. A tag that somebody else moved meanwhile is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::journal::{Former, Journal, Step, Tag};
use super::plan::ReleasePlan;
use super::tags;
use super::work::each;
use crate::context::Context;
use crate::registry::{Client, Deleted, Repository};

/// What became of the tags of a release.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Back {
    /// They point to what they pointed to before.
    pub put_back: Vec<Tag>,
    /// They were not there before, and are gone.
    pub gone: Vec<Tag>,
    /// They were not there before; this registry deletes no tags.
    pub stayed: Vec<Tag>,
    /// They point to something that is not of this release.
    pub foreign: Vec<Tag>,
    /// A later release moved them, or would have: they are its own on every image, also where that is the same.
    pub later: Vec<Tag>,
    /// They pointed to this release when it began: what was before that, nobody remembers.
    pub forgotten: Vec<Tag>,
}

enum Became {
    /// It pointed to that already.
    Unchanged,
    PutBack,
    Gone,
    Stayed,
    Foreign,
    Later,
    Forgotten,
}

impl Back {
    /// For a person, a line each.
    pub fn words(&self) -> String {
        let lines = [
            ("put back", &self.put_back),
            ("taken away", &self.gone),
            ("stays, because this registry deletes no tags", &self.stayed),
            ("left alone, because somebody moved it since", &self.foreign),
            ("left alone, because a later release has it", &self.later),
            (
                "stays, because it pointed to this release before this journal began",
                &self.forgotten,
            ),
        ];
        let lines: Vec<String> = lines
            .iter()
            .filter(|(_, tags)| !tags.is_empty())
            .map(|(word, tags)| format!("{word}: {}", shown(tags)))
            .collect();
        match &lines[..] {
            [] => "no tag had moved".to_owned(),
            lines => lines.join("\n"),
        }
    }
}

/// Tags in as few words as say it all: images of the same tags are named together.
pub fn shown(tags: &[Tag]) -> String {
    let mut of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for tag in tags {
        of.entry(&tag.image).or_default().insert(&tag.tag);
    }
    let mut alike: BTreeMap<BTreeSet<&str>, Vec<&str>> = BTreeMap::new();
    for (image, tags) in of {
        alike.entry(tags).or_default().push(image);
    }
    let words = alike.into_iter().map(|(tags, images)| {
        let tags: Vec<&str> = tags.into_iter().collect();
        format!("{} of {}", tags.join(", "), images.join(", "))
    });
    words.collect::<Vec<_>>().join("; ")
}

/// Puts back every tag that points to this release, the last moved first in line, but for the names that a later one
/// has.
///
/// # Errors
/// Exit 3: one could not be put back; all others were tried.
pub async fn all(
    context: &Context,
    client: &Arc<Client>,
    journal: &Journal,
    later: &BTreeSet<String>,
) -> Result<Back> {
    let _under_way = context.board.step("putting the tags back");
    let state = journal.state();
    let Some(plan) = &state.plan else {
        return Ok(Back::default());
    };
    // A release that was repeated and got no further than that knows what the first one remembered.
    let former = state.former.as_ref().unwrap_or(&state.inherited);
    let ended = each(former.iter().rev().map(|former| async move {
        let became = match later.contains(&former.of.tag) {
            true => Ok(Became::Later),
            false => one(client, plan, former).await,
        };
        let became = became.with_context(|| format!("{} of {}", former.of.tag, former.of.image))?;
        if matches!(became, Became::PutBack | Became::Gone) {
            journal.write(Step::PutBack(former.of.clone()))?;
        }
        Ok((former.of.clone(), became))
    }))
    .await;
    sorted(ended)
}

fn sorted(ended: Vec<Result<(Tag, Became)>>) -> Result<Back> {
    let mut back = Back::default();
    let mut failed = None;
    for one in ended {
        match one {
            Ok((_, Became::Unchanged)) => {}
            Ok((tag, Became::PutBack)) => back.put_back.push(tag),
            Ok((tag, Became::Gone)) => back.gone.push(tag),
            Ok((tag, Became::Stayed)) => back.stayed.push(tag),
            Ok((tag, Became::Foreign)) => back.foreign.push(tag),
            Ok((tag, Became::Later)) => back.later.push(tag),
            Ok((tag, Became::Forgotten)) => back.forgotten.push(tag),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    for tags in [
        &mut back.put_back,
        &mut back.gone,
        &mut back.stayed,
        &mut back.foreign,
        &mut back.later,
        &mut back.forgotten,
    ] {
        tags.sort();
    }
    failed.map_or(Ok(back), Err)
}

async fn one(client: &Arc<Client>, plan: &ReleasePlan, former: &Former) -> Result<Became> {
    let image = plan.images.iter().find(|image| image.image == former.of.image);
    let image = image.with_context(|| format!("the plan has no {}", former.of.image))?;
    let repository = client.repository(&image.repository);
    let now = repository.resolve(&former.of.tag).await?.map(|now| now.digest);
    let before = former.manifest.as_ref().map(|manifest| manifest.digest.clone());
    if now == before {
        let is_floating = former.of.tag != plan.version && !former.of.tag.starts_with("sha-");
        let is_ours = is_floating && now.as_ref() == Some(&image.digest);
        return Ok(
            match is_ours && !is_older(&repository, plan, &image.digest).await? {
                true => Became::Forgotten,
                false => Became::Unchanged,
            },
        );
    }
    if now.as_deref() != Some(image.digest.as_str()) {
        return Ok(Became::Foreign);
    }
    restore(&repository, former).await
}

/// Whether an earlier version is that digest, too.
async fn is_older(repository: &Repository, plan: &ReleasePlan, digest: &str) -> Result<bool> {
    let Ok(version) = semver::Version::parse(&plan.version) else {
        return Ok(true);
    };
    let tags = repository.tags().await?;
    let earlier = tags::versions(tags.iter().map(String::as_str)).into_iter().rev();
    for earlier in earlier.filter(|earlier| *earlier < version) {
        let there = repository.resolve(&earlier.to_string()).await?;
        if there.is_some_and(|there| there.digest == digest) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn restore(repository: &Repository, former: &Former) -> Result<Became> {
    let Some(manifest) = &former.manifest else {
        return Ok(match repository.delete_tag(&former.of.tag).await? {
            Deleted::Gone | Deleted::Absent => Became::Gone,
            Deleted::Unsupported => Became::Stayed,
        });
    };
    let bytes = manifest.text.as_bytes();
    repository
        .put_manifest(&former.of.tag, &manifest.media_type, bytes)
        .await?;
    let now = repository.resolve(&former.of.tag).await?.map(|now| now.digest);
    anyhow::ensure!(
        now.as_ref() == Some(&manifest.digest),
        "it was put back to {}, and points to {}",
        manifest.digest,
        now.as_deref().unwrap_or("nothing")
    );
    Ok(Became::PutBack)
}
