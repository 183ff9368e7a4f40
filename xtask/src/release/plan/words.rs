//! The plan as a person reads it: every repository with what it gets, what it has, and which tags move.

use std::fmt::Write;

use super::{AttachmentPlan, BlobStep, ImageRelease, ManifestPlan, ReleasePlan, TagMove};
use crate::gate::budget::mb;

/// Text of several lines.
pub fn describe(plan: &ReleasePlan) -> String {
    let mut text = String::new();
    let kind = if plan.snapshot { "snapshot" } else { "release" };
    let owner = if plan.owner.is_empty() {
        String::new()
    } else {
        format!("/{}", plan.owner)
    };
    let source = plan
        .source
        .as_deref()
        .map(|source| format!(" of {source}"))
        .unwrap_or_default();
    let _ = writeln!(text, "{kind} {} to {}{owner}", plan.version, plan.host);
    let _ = writeln!(text, "commit {}{source}", plan.commit);
    let _ = writeln!(text, "{}", sum(plan));
    for image in &plan.images {
        text.push('\n');
        describe_image(&mut text, image);
    }
    text
}

/// All images in one line.
fn sum(plan: &ReleasePlan) -> String {
    let manifests = || plan.images.iter().flat_map(|image| &image.manifests);
    let blobs = || manifests().flat_map(|manifest| &manifest.blobs);
    let uploads = || blobs().filter(|blob| blob.step == BlobStep::Upload);
    let there = blobs().filter(|blob| blob.step == BlobStep::There).count();
    let bytes = uploads().map(|blob| blob.size_bytes).sum();
    let indexes = || plan.images.iter().filter_map(|image| image.index.as_ref());
    let attachments = manifests()
        .flat_map(|manifest| &manifest.attachments)
        .chain(indexes().flat_map(|index| &index.attachments));
    let attached = attachments.filter(|attachment| !attachment.there).count();
    let pushed = manifests().filter(|manifest| !manifest.there).count()
        + indexes().filter(|index| !index.there).count();
    let tags = plan
        .images
        .iter()
        .flat_map(|image| image.claim.iter().chain(&image.tags));
    format!(
        "{} of {} blobs to upload ({}), {} to mount, {there} there; {}, {}, {}",
        uploads().count(),
        blobs().count(),
        size(bytes),
        blobs().count() - there - uploads().count(),
        counted(pushed, "manifest to push", "manifests to push"),
        counted(
            attached,
            "statement to sign and attach",
            "statements to sign and attach"
        ),
        counted(
            tags.filter(|moved| moved.moves()).count(),
            "tag to move",
            "tags to move"
        ),
    )
}

fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

fn describe_image(text: &mut String, image: &ImageRelease) {
    let _ = writeln!(text, "{}", image.image);
    row(text, "repository", &image.repository);
    if !image.asked {
        row(text, "registry", "did not answer: what it has is not known");
    }
    for manifest in &image.manifests {
        describe_manifest(text, manifest);
    }
    if let Some(index) = &image.index {
        row(
            text,
            "index",
            &format!("{}  {}", index.digest, state(index.there)),
        );
        describe_attachments(text, &index.attachments);
    }
    for (at, moved) in image.claim.iter().chain(&image.tags).enumerate() {
        row(text, if at == 0 { "tags" } else { "" }, &tag(moved, image.asked));
    }
}

fn describe_manifest(text: &mut String, manifest: &ManifestPlan) {
    let shown = format!("{}  {}", manifest.digest, state(manifest.there));
    row(text, &manifest.platform, &shown);
    for blob in &manifest.blobs {
        let shown = format!("{}  {}", blob.digest, size(blob.size_bytes));
        match &blob.step {
            BlobStep::Upload => row(text, "  upload", &shown),
            BlobStep::Mount { from } => row(text, "  mount", &format!("{shown} from {from}")),
            BlobStep::There => {}
        }
    }
    let there = manifest
        .blobs
        .iter()
        .filter(|blob| blob.step == BlobStep::There)
        .count();
    if there > 0 {
        row(text, "  there", &counted(there, "blob", "blobs"));
    }
    describe_attachments(text, &manifest.attachments);
}

fn describe_attachments(text: &mut String, attachments: &[AttachmentPlan]) {
    let words = |there: bool| {
        let those = attachments.iter().filter(|attachment| attachment.there == there);
        those
            .map(|attachment| attachment.kind.word())
            .collect::<Vec<_>>()
            .join(", ")
    };
    for (label, words) in [("  attach", words(false)), ("  attached", words(true))] {
        if !words.is_empty() {
            row(text, label, &words);
        }
    }
}

fn state(there: bool) -> &'static str {
    if there { "there" } else { "to push" }
}

/// What becomes of a tag; nothing where what it is now is not known.
fn tag(moved: &TagMove, asked: bool) -> String {
    match &moved.from {
        None if asked => "new".to_owned(),
        None => String::new(),
        Some(_) if !moved.moves() => "there".to_owned(),
        Some(from) => format!("moves, from {from}"),
    }
}

/// Bytes for a reader: configurations are small, layers are not.
fn size(bytes: u64) -> String {
    match bytes {
        0..100_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => size(bytes),
    }
}

fn row(text: &mut String, label: &str, words: &str) {
    let _ = writeln!(text, "  {label:<12} {words}");
}
