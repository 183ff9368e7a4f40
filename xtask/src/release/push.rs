//! Pushing by digest: no tag names any of it yet. Each blob is sent once, to one repository; the others have it
//! mounted from there.

use std::cell::Cell;
use std::collections::BTreeMap;

use anyhow::Result;

use super::journal::{Sent, Step};
use super::plan::{INDEX, ImageRelease};
use super::work::{Work, side_by_side};
use crate::event::Progress;
use crate::registry::Pushed;

/// A blob, and who needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Need<'a> {
    digest: &'a str,
    /// Bytes.
    size: u64,
    images: Vec<&'a ImageRelease>,
}

/// Sees to it that every repository has its image.
///
/// # Errors
/// The registry refuses, or does not answer.
pub async fn all(work: &Work<'_>) -> Result<()> {
    let _under_way = work.context.board.step("pushing");
    let pushed = work.journal.state().pushed;
    let is_left = |image: &&ImageRelease| !pushed.contains_key(&image.image);
    let all: Vec<&ImageRelease> = work.plan.images.iter().collect();
    let images: Vec<&ImageRelease> = all.iter().copied().filter(is_left).collect();
    // Who has its image already needs nothing, and lends.
    let mut needs = needs(&all);
    needs.retain(|need| need.images.iter().any(is_left));
    let total = needs
        .iter()
        .map(|need| need.size * need.images.iter().filter(|image| is_left(image)).count() as u64)
        .sum();
    let done = Cell::new(0);
    let shared = needs.iter().map(|need| share(work, need, &pushed, &done, total));
    let shared = side_by_side(shared).await?;
    let mut sent: BTreeMap<&str, Sent> = BTreeMap::new();
    for (image, one) in shared.into_iter().flatten() {
        *sent.entry(image).or_default() += one;
    }
    side_by_side(images.iter().map(|image| {
        let sent = sent.get(image.image.as_str()).copied().unwrap_or_default();
        manifests(work, image, sent)
    }))
    .await
    .map(drop)
}

/// What is needed by whom: what many share comes first, then what is large.
fn needs<'a>(images: &[&'a ImageRelease]) -> Vec<Need<'a>> {
    let mut needs: BTreeMap<&str, Need> = BTreeMap::new();
    for image in images {
        for blob in image.manifests.iter().flat_map(|manifest| &manifest.blobs) {
            let need = needs.entry(&blob.digest).or_insert_with(|| Need {
                digest: &blob.digest,
                size: blob.size_bytes,
                images: Vec::new(),
            });
            // Platforms of one image may share a blob.
            if !need.images.iter().any(|known| known.image == image.image) {
                need.images.push(image);
            }
        }
    }
    let mut needs: Vec<Need> = needs.into_values().collect();
    needs.sort_by_key(|need| std::cmp::Reverse((need.images.len(), need.size)));
    needs
}

/// Brings one blob to everyone who needs it: who has it lends it.
async fn share<'a>(
    work: &Work<'_>,
    need: &Need<'a>,
    pushed: &BTreeMap<String, Sent>,
    done: &Cell<u64>,
    total: u64,
) -> Result<Vec<(&'a str, Sent)>> {
    let (mut lenders, mut lacking, mut sent) = (Vec::new(), Vec::new(), Vec::new());
    for image in &need.images {
        if pushed.contains_key(&image.image) {
            lenders.push(image.repository.clone());
        } else if work.repository(image).has_blob(need.digest).await? {
            lenders.push(image.repository.clone());
            sent.push((image.image.as_str(), counted(Pushed::There, need.size)));
        } else {
            lacking.push(*image);
        }
    }
    let file = work.layout.blob(need.digest);
    for image in lacking {
        let how = work
            .repository(image)
            .push_blob(need.digest, &file, &lenders)
            .await?;
        lenders = vec![image.repository.clone()];
        sent.push((&image.image, counted(how, need.size)));
        done.set(done.get() + need.size);
        work.context.board.progress(Progress {
            text: format!("{} {}", word(how), image.image),
            done: Some(done.get()),
            total: Some(total),
            unit: Some("bytes".to_owned()),
        });
    }
    Ok(sent)
}

/// The manifests of an image, after everything that they name; the index after its manifests.
async fn manifests(work: &Work<'_>, image: &ImageRelease, sent: Sent) -> Result<()> {
    let repository = work.repository(image);
    let platforms = image
        .manifests
        .iter()
        .map(|manifest| (&manifest.digest, manifest.media_type.as_str()));
    let index = image.index.iter().map(|index| (&index.digest, INDEX));
    for (digest, media_type) in platforms.chain(index) {
        if repository.resolve(digest).await?.is_none() {
            let bytes = work.layout.manifest_bytes(digest)?;
            repository.put_manifest(digest, media_type, &bytes).await?;
        }
    }
    let image = image.image.clone();
    work.journal.write(Step::Pushed { image, sent })
}

fn counted(how: Pushed, size: u64) -> Sent {
    let mut sent = Sent::default();
    match how {
        Pushed::There => sent.there = 1,
        Pushed::Mounted => sent.mounted = 1,
        Pushed::Uploaded => (sent.uploaded, sent.bytes) = (1, size),
    }
    sent
}

fn word(how: Pushed) -> &'static str {
    match how {
        Pushed::There => "there:",
        Pushed::Mounted => "mounted:",
        Pushed::Uploaded => "uploaded:",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::testing::plan;

    #[test]
    fn what_many_share_is_pushed_first_then_what_is_large() {
        let plan = plan(&[
            ("a", &[("config-a", 1), ("base", 5), ("own-a", 70)]),
            ("b", &[("config-b", 1), ("base", 5), ("own-b", 80), ("own-b", 80)]),
        ]);
        let images: Vec<&ImageRelease> = plan.images.iter().collect();
        let needs = needs(&images);
        let order: Vec<(&str, usize)> = needs
            .iter()
            .map(|need| (need.digest, need.images.len()))
            .collect();
        assert_eq!(order[..3], [("base", 2), ("own-b", 1), ("own-a", 1)]);
        assert_eq!(order.len(), 5, "each once: {order:?}");
    }

    #[test]
    fn only_what_was_uploaded_counts_in_bytes() {
        let mut sent = Sent::default();
        for how in [Pushed::There, Pushed::Mounted, Pushed::Uploaded, Pushed::Uploaded] {
            sent += counted(how, 10);
        }
        assert_eq!(
            (sent.there, sent.mounted, sent.uploaded, sent.bytes),
            (1, 1, 2, 20)
        );
    }
}
