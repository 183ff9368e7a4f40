//! Moving the tags: the last step, and the only one that users see. What they pointed to is remembered first, the
//! version is claimed, then all move at once: the exact ones, the floating ones, `latest` very last.

use std::collections::BTreeMap;

use anyhow::Result;

use super::journal::{Former, FormerManifest, Step, Tag};
use super::plan::{ImageRelease, TagMove};
use super::put_back;
use super::work::{Work, each, side_by_side};
use crate::exit::Failure;

/// A tag of an image, and where it goes.
#[derive(Debug, Clone, Copy)]
struct Move<'a> {
    image: &'a ImageRelease,
    to: &'a TagMove,
}

impl Move<'_> {
    fn tag(&self) -> Tag {
        Tag {
            image: self.image.image.clone(),
            tag: self.to.tag.clone(),
        }
    }
}

/// What tags point to now.
type Now = BTreeMap<Tag, Option<FormerManifest>>;

/// Remembers, claims and moves.
///
/// # Errors
/// Exit 2: the version, or a tag, went to somebody else meanwhile. Exit 3: a tag cannot be moved; those that were moved
/// are put back, unless the run was told to end.
pub async fn all(work: &Work<'_>) -> Result<()> {
    let _under_way = work.context.board.step("moving the tags");
    let moves: Vec<Move> = work
        .plan
        .images
        .iter()
        .flat_map(|image| image.tags.iter().map(move |to| Move { image, to }))
        .collect();
    let now = look(work, &moves).await?;
    refuse_moved(work, &moves, &now)?;
    remember(work, &moves, &now)?;
    claim(work).await?;
    // Two machines may have found the version free at the same time: whose claims stand goes on.
    confirm_claims(work).await?;
    let now = look(work, &moves).await?;
    refuse_moved(work, &moves, &now)?;
    work.journal.write(Step::Moving)?;
    for wave in waves(&work.plan.version, &moves) {
        let moved = each(wave.iter().map(|one| put(work, one, &now))).await;
        if let Some(error) = moved.into_iter().find_map(Result::err) {
            return Err(take_back(work, error).await);
        }
    }
    work.journal.write(Step::Done)
}

/// Exact tags, then floating ones, then `latest`: whoever asks for the newest gets it when all else is there.
fn waves<'a>(version: &str, moves: &[Move<'a>]) -> [Vec<Move<'a>>; 3] {
    let mut waves = [vec![], vec![], vec![]];
    for one in moves {
        let tag = one.to.tag.as_str();
        let wave = match tag {
            "latest" => 2,
            _ if tag == version || tag.starts_with("sha-") => 0,
            _ => 1,
        };
        waves[wave].push(*one);
    }
    waves
}

async fn look(work: &Work<'_>, moves: &[Move<'_>]) -> Result<Now> {
    let asked = moves.iter().map(|one| async move {
        let raw = work.repository(one.image).manifest(&one.to.tag).await?;
        let former = raw.map(|raw| FormerManifest {
            digest: raw.digest,
            media_type: raw.media_type,
            text: String::from_utf8_lossy(&raw.bytes).into_owned(),
        });
        Ok((one.tag(), former))
    });
    Ok(side_by_side(asked).await?.into_iter().collect())
}

/// A tag that somebody moved since the plan was made belongs to another release: moving it would take that one back.
fn refuse_moved(work: &Work<'_>, moves: &[Move<'_>], now: &Now) -> Result<()> {
    let digest = |tag: &Tag| {
        now.get(tag)
            .and_then(Option::as_ref)
            .map(|former| former.digest.as_str())
    };
    let moved: Vec<String> = moves
        .iter()
        .filter(|one| {
            let now = digest(&one.tag());
            now != one.to.from.as_deref() && now != Some(one.to.to.as_str())
        })
        .map(|one| format!("{}:{}", one.image.repository, one.to.tag))
        .collect();
    if moved.is_empty() {
        return Ok(());
    }
    let version = &work.plan.version;
    let what = format!(
        "moved by somebody else since this release was planned: {}",
        moved.join(", ")
    );
    let hint = format!(
        "close this release with `cargo xtask release --undo {version}`, then release again by a new plan"
    );
    Err(Failure::usage(what, hint).into())
}

/// What is remembered once stays: when resumed, some tags point to this release already. So do they where the same
/// images were released before under this version: then that journal's memory holds.
fn remember(work: &Work<'_>, moves: &[Move<'_>], now: &Now) -> Result<()> {
    let state = work.journal.state();
    if state.former.is_some() {
        return Ok(());
    }
    let former = |one: &Move| {
        let of = one.tag();
        let manifest = now.get(&of).cloned().flatten();
        let is_ours = manifest.as_ref().is_some_and(|there| there.digest == one.to.to);
        let inherited = state.inherited.iter().find(|former| is_ours && former.of == of);
        inherited.cloned().unwrap_or(Former { of, manifest })
    };
    work.journal.write(Step::Remembered {
        tags: moves.iter().map(former).collect(),
    })
}

/// Puts the claim on every image: from here on the version is spent.
async fn claim(work: &Work<'_>) -> Result<()> {
    let claimed = work.journal.state().claimed;
    let left = work
        .plan
        .images
        .iter()
        .filter(|image| !claimed.contains(&image.image));
    let claims = left.filter_map(|image| Some((image, image.claim.as_ref()?)));
    side_by_side(claims.map(|(image, claim)| claim_one(work, image, claim)))
        .await
        .map(drop)
}

async fn claim_one(work: &Work<'_>, image: &ImageRelease, claim: &TagMove) -> Result<()> {
    let repository = work.repository(image);
    match repository.resolve(&claim.tag).await? {
        Some(there) if there.digest == claim.to => {}
        Some(there) => return Err(claimed_by_another(work, image, claim, &there.digest)),
        None => {
            let (media_type, bytes) = work.named(image)?;
            repository.put_manifest(&claim.tag, &media_type, &bytes).await?;
            confirm(work, image, claim).await?;
        }
    }
    let image = image.image.clone();
    work.journal.write(Step::Claimed { image })
}

async fn confirm_claims(work: &Work<'_>) -> Result<()> {
    let claims = work.plan.images.iter();
    let claims = claims.filter_map(|image| Some((image, image.claim.as_ref()?)));
    let asked = claims.map(|(image, claim)| async move {
        match work.repository(image).resolve(&claim.tag).await? {
            Some(there) if there.digest != claim.to => {
                Err(claimed_by_another(work, image, claim, &there.digest))
            }
            Some(_) => Ok(()),
            None => confirm(work, image, claim).await,
        }
    });
    side_by_side(asked).await.map(drop)
}

fn claimed_by_another(work: &Work<'_>, image: &ImageRelease, claim: &TagMove, there: &str) -> anyhow::Error {
    let (version, repository) = (&work.plan.version, work.repository(image).shown());
    let what = format!(
        "{version} of {repository} was published with another digest: {there}, not {}",
        claim.to
    );
    Failure::usage(what, "versions are immutable: release under the next one").into()
}

async fn put(work: &Work<'_>, one: &Move<'_>, now: &Now) -> Result<()> {
    let tag = one.tag();
    let there = now.get(&tag).and_then(Option::as_ref);
    if there.is_none_or(|there| there.digest != one.to.to) {
        let (media_type, bytes) = work.named(one.image)?;
        work.repository(one.image)
            .put_manifest(&one.to.tag, &media_type, &bytes)
            .await?;
        confirm(work, one.image, one.to).await?;
    }
    work.journal.write(Step::Moved(tag))
}

/// What was acknowledged is asked for again.
async fn confirm(work: &Work<'_>, image: &ImageRelease, to: &TagMove) -> Result<()> {
    let repository = work.repository(image);
    let there = repository.resolve(&to.tag).await?.map(|there| there.digest);
    if there.as_deref() == Some(to.to.as_str()) {
        return Ok(());
    }
    let now = there.as_deref().unwrap_or("nothing");
    let what = format!(
        "{}:{} was moved to {}, and points to {now}",
        repository.shown(),
        to.tag,
        to.to
    );
    Err(Failure::undecided(
        what,
        "the registry loses what it acknowledges, or somebody else moves this tag",
    )
    .into())
}

/// Not all tags could be moved: none stays moved. Where the run was told to end, it only ends: the journal says how to
/// go on.
async fn take_back(work: &Work<'_>, error: anyhow::Error) -> anyhow::Error {
    if work.context.cancel.is_cancelled() {
        return error;
    }
    let resume = "when the registry is well: `cargo xtask release --resume`";
    let ended = put_back::all(work.context, &work.client, &work.journal, &Default::default()).await;
    let what = match ended {
        Ok(back) => format!("not all tags could be moved: {error:#}\n{}", back.words()),
        Err(back) => format!(
            "not all tags could be moved: {error:#}\nand those that had been were not all put back: {back:#}"
        ),
    };
    Failure::undecided(what, resume).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::testing::plan;

    #[test]
    fn exact_tags_move_before_floating_ones_and_latest_very_last() {
        let plan = plan(&[("a", &[]), ("b", &[])]);
        let images = plan.images.iter();
        let moves: Vec<Move> = images
            .flat_map(|image| image.tags.iter().map(move |to| Move { image, to }))
            .collect();
        let waves = waves("1.4.2", &moves).map(|wave| {
            let tags: Vec<String> = wave.iter().map(|one| one.to.tag.clone()).collect();
            tags.join(" ")
        });
        let exact = "1.4.2 sha-cccccccccccc 1.4.2 sha-cccccccccccc";
        assert_eq!(waves, [exact, "1.4 1 1.4 1", "latest latest"]);
    }
}
