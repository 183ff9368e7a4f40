//! The images: proven for this very commit, all of them, on each platform, and there as the bytes that were tested.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::checkout::Checkout;
use super::{Source, failure};
use crate::cli::ReleaseOptions;
use crate::context::Context;
use crate::exit::Failure;
use crate::layout::Layout;
use crate::proof::{self, Proof, Verified};
use crate::release::plan::{Built, BuiltManifest};
use crate::release::settings::Settings;
use crate::verdict::Gate;

/// An image manifest that does not say of which type it is.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[derive(Debug, Default)]
pub(super) struct Found {
    /// Those that are verified.
    pub(super) sources: Vec<Source>,
    /// All that are there, verified or not: for the plan.
    pub(super) built: Vec<Built>,
    pub(super) problems: Vec<Failure>,
}

/// A proof, where it was found, and the bytes where they are there.
struct Proven {
    place: String,
    proof: Proof,
    layout: Option<Layout>,
}

pub(super) async fn look(
    context: &Context,
    options: &ReleaseOptions,
    settings: &Settings,
    checkout: &Checkout,
    staging: &Path,
) -> Found {
    let mut found = Found::default();
    // That there is no commit is a problem already.
    let Some(head) = &checkout.commit else {
        return found;
    };
    let proven = match options.images.as_slice() {
        [] => of_engine(context, head, staging).await,
        folders => of_folders(context, folders),
    };
    let (proven, problems) = proven;
    found.problems.extend(problems);
    if proven.is_empty() {
        return found;
    }
    let proofs: Vec<(&str, &Proof)> = proven
        .iter()
        .map(|one| (one.place.as_str(), &one.proof))
        .collect();
    match declared(&context.root) {
        Ok(declared) => found.problems.extend(mismatches(&proofs, head, &declared)),
        Err(error) => found.problems.push(failure(error)),
    }
    let several = proven.len() > 1;
    for one in proven {
        let (place, platform) = (one.place, one.proof.platform.clone());
        match built(&one.proof, one.layout.as_ref()) {
            Ok(images) => add(&mut found.built, images),
            Err(error) => found.problems.push(failure(error)),
        }
        match Verified::of(one.proof, &Gate::ALL, &settings.ages, jiff::Timestamp::now()) {
            Ok(verified) => found
                .sources
                .extend(one.layout.map(|layout| Source { verified, layout })),
            Err(problems) => found.problems.extend(problems.into_iter().map(|problem| Failure {
                what: match several {
                    true => format!("{place} ({platform}): {}", problem.what),
                    false => problem.what,
                },
                ..problem
            })),
        }
    }
    found
}

/// What the last run here proved, out of the engine.
async fn of_engine(context: &Context, head: &str, staging: &Path) -> (Vec<Proven>, Vec<Failure>) {
    let mut problems = Vec::new();
    let mut wrong = |error| problems.push(failure(error));
    let proof = proof::latest(context, head).map_err(&mut wrong).ok();
    let engine = context.engine().await.map_err(&mut wrong).ok();
    if let Some(None) = proof {
        problems.push(unproven(head));
    }
    if let Some(engine) = engine.as_ref().filter(|engine| !engine.containerd_store) {
        let what = format!(
            "the engine {} keeps no digest: it has no containerd image store",
            engine.version
        );
        let hint = "{\"features\":{\"containerd-snapshotter\":true}} in its daemon.json, then `cargo xtask ci` again; or --images DIR";
        problems.push(Failure::usage(what, hint));
    }
    let Some(proof) = proof.flatten() else {
        return (Vec::new(), problems);
    };
    let mut layout = None;
    if let Some(engine) = engine.filter(|engine| engine.containerd_store) {
        let laid = proof::images_from_engine(context, &engine, &proof, staging).await;
        layout = laid.map_err(|error| problems.push(failure(error))).ok();
    }
    let place = format!("run {}", proof.run_id);
    (vec![Proven { place, proof, layout }], problems)
}

fn unproven(head: &str) -> Failure {
    Failure::usage(
        format!("no run here proved the commit {}", short(head)),
        "cargo xtask ci --strict; or name what another machine exported: --images DIR",
    )
}

fn of_folders(context: &Context, folders: &[std::path::PathBuf]) -> (Vec<Proven>, Vec<Failure>) {
    let mut problems = Vec::new();
    let mut proven = Vec::new();
    for folder in folders {
        match proof::from_folder(folder) {
            Ok((proof, layout)) => proven.push(Proven {
                place: context.shown(folder),
                proof,
                layout: Some(layout),
            }),
            Err(error) => problems.push(failure(error)),
        }
    }
    (proven, problems)
}

/// Service -> image of every service of the checkout. Read from the manifests alone: where images come from elsewhere,
/// a release needs no dependency of theirs.
pub(super) fn declared(root: &Path) -> Result<BTreeMap<String, String>> {
    let folder = root.join("services");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut images = BTreeMap::new();
    for entry in entries {
        let manifest = entry?.path().join("Cargo.toml");
        let Ok(text) = std::fs::read_to_string(&manifest) else {
            continue;
        };
        let table: toml::Table = text
            .parse()
            .with_context(|| format!("cannot read {}", manifest.display()))?;
        let package = table.get("package");
        let name = package.and_then(|package| package.get("name")?.as_str());
        let image = package.and_then(|package| package.get("metadata")?.get("image")?.get("name")?.as_str());
        images.extend(
            name.zip(image)
                .map(|(name, image)| (name.to_owned(), image.to_owned())),
        );
    }
    Ok(images)
}

/// Where the proofs are not about this commit, not about all of its images, or two about one platform.
fn mismatches(proofs: &[(&str, &Proof)], head: &str, declared: &BTreeMap<String, String>) -> Vec<Failure> {
    let mut problems = Vec::new();
    let mut platforms: BTreeMap<&str, &str> = BTreeMap::new();
    for (place, proof) in proofs {
        if proof.commit != head {
            let what = format!(
                "{place} proves the commit {}, checked out is {}",
                short(&proof.commit),
                short(head)
            );
            let hint = format!(
                "git checkout {}, or prove this commit: cargo xtask ci --strict",
                short(&proof.commit)
            );
            problems.push(Failure::usage(what, hint));
        }
        if let Some(other) = platforms.insert(&proof.platform, place) {
            let what = format!("{other} and {place} are both {}", proof.platform);
            problems.push(Failure::usage(
                what,
                "name one folder a platform: --images DIR, repeated",
            ));
        }
        problems.extend(other_images(place, proof, declared));
    }
    problems
}

fn other_images(place: &str, proof: &Proof, declared: &BTreeMap<String, String>) -> Option<Failure> {
    let pairs = proof
        .images
        .iter()
        .map(|image| (image.service.as_str(), image.image.as_str()));
    let proven: BTreeSet<(&str, &str)> = pairs.collect();
    let asked = declared
        .iter()
        .map(|(service, image)| (service.as_str(), image.as_str()));
    let asked: BTreeSet<(&str, &str)> = asked.collect();
    let names = |set: Vec<&(&str, &str)>| set.iter().map(|(_, image)| *image).collect::<Vec<_>>().join(", ");
    let lacking = names(asked.difference(&proven).collect());
    let strange = names(proven.difference(&asked).collect());
    let what = match (lacking.as_str(), strange.as_str()) {
        ("", "") => return None,
        (lacking, "") => format!("{place} proves no {lacking}"),
        ("", strange) => format!("{place} proves {strange}, which no service of this checkout declares"),
        (lacking, strange) => format!("{place} proves {strange} and no {lacking}"),
    };
    Some(Failure::usage(
        what,
        "all images are released or none: cargo xtask ci --strict, over all services",
    ))
}

/// The images of a proof as their manifests say.
fn built(proof: &Proof, layout: Option<&Layout>) -> Result<Vec<Built>> {
    let Some(layout) = layout else {
        return Ok(Vec::new());
    };
    let images = proof.images.iter().map(|image| {
        let manifest = layout.manifest(&image.digest)?;
        let parts = manifest.parts().cloned().collect();
        Ok(Built {
            service: image.service.clone(),
            image: image.image.clone(),
            manifests: vec![BuiltManifest {
                platform: proof.platform.clone(),
                digest: image.digest.clone(),
                size_bytes: layout.manifest_bytes(&image.digest)?.len() as u64,
                media_type: manifest.media_type.unwrap_or(MANIFEST.to_owned()),
                blobs: parts,
            }],
        })
    });
    images.collect()
}

/// Another platform's images beside those that are known.
fn add(built: &mut Vec<Built>, more: Vec<Built>) {
    for image in more {
        match built.iter_mut().find(|known| known.image == image.image) {
            Some(known) => known.manifests.extend(image.manifests),
            None => built.push(image),
        }
    }
    built.sort_by(|a, b| a.service.cmp(&b.service));
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::testing::{good, image};

    fn declared_of(proof: &Proof) -> BTreeMap<String, String> {
        let images = proof.images.iter();
        images
            .map(|image| (image.service.clone(), image.image.clone()))
            .collect()
    }

    fn said(proofs: &[(&str, &Proof)], declared: &BTreeMap<String, String>) -> Vec<String> {
        let problems = mismatches(proofs, &good().commit, declared);
        problems
            .into_iter()
            .map(|problem| {
                assert_eq!(problem.exit, crate::exit::Exit::Usage);
                assert!(problem.hint.is_some());
                problem.what
            })
            .collect()
    }

    #[test]
    fn a_proof_is_of_this_commit_and_of_all_its_images() {
        let proof = good();
        let declared = declared_of(&proof);
        assert_eq!(said(&[("a", &proof)], &declared), Vec::<String>::new());
        let other = Proof {
            commit: "f".repeat(40),
            ..good()
        };
        assert_eq!(
            said(&[("run x", &other)], &declared),
            ["run x proves the commit ffffffffffff, checked out is 012345678901"]
        );
        let mut fewer = good();
        fewer.images.truncate(1);
        assert_eq!(said(&[("a", &fewer)], &declared), ["a proves no horme-beta"]);
        let mut more = good();
        more.images.push(image("gamma", 'c'));
        assert_eq!(
            said(&[("a", &more)], &declared),
            ["a proves horme-gamma, which no service of this checkout declares"]
        );
        let mut renamed = good();
        renamed.images[0].image = "horme-omega".to_owned();
        assert_eq!(
            said(&[("a", &renamed)], &declared),
            ["a proves horme-omega and no horme-alpha"]
        );
    }

    #[test]
    fn two_proofs_are_of_two_platforms() {
        let (amd, arm) = (
            good(),
            Proof {
                platform: "linux/arm64".to_owned(),
                ..good()
            },
        );
        let declared = declared_of(&amd);
        assert_eq!(said(&[("a", &amd), ("b", &arm)], &declared), Vec::<String>::new());
        assert_eq!(
            said(&[("a", &amd), ("b", &amd)], &declared),
            ["a and b are both linux/amd64"]
        );
    }

    #[test]
    fn platforms_of_one_image_come_together() {
        let one = |image: &str, platform: &str| Built {
            service: image.to_owned(),
            image: image.to_owned(),
            manifests: vec![BuiltManifest {
                platform: platform.to_owned(),
                digest: format!("{image} {platform}"),
                media_type: String::new(),
                size_bytes: 1,
                blobs: Vec::new(),
            }],
        };
        let mut built = Vec::new();
        add(&mut built, vec![one("b", "linux/amd64"), one("a", "linux/amd64")]);
        add(&mut built, vec![one("a", "linux/arm64"), one("b", "linux/arm64")]);
        let shown = built
            .iter()
            .map(|image| (image.image.as_str(), image.manifests.len()));
        assert_eq!(shown.collect::<Vec<_>>(), [("a", 2), ("b", 2)]);
    }

    #[test]
    fn the_images_of_a_checkout_are_those_that_its_manifests_declare() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let declared = declared(root).unwrap();
        assert!(
            declared.len() > 1 && declared.values().all(|image| image.starts_with("horme-")),
            "{declared:?}"
        );
        assert!(super::declared(&root.join("docker")).is_err());
    }
}
