//! The look itself: what a tag points to, what that is, and what is attached to each image in it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Deserialize;

use super::answer::{Answer, Part};
use super::judging::{self, Beside};
use super::reference::Reference;
use crate::attest::{self, Kind, Trust};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::hash;
use crate::layout::Descriptor;
use crate::registry::{Client, Raw, Repository};
use crate::release::plan;
use crate::verdict::Check;

const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

const TAG_AND_DIGEST: &str = "tag and digest";
const NOT_RELEASED: &str = "see what is published there; `docker buildx imagetools inspect` lists it";

/// An index, as far as it lists images.
#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

/// Looks at everything. Where something does not answer the rest is left out, and the answer says so.
///
/// # Errors
/// Exit 2: credentials that are refused, a trust root that is none.
pub(super) async fn look(
    context: &Context,
    reference: &Reference,
    trust: &Trust,
    max_age_days: Option<u32>,
) -> Result<Answer> {
    let mut answer = Answer::new(reference.shown(), whom(context, trust));
    let look = Look::begin(context, reference, trust, max_age_days)?;
    let looked = look.all(&mut answer).await;
    match looked.map_err(|error| error.downcast::<Failure>()) {
        Ok(()) => {}
        Err(Ok(failure)) if failure.exit == Exit::Undecided => {
            let hint = failure.hint.clone().unwrap_or_default();
            answer.check(Check::undecided("look", &failure.what, hint));
        }
        // The registry serves something else than what it names.
        Err(Ok(failure)) if failure.exit == Exit::Violated => {
            let hint = failure.hint.clone().unwrap_or_default();
            answer.check(Check::violated("look", &failure.what, hint));
        }
        Err(Ok(failure)) => return Err(failure.into()),
        Err(Err(error)) => return Err(error),
    }
    Ok(answer)
}

/// Who is trusted, as a reader calls them.
fn whom(context: &Context, trust: &Trust) -> String {
    match trust {
        Trust::Key(key) => format!("the key {}", context.shown(Path::new(key))),
        Trust::Identity { issuer, identity } => format!("{identity}, vouched for by {issuer}"),
    }
}

struct Look<'a> {
    context: &'a Context,
    reference: &'a Reference,
    trust: &'a Trust,
    repository: Repository,
    folder: tempfile::TempDir,
    max_age_days: Option<u32>,
}

impl<'a> Look<'a> {
    fn begin(
        context: &'a Context,
        reference: &'a Reference,
        trust: &'a Trust,
        max_age_days: Option<u32>,
    ) -> Result<Self> {
        let client = Client::new(context, &reference.host)?;
        Ok(Look {
            context,
            reference,
            trust,
            repository: client.repository(&reference.repository),
            folder: attest::work_folder(context)?,
            max_age_days,
        })
    }

    async fn all(&self, answer: &mut Answer) -> Result<()> {
        let Some(digest) = self.digest(answer).await? else {
            return Ok(());
        };
        answer.digest = Some(digest.clone());
        let Some(raw) = self.repository.manifest(&digest).await? else {
            let what = format!("there is no {digest}");
            answer.check(Check::violated(TAG_AND_DIGEST, what, NOT_RELEASED));
            return Ok(());
        };
        if let Some(check) = self.claim(&digest).await? {
            answer.check(check);
        }
        if !INDEXES.contains(&raw.media_type.as_str()) {
            return self.part(answer, &raw, None, &judging::OF_MANIFEST).await;
        }
        self.part(answer, &raw, Some("index"), &judging::OF_INDEX).await?;
        self.platforms(answer, &raw).await
    }

    /// The digest that is looked at: the one that was named, else the one that the tag points to.
    async fn digest(&self, answer: &mut Answer) -> Result<Option<String>> {
        let Some(tag) = &self.reference.tag else {
            let digest = self.reference.digest.clone();
            if digest.is_some() {
                answer.check(Check::passed(TAG_AND_DIGEST, "a digest was named, no tag"));
            }
            return Ok(digest);
        };
        let found = self.repository.resolve(tag).await?.map(|found| found.digest);
        answer.check(agree(tag, self.reference.digest.as_deref(), found.as_deref()));
        Ok(self.reference.digest.clone().or(found))
    }

    /// A version is claimed before anybody sees it, and for ever: its tag points to what was claimed. A tag, too, is the
    /// registry's word: no signature says which version a digest is, since one digest may be many.
    async fn claim(&self, digest: &str) -> Result<Option<Check>> {
        let version = self.reference.tag.as_deref();
        let Some(version) = version.filter(|tag| semver::Version::parse(tag).is_ok()) else {
            return Ok(None);
        };
        let claimed = self.repository.resolve(&plan::claim(version)).await?;
        let claimed = claimed.map(|claimed| claimed.digest);
        Ok(Some(match claimed {
            Some(claimed) if claimed == digest => {
                let words = format!(
                    "{version} was released with this digest (by its tag {})",
                    plan::claim(version)
                );
                Check::passed("claim", words)
            }
            Some(claimed) => Check::violated(
                "claim",
                format!("{version} was released as {claimed}: the tag was moved since"),
                format!("{}@{claimed} is what was released", self.repository.shown()),
            ),
            None => Check::violated(
                "claim",
                format!("no release claimed {version}"),
                "somebody pushed that tag by other means: do not use it",
            ),
        }))
    }

    /// Every image that an index lists. What is for no platform (a builder's own attestation) runs nowhere.
    async fn platforms(&self, answer: &mut Answer, index: &Raw) -> Result<()> {
        let manifests = serde_json::from_slice::<Index>(&index.bytes).map(|index| index.manifests);
        let mut looked_at = 0;
        for listed in manifests.unwrap_or_default() {
            let platform = listed.platform.as_ref();
            let platform = platform.map(|platform| format!("{}/{}", platform.os, platform.architecture));
            if platform.as_deref() == Some("unknown/unknown") {
                continue;
            }
            looked_at += 1;
            let of = platform.as_deref().unwrap_or("no platform");
            match self.repository.manifest(&listed.digest).await? {
                Some(raw) => self.part(answer, &raw, Some(of), &judging::OF_MANIFEST).await?,
                None => answer.check(Check::violated(
                    "platforms",
                    format!("{} for {of} is listed and is not there", listed.digest),
                    NOT_RELEASED,
                )),
            }
        }
        if looked_at == 0 {
            let hint = "do not use the image; ask whoever released it";
            answer.check(Check::violated("platforms", "the index lists no image", hint));
        }
        Ok(())
    }

    /// One manifest: what must be attached to it.
    async fn part(&self, answer: &mut Answer, raw: &Raw, of: Option<&str>, kinds: &[Kind]) -> Result<()> {
        let file = self.written(raw)?;
        let attached = attest::find(self.context, self.trust, &self.repository, &file).await?;
        let beside = Beside {
            trusted: &answer.trusted,
            image: self.reference.image(),
            platform: of.filter(|of| of.contains('/')),
            now: Timestamp::now(),
            max_age_days: self.max_age_days,
        };
        let checks = kinds.iter().map(|kind| judging::check(*kind, &attached, beside));
        answer.parts.push(Part {
            of: of.map(str::to_owned),
            digest: raw.digest.clone(),
            checks: checks.collect(),
        });
        Ok(())
    }

    /// The exact bytes, which statements are about: not what the registry calls them.
    fn written(&self, raw: &Raw) -> Result<PathBuf> {
        if format!("sha256:{}", hash::of(&raw.bytes)) != raw.digest {
            let what = format!("the registry serves other bytes as {}", raw.digest);
            return Err(Failure::violated(what, "do not use it; ask whoever runs the registry").into());
        }
        let file: &Path = Path::new(raw.digest.trim_start_matches("sha256:"));
        let file = self.folder.path().join(file);
        std::fs::write(&file, &raw.bytes).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }
}

/// Whether tag and digest agree, where both are named.
fn agree(tag: &str, named: Option<&str>, found: Option<&str>) -> Check {
    match (named, found) {
        (_, None) => Check::violated(TAG_AND_DIGEST, format!("there is no tag {tag}"), NOT_RELEASED),
        (Some(named), Some(found)) if named != found => Check::violated(
            TAG_AND_DIGEST,
            format!("{tag} points to {found}, not to {named}"),
            "one of them is not what you think; the digest was looked at",
        ),
        (Some(_), Some(_)) => Check::passed(
            TAG_AND_DIGEST,
            format!("{tag} points to the digest that was named"),
        ),
        (None, Some(found)) => Check::passed(TAG_AND_DIGEST, format!("{tag} points to {found}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;

    #[test]
    fn tag_and_digest_agree_or_are_named() {
        let outcome = |named, found| agree("1.4.2", named, found).outcome;
        assert_eq!(outcome(None, Some("sha256:a")), Outcome::Passed);
        assert_eq!(outcome(Some("sha256:a"), Some("sha256:a")), Outcome::Passed);
        assert_eq!(outcome(Some("sha256:a"), None), Outcome::Violated);
        assert_eq!(outcome(None, None), Outcome::Violated);
        let check = agree("1.4.2", Some("sha256:a"), Some("sha256:b"));
        assert_eq!(check.detail, "1.4.2 points to sha256:b, not to sha256:a");
    }
}
