//! The plan of a release, worked out ahead of time: what each repository gets, what it has already, and which tags
//! move from what to what. Pure; what follows only executes it, and `--dry-run` prints it.

mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::attest::Kind;
use crate::layout::{Descriptor, Platform};

pub use words::describe;

/// Of an index over several platforms.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A release in every detail. The order of `images` is the order in which they are pushed, that of their tags the
/// order in which those move: the exact one first, `latest` very last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasePlan {
    /// `1.4.2`; of a snapshot, its first tag.
    pub version: String,
    /// Tags of a branch or pull request: no version is claimed.
    pub snapshot: bool,
    /// The commit that was proven, in full.
    pub commit: String,
    /// Where the source lies, e.g. `https://github.com/owner/horme`, where that is known.
    pub source: Option<String>,
    /// `ghcr.io`.
    pub host: String,
    /// May have several parts, may be empty.
    pub owner: String,
    pub images: Vec<ImageRelease>,
}

/// One repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRelease {
    pub service: String,
    /// `horme-frontend`.
    pub image: String,
    /// Within the registry: `owner/horme-frontend`.
    pub repository: String,
    /// What the tags point to: the one platform's manifest, or the index over several.
    pub digest: String,
    /// One a platform, by its name.
    pub manifests: Vec<ManifestPlan>,
    /// Where there are several platforms: what is pushed after their manifests.
    pub index: Option<IndexPlan>,
    /// The version's claim, put on every image before any other tag moves; none of a snapshot.
    pub claim: Option<TagMove>,
    pub tags: Vec<TagMove>,
    /// What the registry has of all this is known. Otherwise `there`, `kept` and `from` say nothing.
    pub asked: bool,
}

/// A platform's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPlan {
    /// `linux/amd64`.
    pub platform: String,
    pub digest: String,
    pub media_type: String,
    pub size_bytes: u64,
    pub there: bool,
    /// The configuration first, then the layers, base first; each once.
    pub blobs: Vec<BlobPlan>,
    /// The four kinds, as statements about this manifest.
    pub attachments: Vec<AttachmentPlan>,
}

/// An index, as exact bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPlan {
    pub digest: String,
    /// The JSON to push, byte for byte; its media type is [`INDEX`].
    pub text: String,
    pub there: bool,
    /// The signature alone: everything else is said of the platforms' manifests.
    pub attachments: Vec<AttachmentPlan>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobPlan {
    pub digest: String,
    pub size_bytes: u64,
    pub step: BlobStep,
}

/// How a repository comes to have a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "how")]
pub enum BlobStep {
    There,
    /// Another repository lends it: it has it, or has it pushed earlier in this plan. (A registry that does not mount
    /// has it uploaded instead.)
    Mount {
        from: String,
    },
    Upload,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentPlan {
    pub kind: Kind,
    /// One of this kind hangs there already. It is kept where it turns out to be sound: whether it is, takes its
    /// signature to be checked, which a plan does not.
    pub there: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagMove {
    pub tag: String,
    /// The digest that it points to now, where it is there.
    pub from: Option<String>,
    pub to: String,
}

impl TagMove {
    pub fn moves(&self) -> bool {
        self.from.as_ref() != Some(&self.to)
    }
}

/// An image as it was proven, on each platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    pub service: String,
    pub image: String,
    pub manifests: Vec<BuiltManifest>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltManifest {
    pub platform: String,
    pub digest: String,
    pub media_type: String,
    pub size_bytes: u64,
    /// The configuration, then the layers.
    pub blobs: Vec<Descriptor>,
}

/// What a repository has now, as far as this release asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Tag -> digest, of every tag that this release would move and is there.
    pub tags: BTreeMap<String, String>,
    /// Digests of manifests and blobs that are there.
    pub there: BTreeSet<String>,
    /// Digest -> kinds of what hangs there.
    pub attached: BTreeMap<String, BTreeSet<Kind>>,
}

/// What is released, under which names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub version: String,
    pub snapshot: bool,
    pub commit: String,
    pub source: Option<String>,
    pub host: String,
    pub owner: String,
    /// In the order in which they move.
    pub tags: Vec<String>,
}

/// The tag that makes a version spent.
pub fn claim(version: &str) -> String {
    format!("claim-{version}")
}

/// Works out the plan. `standing` has an entry for every repository that could be asked.
pub fn work_out(named: &Named, images: &[Built], standing: &BTreeMap<String, Standing>) -> ReleasePlan {
    let repositories: Vec<(String, &Built)> = images
        .iter()
        .map(|image| (named.repository(&image.image), image))
        .collect();
    let mut lenders = Lenders::new(&repositories, standing);
    let images = repositories.iter().map(|(repository, image)| {
        let has = standing.get(repository);
        image_release(named, repository, image, has, &mut lenders)
    });
    ReleasePlan {
        images: images.collect(),
        version: named.version.clone(),
        snapshot: named.snapshot,
        commit: named.commit.clone(),
        source: named.source.clone(),
        host: named.host.clone(),
        owner: named.owner.clone(),
    }
}

impl Named {
    /// Within the registry: `owner/image`.
    pub fn repository(&self, image: &str) -> String {
        match self.owner.as_str() {
            "" => image.to_owned(),
            owner => format!("{owner}/{image}"),
        }
    }
}

/// Who has a blob, or will have it by the time that the next repository's turn comes.
struct Lenders(BTreeMap<String, String>);

impl Lenders {
    fn new(repositories: &[(String, &Built)], standing: &BTreeMap<String, Standing>) -> Self {
        let mut of = BTreeMap::new();
        for (repository, image) in repositories {
            let has = standing.get(repository).map(|standing| &standing.there);
            let blobs = image.manifests.iter().flat_map(|manifest| &manifest.blobs);
            for blob in blobs.filter(|blob| has.is_some_and(|has| has.contains(&blob.digest))) {
                of.entry(blob.digest.clone()).or_insert(repository.clone());
            }
        }
        Lenders(of)
    }

    /// How this repository comes to have a blob that it lacks.
    fn step(&mut self, repository: &str, digest: &str) -> BlobStep {
        match self.0.get(digest) {
            Some(lender) if lender != repository => BlobStep::Mount { from: lender.clone() },
            Some(_) => BlobStep::There,
            None => {
                self.0.insert(digest.to_owned(), repository.to_owned());
                BlobStep::Upload
            }
        }
    }
}

fn image_release(
    named: &Named,
    repository: &str,
    image: &Built,
    has: Option<&Standing>,
    lenders: &mut Lenders,
) -> ImageRelease {
    let nothing = Standing::default();
    let standing = has.unwrap_or(&nothing);
    let mut built: Vec<&BuiltManifest> = image.manifests.iter().collect();
    built.sort_by(|a, b| a.platform.cmp(&b.platform));
    let index = (built.len() > 1).then(|| index(&built, standing));
    let manifests: Vec<ManifestPlan> = built
        .iter()
        .map(|manifest| manifest_plan(repository, manifest, standing, lenders))
        .collect();
    let digest = match &index {
        Some(index) => index.digest.clone(),
        None => manifests
            .first()
            .map(|manifest| manifest.digest.clone())
            .unwrap_or_default(),
    };
    let moved = |tag: &String| TagMove {
        tag: tag.clone(),
        from: standing.tags.get(tag).cloned(),
        to: digest.clone(),
    };
    ImageRelease {
        service: image.service.clone(),
        image: image.image.clone(),
        repository: repository.to_owned(),
        claim: (!named.snapshot).then(|| moved(&claim(&named.version))),
        tags: named.tags.iter().map(moved).collect(),
        digest,
        manifests,
        index,
        asked: has.is_some(),
    }
}

fn manifest_plan(
    repository: &str,
    manifest: &BuiltManifest,
    standing: &Standing,
    lenders: &mut Lenders,
) -> ManifestPlan {
    let mut seen = BTreeSet::new();
    let blobs = manifest.blobs.iter().filter(|blob| seen.insert(&blob.digest));
    let blobs = blobs.map(|blob| BlobPlan {
        digest: blob.digest.clone(),
        size_bytes: blob.size,
        step: match standing.there.contains(&blob.digest) {
            true => BlobStep::There,
            false => lenders.step(repository, &blob.digest),
        },
    });
    ManifestPlan {
        platform: manifest.platform.clone(),
        digest: manifest.digest.clone(),
        media_type: manifest.media_type.clone(),
        size_bytes: manifest.size_bytes,
        there: standing.there.contains(&manifest.digest),
        blobs: blobs.collect(),
        attachments: attachments(&Kind::ALL, &manifest.digest, standing),
    }
}

fn attachments(kinds: &[Kind], subject: &str, standing: &Standing) -> Vec<AttachmentPlan> {
    let there = standing.attached.get(subject);
    let attachment = |kind: &Kind| AttachmentPlan {
        kind: *kind,
        there: there.is_some_and(|kinds| kinds.contains(kind)),
    };
    kinds.iter().map(attachment).collect()
}

/// The index over an image's platforms (image-spec, `image-index.md`): the same manifests give the same bytes.
fn index(built: &[&BuiltManifest], standing: &Standing) -> IndexPlan {
    let descriptor = |manifest: &&BuiltManifest| Descriptor {
        media_type: manifest.media_type.clone(),
        digest: manifest.digest.clone(),
        size: manifest.size_bytes,
        artifact_type: None,
        platform: platform(&manifest.platform),
        annotations: BTreeMap::new(),
    };
    let manifests: Vec<Descriptor> = built.iter().map(descriptor).collect();
    let text =
        serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string();
    let digest = format!("sha256:{}", crate::hash::of(&text));
    IndexPlan {
        there: standing.there.contains(&digest),
        attachments: attachments(&[Kind::Signature], &digest, standing),
        digest,
        text,
    }
}

fn platform(words: &str) -> Option<Platform> {
    let (os, architecture) = words.split_once('/')?;
    Some(Platform {
        os: os.to_owned(),
        architecture: architecture.to_owned(),
    })
}

#[cfg(test)]
mod tests;
