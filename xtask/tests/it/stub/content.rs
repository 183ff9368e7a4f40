//! What the registry in memory holds, by repository. Two contents that hold the same are equal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repository {
    pub(crate) blobs: BTreeMap<String, Bytes>,
    /// By digest: media type and bytes.
    pub(crate) manifests: BTreeMap<String, (String, Bytes)>,
    /// To a digest.
    pub(crate) tags: BTreeMap<String, String>,
}

/// All repositories. A handle: clones see and change the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    all: Arc<Mutex<BTreeMap<String, Repository>>>,
}

impl Content {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Repository>> {
        self.all.lock().unwrap()
    }

    /// Everything, as it is now: to be compared with another time.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, Repository> {
        self.lock().clone()
    }

    /// `repository:tag` of every tag -> its digest.
    pub(crate) fn tags(&self) -> BTreeMap<String, String> {
        let all = self.lock();
        let tags = all.iter().flat_map(|(name, repository)| {
            let named = move |(tag, digest): (&String, &String)| (format!("{name}:{tag}"), digest.clone());
            repository.tags.iter().map(named)
        });
        tags.collect()
    }

    pub(crate) fn tag(&self, repository: &str, tag: &str) -> Option<String> {
        self.lock().get(repository)?.tags.get(tag).cloned()
    }

    /// A manifest's bytes, by tag or digest.
    pub(crate) fn manifest(&self, repository: &str, reference: &str) -> Option<Vec<u8>> {
        let all = self.lock();
        let repository = all.get(repository)?;
        let digest = repository.tags.get(reference).map_or(reference, String::as_str);
        let (_, bytes) = repository.manifests.get(digest)?;
        Some(bytes.to_vec())
    }

    pub(crate) fn blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        Some(self.lock().get(repository)?.blobs.get(digest)?.to_vec())
    }

    /// Puts a blob there, as another one would; its digest.
    pub(crate) fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        let mut all = self.lock();
        let repository = all.entry(repository.to_owned()).or_default();
        repository
            .blobs
            .insert(digest.clone(), Bytes::copy_from_slice(bytes));
        digest
    }

    /// Puts a manifest there under a tag, or its own digest; its digest.
    pub(crate) fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> String {
        let digest = digest(bytes);
        let mut all = self.lock();
        let repository = all.entry(repository.to_owned()).or_default();
        let kept = (media_type.to_owned(), Bytes::copy_from_slice(bytes));
        repository.manifests.insert(digest.clone(), kept);
        if !reference.starts_with("sha256:") {
            repository.tags.insert(reference.to_owned(), digest.clone());
        }
        digest
    }

    /// Takes a tag away.
    pub(crate) fn untag(&self, repository: &str, tag: &str) -> Option<String> {
        self.lock().get_mut(repository)?.tags.remove(tag)
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.snapshot() == other.snapshot()
    }
}

impl Repository {
    /// The digest of the first blob or manifest that a manifest names and that is not here.
    pub(super) fn lacks(&self, manifest: &Value) -> Option<String> {
        let layers = manifest["layers"].as_array().into_iter().flatten();
        let blobs = layers
            .chain(manifest.get("config"))
            .filter_map(|one| one["digest"].as_str());
        let lacking = |digest: &&str| !self.blobs.contains_key(*digest);
        let members = manifest["manifests"].as_array().into_iter().flatten();
        let members = members
            .filter_map(|one| one["digest"].as_str())
            .filter(|digest| !self.manifests.contains_key(*digest));
        blobs.filter(lacking).chain(members).next().map(str::to_owned)
    }

    /// Descriptors of the manifests whose subject is a digest.
    pub(super) fn referrers(&self, subject: &str) -> Vec<Value> {
        let of_subject = self.manifests.iter().filter_map(|(digest, (kind, bytes))| {
            let manifest: Value = serde_json::from_slice(bytes).ok()?;
            let artifact = [&manifest["artifactType"], &manifest["config"]["mediaType"]]
                .into_iter()
                .find(|value| value.is_string())
                .cloned();
            let mut one = serde_json::json!({
                "mediaType": kind, "digest": digest, "size": bytes.len(), "artifactType": artifact
            });
            if manifest["annotations"].is_object() {
                one["annotations"] = manifest["annotations"].clone();
            }
            (manifest["subject"]["digest"] == subject).then_some(one)
        });
        of_subject.collect()
    }
}

/// `sha256:<hex>` of some bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
