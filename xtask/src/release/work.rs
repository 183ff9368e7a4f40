//! What every step of a release works with: the plan, the journal, the folder with what is pushed, the registry.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::journal::{Journal, Statement};
use super::plan::{AttachmentPlan, INDEX, ImageRelease, ReleasePlan};
use crate::attest::{self, Kind};
use crate::context::Context;
use crate::exit::Failure;
use crate::hash;
use crate::layout::{Descriptor, Layout, Manifest};
use crate::registry::{Client, Repository};

/// How many requests of a step are under way at a time.
const SIDE_BY_SIDE: usize = 8;

/// One release that is under way.
#[derive(Debug)]
pub struct Work<'a> {
    pub context: &'a Context,
    pub journal: Journal,
    pub plan: ReleasePlan,
    /// Everything that is pushed, by digest.
    pub layout: Layout,
    pub client: Arc<Client>,
}

/// A manifest that statements are about.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    pub image: &'a ImageRelease,
    pub descriptor: Descriptor,
    /// `None`: the index over all platforms.
    pub platform: Option<&'a str>,
    attachments: &'a [AttachmentPlan],
}

/// A signed statement as it hangs at its subject: an artifact manifest with the bundle as its layer.
#[derive(Debug, Clone)]
pub struct Attachment {
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
    /// The bundle's digest, and where it lies.
    pub bundle: (String, PathBuf),
}

impl<'a> Subject<'a> {
    pub fn statement(&self, kind: Kind) -> Statement {
        Statement {
            image: self.image.image.clone(),
            subject: self.descriptor.digest.clone(),
            kind,
        }
    }

    /// Its statements, and whether one of that kind was seen in the registry.
    pub fn statements(&self) -> impl Iterator<Item = (Statement, bool)> {
        self.attachments
            .iter()
            .map(|planned| (self.statement(planned.kind), planned.there))
    }
}

/// Every manifest that statements are about, those of an image's platforms before its index.
pub fn subjects(plan: &ReleasePlan) -> Vec<Subject<'_>> {
    plan.images.iter().flat_map(subjects_of).collect()
}

fn subjects_of(image: &ImageRelease) -> Vec<Subject<'_>> {
    let platforms = image.manifests.iter().map(|manifest| Subject {
        image,
        descriptor: descriptor(&manifest.media_type, &manifest.digest, manifest.size_bytes),
        platform: Some(&manifest.platform),
        attachments: &manifest.attachments,
    });
    let index = image.index.iter().map(|index| Subject {
        image,
        descriptor: descriptor(INDEX, &index.digest, index.text.len() as u64),
        platform: None,
        attachments: &index.attachments,
    });
    platforms.chain(index).collect()
}

fn descriptor(media_type: &str, digest: &str, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest.to_owned(),
        size,
        artifact_type: None,
        platform: None,
        annotations: Default::default(),
    }
}

impl Work<'_> {
    pub fn repository(&self, image: &ImageRelease) -> Repository {
        self.client.repository(&image.repository)
    }

    /// The media type and exact bytes of what an image's tags name.
    ///
    /// # Errors
    /// The journal's folder is damaged.
    pub fn named(&self, image: &ImageRelease) -> Result<(String, Vec<u8>)> {
        let platform = image
            .manifests
            .first()
            .map(|manifest| manifest.media_type.clone());
        let media_type = image.index.as_ref().map(|_| INDEX.to_owned()).or(platform);
        Ok((
            media_type.unwrap_or_default(),
            self.layout.manifest_bytes(&image.digest)?,
        ))
    }

    /// Where the bundle of a statement lies.
    pub fn bundle(&self, of: &Statement) -> PathBuf {
        let hex = of.subject.trim_start_matches("sha256:");
        let name = format!("{}.json", of.kind.predicate_type().replace(['/', ':'], "-"));
        self.journal
            .folder
            .join("bundles")
            .join(&of.image)
            .join(hex)
            .join(name)
    }

    /// What this release attaches to a subject: what hangs there already is no part of it.
    ///
    /// # Errors
    /// Exit 3: a bundle is not as it was signed.
    pub fn attachments(&self, subject: &Subject) -> Result<Vec<Attachment>> {
        let signed = self.journal.state().signed;
        let mut found = Vec::new();
        for (statement, _) in subject.statements() {
            let Some(sha256) = signed.get(&statement) else {
                continue;
            };
            let path = self.bundle(&statement);
            let bundle = std::fs::read(&path).unwrap_or_default();
            if hash::of(&bundle) != *sha256 {
                return Err(self.spoilt(&path));
            }
            let bytes = attest::attachment(statement.kind, &subject.descriptor, &bundle);
            found.push(Attachment {
                descriptor: described(&bytes)?,
                bytes,
                bundle: (format!("sha256:{sha256}"), path),
            });
        }
        Ok(found)
    }
}

impl Work<'_> {
    /// A bundle is not as it was signed.
    pub fn spoilt(&self, path: &Path) -> anyhow::Error {
        let what = format!("{} is not as it was signed", path.display());
        let hint = format!(
            "`cargo xtask release --undo {}`, then begin anew",
            self.plan.version
        );
        Failure::undecided(what, hint).into()
    }
}

/// How an index names an artifact manifest: with its type and annotations (distribution-spec, "referrers").
fn described(bytes: &[u8]) -> Result<Descriptor> {
    let manifest: Manifest = serde_json::from_slice(bytes)?;
    let media_type = manifest.media_type.unwrap_or_default();
    Ok(Descriptor {
        artifact_type: manifest.artifact_type,
        annotations: manifest.annotations,
        ..descriptor(
            &media_type,
            &format!("sha256:{}", hash::of(bytes)),
            bytes.len() as u64,
        )
    })
}

/// All of them, a few at a time; the first error ends it.
pub async fn side_by_side<T, F: Future<Output = Result<T>>>(
    work: impl IntoIterator<Item = F>,
) -> Result<Vec<T>> {
    stream::iter(work)
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect()
        .await
}

/// All of them, a few at a time, whatever comes of each.
pub async fn each<T, F: Future<Output = Result<T>>>(work: impl IntoIterator<Item = F>) -> Vec<Result<T>> {
    stream::iter(work).buffer_unordered(SIDE_BY_SIDE).collect().await
}
