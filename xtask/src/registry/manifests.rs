//! Manifests, tags and what is attached: resolved, read, put, listed, and tags taken away where a registry lets them.

use std::collections::BTreeSet;

use anyhow::Result;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LINK};
use reqwest::{Method, Response};
use serde::Deserialize;

use super::challenge::{Action, Scopes};
use super::login::Login;
use super::refusal::Doing;
use super::retry::{Fault, Limits};
use super::transport::{Ask, Body, header, read_at_most};
use super::{Deleted, Raw, Repository};
use crate::exit::{Exit, Failure};
use crate::hash;
use crate::layout::Descriptor;

/// The specification's own limit for manifests: 4 MiB.
const LARGEST: u64 = 4 << 20;
/// A repository with more pages of tags than that is told so.
const PAGES: usize = 200;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

#[derive(Deserialize)]
struct Tags {
    /// `null` where a repository lost all of them.
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    manifests: Vec<Descriptor>,
}

/// The tag under which what is attached to a digest is listed where a registry has no referrers API
/// (distribution-spec 1.1, "Referrers Tag Schema"): `sha256-<hex>`.
pub(super) fn referrers_tag(digest: &str) -> String {
    digest.replace(':', "-")
}

impl Repository {
    /// What a tag or digest points to; `None` where there is none.
    pub async fn resolve(&self, reference: &str) -> Result<Option<Descriptor>> {
        let head = self
            .again(&self.named(reference), Limits::moving(0), || {
                self.head_manifest(reference)
            })
            .await?;
        match head {
            Head::Missing => Ok(None),
            Head::Known(descriptor) => Ok(Some(descriptor)),
            // Not every registry says all in an answer without a body.
            Head::Unsaid => Ok(self.manifest(reference).await?.as_ref().map(Raw::descriptor)),
        }
    }

    async fn head_manifest(&self, reference: &str) -> Result<Head, Fault> {
        let ask = self.read(Method::HEAD, &manifest(reference)).await?;
        let answer = self.client.send(&ask.accept(ACCEPT)).await?;
        match answer.status().as_u16() {
            200 => {}
            404 => return Ok(Head::Missing),
            _ => return Err(self.refused(Doing::Read, answer).await),
        }
        let digest = header(&answer, "docker-content-digest").filter(|digest| is_digest(digest));
        let size = header(&answer, CONTENT_LENGTH.as_str()).and_then(|size| size.parse().ok());
        let (Some(digest), Some(size), Some(media_type)) = (digest, size, media_type(&answer)) else {
            return Ok(Head::Unsaid);
        };
        if is_digest(reference) {
            self.check(reference, &digest)?;
        }
        Ok(Head::Known(Descriptor {
            media_type,
            digest,
            size,
            artifact_type: None,
            platform: None,
            annotations: Default::default(),
        }))
    }

    /// A manifest or an index; what a digest names is checked against it. `None` where there is none.
    ///
    /// # Errors
    /// Exit 1: other bytes than the digest says. Exit 2: no right. Exit 3: no answer, or more than 4 MiB.
    pub async fn manifest(&self, reference: &str) -> Result<Option<Raw>> {
        let once = || self.get_manifest(reference);
        self.again(&self.named(reference), Limits::moving(LARGEST), once)
            .await
    }

    async fn get_manifest(&self, reference: &str) -> Result<Option<Raw>, Fault> {
        let ask = self.read(Method::GET, &manifest(reference)).await?;
        let answer = self.client.send(&ask.accept(ACCEPT)).await?;
        match answer.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            _ => return Err(self.refused(Doing::Read, answer).await),
        }
        let said = header(&answer, "docker-content-digest");
        let media_type = media_type(&answer).unwrap_or_default();
        let bytes = read_at_most(answer, LARGEST).await?;
        let digest = format!("sha256:{}", hash::of(&bytes));
        let wanted = match is_digest(reference) {
            true => Some(reference),
            false => said.as_deref(),
        };
        self.check(wanted.unwrap_or(&digest), &digest)?;
        Ok(Some(Raw {
            digest,
            media_type,
            bytes,
        }))
    }

    /// Puts a manifest under a tag or its own digest. Answers whether the registry keeps the subject's referrers
    /// itself (`OCI-Subject`).
    ///
    /// # Errors
    /// Exit 1: the registry took it for another digest. Exit 2: no login, no right. Exit 3: no answer, or a blob that
    /// it does not find however often it is asked.
    pub async fn put_manifest(&self, reference: &str, media_type: &str, bytes: &[u8]) -> Result<bool> {
        let once = async || {
            let ask = self.ask(Method::PUT, &manifest(reference), Action::Push).await?;
            let answer = self
                .client
                .send(&ask.body(Body::Bytes(bytes, media_type)))
                .await?;
            match answer.status().as_u16() {
                200..=204 => {}
                _ => return Err(self.refused(Doing::Write, answer).await),
            }
            if let Some(said) = header(&answer, "docker-content-digest") {
                self.check(&format!("sha256:{}", hash::of(bytes)), &said)?;
            }
            Ok(header(&answer, "oci-subject").is_some())
        };
        self.again(&self.named(reference), Limits::moving(LARGEST), once)
            .await
    }

    /// Every tag, all pages, sorted (registries do not); none where the repository does not exist yet.
    ///
    /// # Errors
    /// Exit 2: no login, no right. Exit 3: whatever else is no list: taken for an empty one it would move tags back.
    pub async fn tags(&self) -> Result<Vec<String>> {
        let read = |bytes: &[u8]| {
            let page: Tags = serde_json::from_slice(bytes)?;
            Ok(page.tags.unwrap_or_default())
        };
        let mut tags = match self.pages("tags/list?n=1000", &[400, 404], read).await? {
            Pages::All(tags) => tags,
            Pages::None(404) => Vec::new(),
            // Some want no number, or a smaller one.
            Pages::None(_) => match self.pages("tags/list", &[404], read).await? {
                Pages::All(tags) => tags,
                Pages::None(_) => Vec::new(),
            },
        };
        tags.sort();
        Ok(tags)
    }

    /// What is attached to a digest: by the referrers API, or by the index under the tag `sha256-<hex>` where the
    /// registry (GHCR) has none.
    ///
    /// # Errors
    /// As of [`Repository::manifest`]; exit 3 where something else than an index lies under the tag.
    pub async fn referrers(&self, digest: &str) -> Result<Vec<Descriptor>> {
        let path = format!("referrers/{digest}");
        // The API is missing in more than one way.
        let pages = self.pages(&path, &[400, 404, 405], |bytes| {
            let index: Index = serde_json::from_slice(bytes)?;
            Ok(index.manifests)
        });
        if let Pages::All(listed) = pages.await? {
            return Ok(listed);
        }
        let tag = referrers_tag(digest);
        let Some(raw) = self.manifest(&tag).await? else {
            return Ok(Vec::new());
        };
        let index = serde_json::from_slice::<Index>(&raw.bytes).ok();
        let index = index.filter(|index| index.media_type.as_deref().unwrap_or(&raw.media_type) == INDEX);
        let index = index.ok_or_else(|| {
            Failure::undecided(
                format!("{}: is no index of what is attached", self.named(&tag)),
                "somebody keeps something else under that tag: look at it, and move it away",
            )
        })?;
        Ok(index.manifests)
    }

    /// A list over all its pages (`Link: <...>; rel="next"`); `none` are the answers that mean that there is none of
    /// that kind.
    async fn pages<T>(
        &self,
        path: &str,
        none: &[u16],
        read: impl Fn(&[u8]) -> Result<Vec<T>>,
    ) -> Result<Pages<T>> {
        let what = format!("{}: {path}", self.shown());
        let mut next = Some(self.again(&what, Limits::moving(0), || self.url(path)).await?);
        let (mut all, mut asked) = (Vec::new(), BTreeSet::new());
        while let Some(url) = next.take() {
            let once = async || {
                let ask = Ask::new(
                    Method::GET,
                    url.clone(),
                    Scopes::new(&self.name, self.client.reads),
                );
                let answer = self.client.send(&ask).await?;
                match answer.status().as_u16() {
                    200 => {}
                    status if none.contains(&status) => return Ok(Err(status)),
                    _ => return Err(self.refused(Doing::Read, answer).await),
                }
                let link = header(&answer, LINK.as_str()).and_then(|link| next_of(&link));
                let link = link.map(|link| self.client.follow(&url, &link)).transpose()?;
                Ok(Ok((read_at_most(answer, LARGEST).await?, link)))
            };
            let (bytes, link) = match self.again(&what, Limits::moving(LARGEST), once).await? {
                Ok(page) => page,
                Err(status) => return Ok(Pages::None(status)),
            };
            all.extend(read(&bytes).map_err(|error| self.no_list(path, &error.to_string()))?);
            if asked.len() >= PAGES || !asked.insert(url.to_string()) {
                return Err(self.no_list(path, "its pages do not end").into());
            }
            next = link;
        }
        Ok(Pages::All(all))
    }

    fn no_list(&self, path: &str, why: &str) -> Failure {
        Failure::undecided(
            format!("{}: {path}: no list that can be read: {why}", self.shown()),
            "see whether a proxy answers in the registry's place",
        )
    }

    /// Takes a tag away, never what it points to: a registry that knows no such thing keeps it, and so does one where
    /// this login may not. What it says it did is looked up.
    pub async fn delete_tag(&self, tag: &str) -> Result<Deleted> {
        if is_digest(tag) {
            let what = format!("{}: would delete more than a tag", self.named(tag));
            return Err(Failure::usage(what, "name a tag").into());
        }
        let Some(raw) = self.manifest(tag).await? else {
            return Ok(Deleted::Absent);
        };
        let once = || self.delete_once(tag);
        let said = self.again(&self.named(tag), Limits::moving(0), once).await?;
        if said != Deleted::Gone || self.resolve(tag).await?.is_some() {
            return Ok(Deleted::Unsupported);
        }
        self.keep(&raw).await?;
        Ok(Deleted::Gone)
    }

    async fn delete_once(&self, tag: &str) -> Result<Deleted, Fault> {
        let ask = self.ask(Method::DELETE, &manifest(tag), Action::Delete).await?;
        let refused = match self.client.send(&ask).await {
            Ok(answer) => match answer.status().as_u16() {
                200..=204 => return Ok(Deleted::Gone),
                // 404: gone with an earlier try, or (ECR) not to be deleted by tag; whether it is there tells.
                404 => return Ok(Deleted::Gone),
                // Registries that delete by digest alone say so in one of these ways.
                400 | 405 | 501 => return Ok(Deleted::Unsupported),
                _ => self.refused(Doing::Write, answer).await,
            },
            Err(fault) => fault,
        };
        let is_forbidden = matches!(&refused, Fault::Final(error)
            if error.downcast_ref::<Failure>().is_some_and(|failure| failure.exit == Exit::Usage));
        if !is_forbidden || *self.client.login().await? == Login::Nobody {
            return Err(refused);
        }
        let words = format!("{}: stays: this login may not delete tags", self.named(tag));
        self.client.context.board.note(&words);
        Ok(Deleted::Unsupported)
    }

    /// Puts a manifest back that went with one of its tags, as one that is named by its digest alone.
    async fn keep(&self, raw: &Raw) -> Result<()> {
        if self.resolve(&raw.digest).await?.is_some() {
            return Ok(());
        }
        self.put_manifest(&raw.digest, &raw.media_type, &raw.bytes)
            .await?;
        let words =
            "the registry deleted the image with a tag of it; it was put back, its other tags were not";
        self.client
            .context
            .board
            .note(&format!("{}: {words}", self.named(&raw.digest)));
        Ok(())
    }

    /// `host/name:tag` or `host/name@digest`.
    fn named(&self, reference: &str) -> String {
        let mark = if is_digest(reference) { '@' } else { ':' };
        format!("{}{mark}{reference}", self.shown())
    }
}

/// A list, or the answer that says that there is none.
enum Pages<T> {
    All(Vec<T>),
    None(u16),
}

/// What a HEAD tells.
enum Head {
    Missing,
    Known(Descriptor),
    /// That it is there, and not what.
    Unsaid,
}

impl Raw {
    /// Itself, as others name it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.clone(),
            size: self.bytes.len() as u64,
            artifact_type: None,
            platform: None,
            annotations: Default::default(),
        }
    }
}

fn manifest(reference: &str) -> String {
    format!("manifests/{reference}")
}

fn is_digest(reference: &str) -> bool {
    reference.starts_with("sha256:")
}

/// Without its parameters.
fn media_type(answer: &Response) -> Option<String> {
    let value = header(answer, CONTENT_TYPE.as_str())?;
    let kind = value.split(';').next()?.trim();
    (!kind.is_empty()).then(|| kind.to_owned())
}

/// The next page of a list (RFC 8288).
fn next_of(link: &str) -> Option<String> {
    let mut links = link.split(',').filter_map(|link| {
        let (address, words) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = words
            .split(';')
            .any(|word| matches!(word.trim(), "rel=next" | "rel=\"next\""));
        is_next.then(|| address.to_owned())
    });
    links.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_one_that_says_so() {
        for (link, next) in [
            (
                "</v2/a/tags/list?n=3&last=c>; rel=\"next\"",
                Some("/v2/a/tags/list?n=3&last=c"),
            ),
            ("<https://h/x>;rel=next", Some("https://h/x")),
            (
                "</first>; rel=\"first\", </second>; rel=\"next\"",
                Some("/second"),
            ),
            ("</first>; rel=\"first\"", None),
            ("nonsense", None),
        ] {
            assert_eq!(next_of(link).as_deref(), next, "{link}");
        }
    }
}
