//! Putting tags back to what they pointed to before a release, by its journal: after a move that failed, and for
//! `--undo`. A tag that somebody else moved meanwhile is left alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::journal::{Former, Journal, Step, Tag};
use super::plan::ReleasePlan;
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
}

enum Became {
    /// It pointed to that already.
    Unchanged,
    PutBack,
    Gone,
    Stayed,
    Foreign,
}

impl Back {
    /// For a person, a line each.
    pub fn words(&self) -> String {
        let lines = [
            ("put back", &self.put_back),
            ("taken away", &self.gone),
            ("stays, because this registry deletes no tags", &self.stayed),
            ("left alone, because somebody moved it since", &self.foreign),
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

pub fn shown(tags: &[Tag]) -> String {
    let mut of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for tag in tags {
        of.entry(&tag.tag).or_default().push(&tag.image);
    }
    let words: Vec<String> = of
        .iter()
        .map(|(tag, images)| format!("{tag} of {}", images.join(", ")))
        .collect();
    words.join("; ")
}

/// Puts back every tag that points to this release, the last moved first in line.
///
/// # Errors
/// Exit 3: one could not be put back; all others were tried.
pub async fn all(context: &Context, client: &Arc<Client>, journal: &Journal) -> Result<Back> {
    let _under_way = context.board.step("putting the tags back");
    let state = journal.state();
    let (Some(plan), Some(former)) = (&state.plan, &state.former) else {
        return Ok(Back::default());
    };
    let ended = each(former.iter().rev().map(|former| async move {
        let became = one(client, plan, former).await;
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
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    for tags in [
        &mut back.put_back,
        &mut back.gone,
        &mut back.stayed,
        &mut back.foreign,
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
        return Ok(Became::Unchanged);
    }
    if now.as_deref() != Some(image.digest.as_str()) {
        return Ok(Became::Foreign);
    }
    restore(&repository, former).await
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
