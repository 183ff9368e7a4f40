//! What the registry has: which versions, tags, manifests and blobs, and whether this version may still become these
//! digests. Everything is asked side by side, and nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use semver::Version;

use super::{failure, images};
use crate::attest::Kind;
use crate::context::Context;
use crate::exit::Failure;
use crate::layout::Descriptor;
use crate::registry::{Client, Repository};
use crate::release::plan::{self, Built, ImageRelease, Named, ReleasePlan, Standing, TagMove};
use crate::release::settings::Settings;
use crate::release::tags::{self, Occasion};

/// Requests to one repository at once.
const AT_ONCE: usize = 4;
/// Where an attachment says what kind of statement it is.
const PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";

/// What is to be published, before it is known which tags move.
pub(super) struct Wanted {
    pub(super) named: Named,
    pub(super) occasion: Occasion,
    /// Versions that were taken back: where their tags stay, they are released no more.
    pub(super) withdrawn: Vec<Version>,
}

#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) plan: Option<ReleasePlan>,
    pub(super) problems: Vec<Failure>,
    pub(super) notes: Vec<String>,
}

/// Asks, and plans by the answers. A dry run does not ask whether it may push.
pub(super) async fn ask(context: &Context, wanted: Wanted, built: &[Built], dry_run: bool) -> Asked {
    let mut asked = Asked::default();
    let client = Client::to_push(context, &wanted.named.host);
    let client = client.map_err(|error| asked.problems.push(failure(error))).ok();
    let repositories: Vec<Repository> = client
        .iter()
        .flat_map(|client| repositories(client, &wanted, built))
        .collect();
    let mut released = Vec::new();
    let mut answering = Vec::new();
    let listed = join_all(repositories.iter().map(|repository| access(repository, dry_run))).await;
    for (at, listed) in listed.into_iter().enumerate() {
        match listed {
            Ok(tags) => {
                released.extend(tags::versions(tags.iter().map(String::as_str)));
                answering.push(at);
            }
            Err(error) => asked.problems.push(failure(error)),
        }
    }
    released.retain(|version| !wanted.withdrawn.contains(version));
    if let Occasion::Version(version) = &wanted.occasion {
        asked.notes.extend(tags::staying(version, &released));
    }
    let commit = wanted.named.commit.clone();
    let names = match tags::tags(&wanted.occasion, &commit, &released) {
        Ok(names) => names,
        Err(error) => {
            asked.problems.push(failure(error));
            return asked;
        }
    };
    let named = Named {
        version: names.first().cloned().unwrap_or_default(),
        tags: names,
        ..wanted.named
    };
    // What is there and what is to come share digests and tags: worked out once without the registry's answers.
    let bare = plan::work_out(&named, built, &BTreeMap::new());
    let looks = answering
        .iter()
        .map(|at| standing(&repositories[*at], &bare, *at));
    let mut standings = BTreeMap::new();
    for (at, standing) in answering.iter().zip(join_all(looks).await) {
        match standing {
            Ok(standing) => {
                standings.insert(bare.images[*at].repository.clone(), standing);
            }
            Err(error) => asked.problems.push(failure(error)),
        }
    }
    let mut plan = plan::work_out(&named, built, &standings);
    asked.problems.extend(spent(&plan));
    asked.notes.extend(keep_commit(&mut plan));
    let lost = answering
        .iter()
        .map(|at| lost_platforms(&repositories[*at], &plan.images[*at]));
    for lost in join_all(lost).await {
        match lost {
            Ok(lost) => asked.notes.extend(lost),
            Err(error) => asked.problems.push(failure(error)),
        }
    }
    asked.plan = Some(plan);
    asked
}

/// Where we are not let in, asked of every image that the checkout declares.
pub(super) async fn locked_out(context: &Context, settings: &Settings, dry_run: bool) -> Vec<Failure> {
    let asking = async {
        let client = Client::to_push(context, &settings.host)?;
        let names = images::declared(&context.root)?.into_values();
        let repositories: Vec<Repository> = names
            .map(|name| client.repository(&settings.repository(&name)))
            .collect();
        anyhow::Ok(join_all(repositories.iter().map(|one| access(one, dry_run))).await)
    };
    match asking.await {
        Ok(answers) => answers.into_iter().filter_map(Result::err).map(failure).collect(),
        Err(error) => vec![failure(error)],
    }
}

fn repositories(client: &Arc<Client>, wanted: &Wanted, built: &[Built]) -> Vec<Repository> {
    let names = built.iter().map(|image| wanted.named.repository(&image.image));
    names.map(|name| client.repository(&name)).collect()
}

/// What is published as a commit stays so: a snapshot of the same commit leaves its tag alone, on every image.
fn keep_commit(plan: &mut ReleasePlan) -> Option<String> {
    let is_commit = |moved: &TagMove| moved.tag.starts_with("sha-");
    let moves_on = |moved: &TagMove| is_commit(moved) && moved.from.is_some() && moved.moves();
    let mut all = plan.images.iter().flat_map(|image| &image.tags);
    if !plan.snapshot || !all.any(moves_on) {
        return None;
    }
    for image in &mut plan.images {
        image.tags.retain(|moved| !is_commit(moved));
    }
    Some(format!(
        "sha-{} stays: it was published before, as another digest",
        plan.commit
    ))
}

/// Platforms that tags of an image offer now, and will offer no more.
async fn lost_platforms(repository: &Repository, image: &ImageRelease) -> Result<Vec<String>> {
    let moving = image.tags.iter().filter(|moved| moved.moves());
    let from: BTreeSet<&String> = moving.clone().filter_map(|moved| moved.from.as_ref()).collect();
    let mut notes = Vec::new();
    for digest in from {
        let raw = repository.manifest(digest).await?;
        let raw = raw.filter(|raw| raw.media_type == plan::INDEX);
        let parts = raw.map(|raw| serde_json::from_slice::<Index>(&raw.bytes));
        let parts = parts.transpose().ok().flatten().unwrap_or_default().manifests;
        let platforms = parts.iter().filter_map(|part| part.platform.as_ref());
        let offered = platforms.map(ToString::to_string);
        let is_lost = |offered: &String| !image.manifests.iter().any(|ours| ours.platform == *offered);
        let lost: Vec<String> = offered.filter(is_lost).collect();
        if !lost.is_empty() {
            let tags = moving.clone().filter(|moved| moved.from.as_ref() == Some(digest));
            let tags: Vec<&str> = tags.map(|moved| moved.tag.as_str()).collect();
            let (tags, lost) = (tags.join(", "), lost.join(", "));
            notes.push(format!(
                "{}: {tags} had {lost}, and this release has not (--images names each platform's folder)",
                image.image
            ));
        }
    }
    Ok(notes)
}

#[derive(Debug, Default, serde::Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// The tags of a repository that this user may push to.
async fn access(repository: &Repository, dry_run: bool) -> Result<Vec<String>> {
    if !dry_run {
        repository.may_push().await?;
    }
    repository.tags().await
}

/// What the repository has of the image at this place of the plan.
async fn standing(repository: &Repository, bare: &ReleasePlan, at: usize) -> Result<Standing> {
    let image = &bare.images[at];
    let mut standing = Standing::default();
    let tags: Vec<&str> = image
        .tags
        .iter()
        .chain(&image.claim)
        .map(|moved| moved.tag.as_str())
        .collect();
    let answers = stream::iter(tags.iter().map(|tag| repository.resolve(tag)));
    let answers: Vec<_> = answers.buffered(AT_ONCE).collect().await;
    for (tag, answer) in tags.iter().zip(answers) {
        if let Some(descriptor) = answer? {
            standing.tags.insert((*tag).to_owned(), descriptor.digest);
        }
    }
    let subjects = image.manifests.iter().map(|manifest| &manifest.digest);
    let subjects: BTreeSet<&String> = subjects.chain([&image.digest]).collect();
    for subject in subjects {
        if repository.resolve(subject).await?.is_some() {
            standing.there.insert(subject.clone());
            standing
                .attached
                .insert(subject.clone(), attached(repository, subject).await?);
        }
    }
    let blobs = image.manifests.iter().flat_map(|manifest| &manifest.blobs);
    let blobs: Vec<&str> = blobs.map(|blob| blob.digest.as_str()).collect();
    let answers = stream::iter(blobs.iter().map(|digest| repository.has_blob(digest)));
    let answers: Vec<_> = answers.buffered(AT_ONCE).collect().await;
    for (digest, answer) in blobs.iter().zip(answers) {
        if answer? {
            standing.there.insert((*digest).to_owned());
        }
    }
    Ok(standing)
}

/// The kinds of what hangs on a digest, as it says of itself.
async fn attached(repository: &Repository, subject: &str) -> Result<BTreeSet<Kind>> {
    let referrers = repository.referrers(subject).await?;
    let said = referrers
        .iter()
        .filter_map(|one| one.annotations.get(PREDICATE_TYPE));
    let kind = |said: &String| Kind::ALL.into_iter().find(|kind| kind.predicate_type() == said);
    Ok(said.filter_map(kind).collect())
}

/// The images of which this version is another digest already: its claim says so, or its tag.
pub(super) fn spent(plan: &ReleasePlan) -> Vec<Failure> {
    if plan.snapshot {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for image in &plan.images {
        let exact = image.tags.iter().filter(|moved| moved.tag == plan.version);
        let taken = image.claim.iter().chain(exact).find_map(|moved| {
            let from = moved.from.as_ref().filter(|_| moved.moves())?;
            Some((moved, from))
        });
        if let Some((moved, from)) = taken {
            let what = format!(
                "{}/{}: version {} was published as {from} (its tag {}), this is {}",
                plan.host, image.repository, plan.version, moved.tag, moved.to
            );
            let hint = "versions are immutable: raise [workspace.metadata.release] version in Cargo.toml, its section in \
                        CHANGELOG.md and the tag";
            problems.push(Failure::usage(what, hint));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::plan::BuiltManifest;

    fn plan(snapshot: bool, standing: &[(&str, &str)]) -> ReleasePlan {
        let named = Named {
            version: "1.4.2".to_owned(),
            snapshot,
            commit: "c".to_owned(),
            source: None,
            host: "ghcr.io".to_owned(),
            owner: "acme".to_owned(),
            tags: ["1.4.2", "1.4", "latest"].map(str::to_owned).to_vec(),
        };
        let built = Built {
            service: "one".to_owned(),
            image: "horme-one".to_owned(),
            manifests: vec![BuiltManifest {
                platform: "linux/amd64".to_owned(),
                digest: "sha256:new".to_owned(),
                media_type: String::new(),
                size_bytes: 1,
                blobs: Vec::new(),
            }],
        };
        let tags = standing
            .iter()
            .map(|(tag, digest)| ((*tag).to_owned(), (*digest).to_owned()));
        let standing = Standing {
            tags: tags.collect(),
            ..Standing::default()
        };
        plan::work_out(
            &named,
            &[built],
            &BTreeMap::from([("acme/horme-one".to_owned(), standing)]),
        )
    }

    fn said(standing: &[(&str, &str)]) -> Vec<String> {
        let problems = spent(&plan(false, standing));
        let words = problems.iter().map(|problem| {
            assert_eq!(problem.exit, crate::exit::Exit::Usage);
            assert!(
                problem
                    .hint
                    .as_ref()
                    .is_some_and(|hint| hint.contains("versions are immutable"))
            );
            problem.what.clone()
        });
        words.collect()
    }

    #[test]
    fn a_snapshot_leaves_what_was_published_of_its_commit() {
        let tags = |from: &str| {
            let mut plan = plan(true, &[]);
            let to = plan.images[0].digest.clone();
            plan.images[0].tags.push(TagMove {
                tag: "sha-c".to_owned(),
                from: Some(from.to_owned()),
                to,
            });
            let note = keep_commit(&mut plan);
            let stays = plan.images[0].tags.iter().any(|moved| moved.tag == "sha-c");
            (stays, note.is_some())
        };
        assert_eq!(tags("sha256:new"), (true, false));
        assert_eq!(tags("sha256:old"), (false, true));
    }

    #[test]
    fn a_version_never_becomes_another_digest() {
        for free in [&[][..], &[("latest", "sha256:old"), ("1.4", "sha256:old")]] {
            assert_eq!(said(free), Vec::<String>::new(), "{free:?}");
        }
        // Published before, or begun: the same digests may go on.
        assert_eq!(
            said(&[("1.4.2", "sha256:new"), ("claim-1.4.2", "sha256:new")]),
            Vec::<String>::new()
        );
        // Undone: its tag is gone, its claim is not.
        for taken in [
            &[("claim-1.4.2", "sha256:old")][..],
            &[("1.4.2", "sha256:old")],
            &[("1.4.2", "sha256:old"), ("claim-1.4.2", "sha256:old")],
            &[("1.4.2", "sha256:new"), ("claim-1.4.2", "sha256:old")],
        ] {
            let said = said(taken);
            assert_eq!(said.len(), 1, "{taken:?}");
            for words in ["ghcr.io/acme/horme-one", "1.4.2", "sha256:old", "sha256:new"] {
                assert!(said[0].contains(words), "{said:?}");
            }
        }
        assert!(spent(&plan(true, &[("1.4.2", "sha256:old")])).is_empty());
    }
}
