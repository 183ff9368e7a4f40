//! Blobs: asked for by HEAD, lent by another repository, uploaded whole (POST, then PUT), fetched and checked.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use reqwest::header::{CONTENT_LENGTH, LOCATION};
use reqwest::{Method, Response, Url};

use super::challenge::{Action, Scopes};
use super::refusal::Doing;
use super::retry::{Fault, Limits};
use super::transport::{Ask, Body, header, read_at_most};
use super::{Pushed, Repository};
use crate::exit::Failure;
use crate::hash;
use crate::layout::Descriptor;

/// What a HEAD tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blob {
    Missing,
    /// How large it is, where the answer says so: one through a proxy that packs it does not.
    There(Option<u64>),
}

/// What came of asking for an upload.
enum Begun {
    Mounted,
    /// Where the bytes go.
    At(Url),
}

impl Repository {
    /// How large a blob is, without fetching it; `None` where it is not there.
    ///
    /// # Errors
    /// Exit 3: the registry does not say how large it is, or does not answer.
    pub async fn blob_size(&self, digest: &str) -> Result<Option<u64>> {
        match self.look(digest).await? {
            Blob::Missing => Ok(None),
            Blob::There(Some(length)) => Ok(Some(length)),
            Blob::There(None) => Err(Failure::undecided(
                format!("{}@{digest}: an answer without its length", self.shown()),
                "see whether a proxy answers in the registry's place",
            )
            .into()),
        }
    }

    pub async fn has_blob(&self, digest: &str) -> Result<bool> {
        Ok(self.look(digest).await? != Blob::Missing)
    }

    async fn look(&self, digest: &str) -> Result<Blob> {
        let what = format!("{}@{digest}", self.shown());
        let once = || self.head_blob(digest, self.client.reads);
        self.again(&what, Limits::moving(0), once).await
    }

    /// A whole blob of at most `most` bytes, checked against its digest.
    ///
    /// # Errors
    /// Exit 1: the registry serves other bytes. Exit 3: it is not there, too large, or nobody answers.
    pub async fn blob(&self, digest: &str, most: u64) -> Result<Vec<u8>> {
        let what = format!("{}@{digest}", self.shown());
        let once = async || {
            let answer = self.get_blob(digest).await?;
            let bytes = read_at_most(answer, most).await?;
            self.check(digest, &format!("sha256:{}", hash::of(&bytes)))?;
            Ok(bytes)
        };
        self.again(&what, Limits::moving(most), once).await
    }

    /// Streams a blob into a file, checked against its digest and size; nothing half-written stays.
    ///
    /// # Errors
    /// As of [`Repository::blob`]; a disk that is full.
    pub async fn fetch_blob(&self, descriptor: &Descriptor, file: &Path) -> Result<()> {
        let what = format!("{}@{}", self.shown(), descriptor.digest);
        let limits = Limits::moving(descriptor.size);
        self.again(&what, limits, || self.fetch_once(descriptor, file))
            .await
    }

    async fn fetch_once(&self, descriptor: &Descriptor, file: &Path) -> Result<(), Fault> {
        let folder = file.parent().unwrap_or(Path::new(""));
        let cannot = || format!("cannot write {}", file.display());
        let mut part = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
        let mut answer = self.get_blob(&descriptor.digest).await?;
        let mut length = 0;
        loop {
            let piece = answer.chunk().await;
            let Some(piece) = piece.map_err(|error| self.client.unreachable(&error))? else {
                break;
            };
            length += piece.len() as u64;
            if length > descriptor.size {
                break;
            }
            part.write_all(&piece).with_context(cannot)?;
        }
        let found = hash::of_file(part.path()).with_context(cannot)?;
        if length != descriptor.size {
            let size = format!("{} bytes of {}", length, descriptor.size);
            return Err(self.other(&descriptor.digest, &size).into());
        }
        self.check(&descriptor.digest, &format!("sha256:{found}"))?;
        part.persist(file)
            .map_err(|error| anyhow::Error::from(error.error))
            .with_context(cannot)?;
        Ok(())
    }

    async fn get_blob(&self, digest: &str) -> Result<Response, Fault> {
        let answer = self
            .client
            .send(&self.read(Method::GET, &blob(digest)).await?)
            .await?;
        match answer.status().as_u16() {
            200 => Ok(answer),
            404 => Err(Failure::undecided(
                format!("{}@{digest}: is not there", self.shown()),
                "it was never pushed, or somebody deleted it: release again",
            )
            .into()),
            _ => Err(self.refused(Doing::Read, answer).await),
        }
    }

    async fn head_blob(&self, digest: &str, action: Action) -> Result<Blob, Fault> {
        let ask = self.ask(Method::HEAD, &blob(digest), action).await?;
        let answer = self.client.send(&ask).await?;
        match answer.status().as_u16() {
            200 => {
                let length = header(&answer, CONTENT_LENGTH.as_str());
                Ok(Blob::There(length.and_then(|length| length.parse().ok())))
            }
            404 => Ok(Blob::Missing),
            _ => Err(self.refused(Doing::Read, answer).await),
        }
    }

    /// Sees to it that the repository has a blob: asks first, then mounts from the first of `lenders` (names of
    /// repositories of the same registry) that has it, then uploads the file.
    ///
    /// # Errors
    /// Exit 2: no login, no right, a registry that is read-only, a file that is another one. Exit 3: no answer.
    pub async fn push_blob(&self, digest: &str, file: &Path, lenders: &[String]) -> Result<Pushed> {
        let size = std::fs::metadata(file).map(|facts| facts.len());
        let size = size.map_err(|error| {
            let what = format!("cannot read {}: {error}", file.display());
            Failure::usage(what, "export the images anew")
        })?;
        let what = format!("{}: {digest}", self.shown());
        self.again(&what, Limits::moving(size), || {
            self.push_once(digest, file, size, lenders)
        })
        .await
    }

    /// A try begins anew each time: what came of the last one is the registry's to say.
    async fn push_once(
        &self,
        digest: &str,
        file: &Path,
        size: u64,
        lenders: &[String],
    ) -> Result<Pushed, Fault> {
        if self.head_blob(digest, Action::Push).await? != Blob::Missing {
            return Ok(Pushed::There);
        }
        let lender = self.lender(digest, lenders).await;
        let begun = match self.begin(digest, lender).await {
            // A right to one of the two repositories alone, or a registry that knows no lending, is no reason to fail.
            Err(Fault::Final(_)) if lender.is_some() => self.begin(digest, None).await?,
            begun => begun?,
        };
        match begun {
            Begun::Mounted => Ok(Pushed::Mounted),
            Begun::At(place) => {
                self.upload(place, digest, file, size).await?;
                Ok(Pushed::Uploaded)
            }
        }
    }

    /// The first other repository that has the blob. One that cannot be asked lends nothing.
    async fn lender<'l>(&self, digest: &str, lenders: &'l [String]) -> Option<&'l str> {
        for lender in lenders.iter().filter(|lender| **lender != self.name) {
            let other = self.client.repository(lender);
            if let Ok(Blob::There(_)) = other.head_blob(digest, Action::Pull).await {
                return Some(lender);
            }
        }
        None
    }

    async fn begin(&self, digest: &str, lender: Option<&str>) -> Result<Begun, Fault> {
        let mut ask = self.ask(Method::POST, "blobs/uploads/", Action::Push).await?;
        if let Some(lender) = lender {
            ask.url
                .query_pairs_mut()
                .append_pair("mount", digest)
                .append_pair("from", lender);
            ask.scopes = ask.scopes.and(lender, Action::Pull);
        }
        let answer = self.client.send(&ask).await?;
        match (answer.status().as_u16(), header(&answer, LOCATION.as_str())) {
            (201, _) if lender.is_some() => Ok(Begun::Mounted),
            // Also where it does not lend: the upload goes on in the session that it gave.
            (202, Some(place)) => Ok(Begun::At(self.client.follow(&ask.url, &place)?)),
            (202, None) => Err(Failure::undecided(
                format!("{}: begins an upload and does not say where", self.shown()),
                "see whether a proxy takes the header Location away",
            )
            .into()),
            _ if lender.is_some() => Err(self.refused(Doing::Borrow, answer).await),
            _ => Err(self.refused(Doing::Begin, answer).await),
        }
    }

    async fn upload(&self, mut place: Url, digest: &str, file: &Path, size: u64) -> Result<(), Fault> {
        place.query_pairs_mut().append_pair("digest", digest);
        let ask = Ask::new(Method::PUT, place, Scopes::new(&self.name, Action::Push));
        let answer = self.client.send(&ask.body(Body::File(file, size))).await?;
        match answer.status().as_u16() {
            201 | 204 => Ok(()),
            400 if !is_whole(file, digest) => Err(Failure::usage(
                format!("{} is not {digest}", file.display()),
                "it was changed or damaged: export the images anew",
            )
            .into()),
            _ => Err(self.refused(Doing::Write, answer).await),
        }
    }

    /// Whether this user may push here: begins an upload and takes it back.
    ///
    /// # Errors
    /// Exit 2 with what is missing: no login, no right, a registry that is read-only. Exit 3: no answer.
    pub async fn may_push(&self) -> Result<()> {
        let once = async || {
            let Begun::At(place) = self.begin("", None).await? else {
                return Ok(());
            };
            // An upload that goes nowhere ends on its own: not every registry lets it be taken back.
            let scopes = Scopes::new(&self.name, Action::Push);
            let _ = self.client.send(&Ask::new(Method::DELETE, place, scopes)).await;
            Ok(())
        };
        self.again(&self.shown(), Limits::moving(0), once).await
    }

    /// What a digest names must have it.
    pub(super) fn check(&self, wanted: &str, found: &str) -> Result<(), Failure> {
        match wanted == found {
            true => Ok(()),
            false => Err(self.other(wanted, found)),
        }
    }

    fn other(&self, wanted: &str, found: &str) -> Failure {
        Failure::violated(
            format!(
                "{}@{wanted}: the registry serves something else ({found})",
                self.shown()
            ),
            "what lies there is damaged or was replaced: trust nothing of it, and ask who runs the registry",
        )
    }
}

fn blob(digest: &str) -> String {
    format!("blobs/{digest}")
}

fn is_whole(file: &Path, digest: &str) -> bool {
    hash::of_file(file).is_ok_and(|found| digest == format!("sha256:{found}"))
}
