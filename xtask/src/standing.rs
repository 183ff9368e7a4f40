//! Images that need no build: those that carry the key of their inputs in this engine, or that a registry
//! offers. A name is a claim; what proves it is the digest that our own cache recorded when it was built.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::bases::Bases;
use crate::build::Built;
use crate::cache::Kept;
use crate::context::Context;
use crate::engine::{Engine, ImageFacts};
use crate::fingerprint::Inputs;
use crate::plan::{ImagePlan, Plan};
use crate::process::{self, Call};
use crate::proof::Made;
use crate::tool::imagetools;
use crate::verdict::Origin;

/// How many images of earlier inputs keep their name in the engine, for those who go back and forth.
const KEPT_KEYS: usize = 4;
/// How long a registry may take to say whether it has an image.
const ANSWER: Duration = Duration::from_secs(10);
/// How long it may take to hand one over.
const PULL: Duration = Duration::from_secs(300);

/// Which image is meant: the key stands for everything that it is made from.
#[derive(Serialize)]
struct Claim<'a> {
    image: &'a str,
    key: &'a str,
}

/// What our cache says of an image that was built.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Proof {
    digest: String,
    /// The local base images that it stood on, name -> id: a tag may be made again with other content.
    bases: BTreeMap<String, String>,
    /// How it came about.
    made: Option<Made>,
}

/// Where a service was built last, for `why`.
#[derive(Serialize)]
struct Place<'a> {
    root: &'a str,
    service: &'a str,
}

/// The last build of a service in this checkout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LastBuild {
    pub digest: String,
    pub key: String,
    pub inputs: Inputs,
}

/// The tag that says from which inputs an image was made.
fn key_tag(key: &str) -> String {
    format!("key-{}", &key[..32.min(key.len())])
}

fn proof(context: &Context, image: &ImagePlan) -> Option<Kept<Proof>> {
    let claim = Claim {
        image: &image.service.image,
        key: &image.key,
    };
    context.cache.get("image", &claim)
}

/// The image that a run built from these very inputs, as far as our cache knows; whether it stands in the engine
/// is not asked.
pub fn proven(context: &Context, image: &ImagePlan) -> Option<Built> {
    let proof = proof(context, image).filter(|_| !context.options.fresh)?;
    let facts = ImageFacts {
        id: proof.value.digest.clone(),
        ..ImageFacts::default()
    };
    Some(Built::new(context, image, facts, origin(&proof)))
}

/// Whether our cache says that a run built `digest` from these very inputs.
pub fn is_proof(context: &Context, image: &ImagePlan, digest: &str) -> bool {
    proof(context, image).is_some_and(|proof| proof.value.digest == digest)
}

fn origin(proof: &Kept<Proof>) -> Origin {
    Origin::Reused {
        run_id: proof.run_id.clone(),
        age_s: proof.age_s(),
    }
}

/// The run that built an image from these very inputs, as far as our cache knows.
pub fn proven_by(context: &Context, image: &ImagePlan) -> Option<String> {
    proof(context, image).map(|proof| proof.run_id)
}

/// The images of the plan that need no build, and what a reader should know of those that were offered.
///
/// # Errors
/// The engine's.
pub async fn find(context: &Context, engine: &Engine, plan: &Plan) -> Result<(Vec<Built>, Vec<String>)> {
    if context.options.fresh {
        return Ok((Vec::new(), Vec::new()));
    }
    let (mut found, mut words) = (Vec::new(), Vec::new());
    if context.options.from.is_some() && !engine.containerd_store {
        words.push(
            "--from is left out: this engine's image store keeps no digest (containerd's does)".to_owned(),
        );
    }
    let bases = engine.ids(plan.bases.build_images()).await?;
    let looks = join_all(
        plan.images
            .iter()
            .map(|image| look(context, engine, image, &bases)),
    )
    .await;
    for look in looks {
        let (built, word) = look?;
        found.extend(built);
        words.extend(word);
    }
    Ok((found, words))
}

async fn look(
    context: &Context,
    engine: &Engine,
    image: &ImagePlan,
    bases: &BTreeMap<String, String>,
) -> Result<(Option<Built>, Option<String>)> {
    let proof = proof(context, image).filter(|proof| proof.value.bases == *bases);
    let (name, tag) = (&image.service.image, key_tag(&image.key));
    let reference = format!("{name}:{tag}");
    let is_proven = |facts: &ImageFacts| proof.as_ref().is_some_and(|proof| facts.id == proof.value.digest);
    let mut here = engine.image(&reference).await?.filter(is_proven);
    let mut word = None;
    let from = context.options.from.as_ref().filter(|_| engine.containerd_store);
    if let (None, Some(from)) = (&here, from) {
        let offer = format!("{}/{name}", from.trim_end_matches('/'));
        word = fetch(context, engine, image, &offer, proof.as_ref()).await.err();
        here = engine.image(&reference).await?.filter(is_proven);
    }
    let (Some(proof), Some(facts)) = (&proof, here) else {
        return Ok((None, word));
    };
    engine.tag(&facts.id, name, "latest").await?;
    let mut built = Built::new(context, image, facts, origin(proof));
    built.made = proof.value.made.clone();
    Ok((Some(built), word))
}

/// Takes an image from a registry by the digest that we recorded. The error is a word for the reader: nothing
/// that a registry does can fail a run, since the image can be built here.
async fn fetch(
    context: &Context,
    engine: &Engine,
    image: &ImagePlan,
    offer: &str,
    proof: Option<&Kept<Proof>>,
) -> Result<(), String> {
    let built_here = |why: &str| format!("{}: {why}; built here instead", image.service.name);
    let Some(proof) = proof else {
        let claim = format!("{offer}:{}", key_tag(&image.key));
        let why = match asked(context, &claim).await {
            Ok(()) => {
                format!("{claim} is offered, but nothing proves it (no digest recorded by us, no signature)")
            }
            Err(why) => format!("{offer} offers nothing that fits ({why})"),
        };
        return Err(built_here(&why));
    };
    let reference = format!("{offer}@{}", proof.value.digest);
    asked(context, &reference)
        .await
        .map_err(|why| built_here(&format!("{offer} does not give it ({why})")))?;
    let mut pull = Call::new(["docker", "pull", "--quiet", &reference]).log(context.log("pull"));
    pull.deadline = PULL;
    process::run_ok(context, &pull)
        .await
        .map_err(|error| built_here(&format!("{error:#}")))?;
    let tagged = engine
        .tag(&reference, &image.service.image, &key_tag(&image.key))
        .await;
    // Only our own names keep it.
    let _ = engine.untag(&reference).await;
    tagged.map_err(|error| built_here(&format!("{error:#}")))
}

/// Whether a registry has a reference; if not, its last words.
async fn asked(context: &Context, reference: &str) -> Result<(), String> {
    match process::run(context, &imagetools::inspect(reference, ANSWER)).await {
        Ok(output) if output.success() => Ok(()),
        Ok(output) => Err(imagetools::last_words(&output.stderr)),
        Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
    }
}

/// Names a new image by its key and by `latest`, and records the digest as the proof of that name.
///
/// # Errors
/// The engine's.
pub async fn remember(context: &Context, engine: &Engine, bases: &Bases, built: &Built) -> Result<()> {
    let (service, plan) = (&built.plan.service, &built.plan);
    for tag in ["latest", &key_tag(&plan.key)] {
        engine.tag(&built.digest, &service.image, tag).await?;
    }
    let claim = Claim {
        image: &service.image,
        key: &plan.key,
    };
    let proof = Proof {
        digest: built.digest.clone(),
        bases: engine.ids(bases.build_images()).await?,
        made: built.made.clone(),
    };
    context.cache.put("image", &claim, &proof);
    let root = context.root.display().to_string();
    let last = LastBuild {
        digest: built.digest.clone(),
        key: plan.key.clone(),
        inputs: plan.inputs.clone(),
    };
    context.cache.put(
        "last-build",
        &Place {
            root: &root,
            service: &service.name,
        },
        &last,
    );
    forget_old_keys(engine, &service.image).await;
    Ok(())
}

/// Takes the names of older inputs away; layers that nothing else uses go with them. A name that a container
/// still needs stays until another time.
async fn forget_old_keys(engine: &Engine, image: &str) {
    let mut tagged = engine
        .references(&format!("{image}:key-*"))
        .await
        .unwrap_or_default();
    tagged.sort_by_key(|(_, tagged_at)| std::cmp::Reverse(*tagged_at));
    for (reference, _) in tagged.into_iter().skip(KEPT_KEYS) {
        let _ = engine.untag(&reference).await;
    }
}

/// The last build of a service in this checkout.
pub fn last_build(context: &Context, service: &str) -> Option<Kept<LastBuild>> {
    let root = context.root.display().to_string();
    context.cache.get("last-build", &Place { root: &root, service })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_tag_is_a_legal_one() {
        assert_eq!(key_tag(&"a".repeat(64)), format!("key-{}", "a".repeat(32)));
    }
}
