//! A client of registries (OCI distribution-spec 1.1): what we push, attach, read back and move, over HTTPS with the
//! token authentication that GHCR, Docker Hub and private registries share. Bytes in, bytes out; it judges nothing.

#[cfg(test)]
#[path = "../tests/it/stub/mod.rs"]
pub(crate) mod stub;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};

use crate::context::Context;
use crate::layout::Descriptor;

/// One registry, for one run: its tokens, its connections, how it is asked again.
#[derive(Debug)]
pub struct Client {
    host: String,
}

/// A repository of a registry, e.g. `ghcr.io/owner/horme-frontend`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Repository {
    client: Arc<Client>,
    name: String,
}

/// A manifest's exact bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    pub digest: String,
    pub media_type: String,
    pub bytes: Vec<u8>,
}

/// What it took to have a blob in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    There,
    /// Another repository of the registry lent it: nothing was sent.
    Mounted,
    Uploaded,
}

/// What became of a tag that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    Gone,
    /// It was not there.
    Absent,
    /// This registry deletes no tags.
    Unsupported,
}

impl Client {
    /// A client for one host (`ghcr.io`, `127.0.0.1:5000`; `docker.io` is Docker Hub). Asks nothing yet.
    ///
    /// # Errors
    /// Exit 2: credentials or certificates that are there but cannot be read.
    pub fn new(context: &Context, host: &str) -> Result<Arc<Self>> {
        let _ = context;
        Ok(Arc::new(Client {
            host: host.to_owned(),
        }))
    }

    pub fn repository(self: &Arc<Self>, name: &str) -> Repository {
        Repository {
            client: self.clone(),
            name: name.to_owned(),
        }
    }
}

impl Repository {
    /// `host/name`, as a person writes it.
    pub fn shown(&self) -> String {
        format!("{}/{}", self.client.host, self.name)
    }

    /// What a tag or digest points to; `None` where there is none.
    pub async fn resolve(&self, reference: &str) -> Result<Option<Descriptor>> {
        bail!("{reference}: not there yet")
    }

    /// A manifest or an index; what a digest names is checked against it.
    pub async fn manifest(&self, reference: &str) -> Result<Option<Raw>> {
        bail!("{reference}: not there yet")
    }

    /// Puts a manifest under a tag or its own digest. Answers whether the registry keeps the subject's referrers
    /// itself (`OCI-Subject`).
    pub async fn put_manifest(&self, reference: &str, media_type: &str, bytes: &[u8]) -> Result<bool> {
        bail!("{reference} {media_type} {}: not there yet", bytes.len())
    }

    pub async fn has_blob(&self, digest: &str) -> Result<bool> {
        bail!("{digest}: not there yet")
    }

    /// A whole blob of at most `most` bytes, checked against its digest.
    pub async fn blob(&self, digest: &str, most: u64) -> Result<Vec<u8>> {
        bail!("{digest} {most}: not there yet")
    }

    /// Streams a blob into a file, checked against its digest and size; nothing half-written stays.
    pub async fn fetch_blob(&self, descriptor: &Descriptor, file: &Path) -> Result<()> {
        bail!("{} {}: not there yet", descriptor.digest, file.display())
    }

    /// Sees to it that the repository has a blob: asks first, then mounts from one of `lenders` (names of
    /// repositories of the same registry), then uploads the file.
    pub async fn push_blob(&self, digest: &str, file: &Path, lenders: &[String]) -> Result<Pushed> {
        bail!("{digest} {} {lenders:?}: not there yet", file.display())
    }

    /// Every tag, all pages; none where the repository does not exist yet.
    pub async fn tags(&self) -> Result<Vec<String>> {
        bail!("not there yet")
    }

    pub async fn delete_tag(&self, tag: &str) -> Result<Deleted> {
        bail!("{tag}: not there yet")
    }

    /// Whether this user may push here: begins an upload and takes it back.
    ///
    /// # Errors
    /// Exit 2 with what is missing: no login, no right, a registry that is read-only. Exit 3: no answer.
    pub async fn may_push(&self) -> Result<()> {
        bail!("not there yet")
    }

    /// What is attached to a digest: by the referrers API, or by the index under the tag `sha256-<hex>` where the
    /// registry (GHCR) has none.
    pub async fn referrers(&self, digest: &str) -> Result<Vec<Descriptor>> {
        bail!("{digest}: not there yet")
    }
}
