//! The proof of this run: what it planned, built and found, put together when it ends.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{FILE, Proof, ProvenImage, VERSION, travelling};
use crate::attest::Job;
use crate::build::Built;
use crate::cache::whole;
use crate::context::Context;
use crate::engine::Engine;
use crate::exit::Failure;
use crate::hash;
use crate::plan::Plan;
use crate::verdict::{Gate, Record};

/// How an image came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub run_id: String,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    /// The programs, as they call themselves.
    pub with: Vec<String>,
}

/// What a run has in its hands when its gates have judged.
#[derive(Debug)]
pub struct Proven {
    pub engine: Engine,
    pub images: Vec<Built>,
    /// Digest -> the bill of materials of its scan.
    pub bills: BTreeMap<String, Value>,
}

impl Proven {
    /// Writes the proof into the run's folder, and with `--export` images and proof to where they are wanted. A run
    /// of the main job over all images proves something, also that they are not fit; any other proves nothing.
    ///
    /// # Errors
    /// Of the export alone: a proof that cannot be written is told, and missed by whoever wants to release.
    pub async fn keep(
        &self,
        context: &Context,
        plan: &Plan,
        records: &[Record],
        environment: &[String],
    ) -> Result<()> {
        let proof = match self.is_whole(plan) {
            true => Some(self.proof(context, plan, records, environment).await?),
            false => None,
        };
        if let Some(proof) = &proof {
            let file = context.run_dir.join(FILE);
            if let Err(error) = whole(&file, &context.run_id, &serde_json::to_vec(proof)?) {
                let word = format!(
                    "cannot write {}: {error}: nothing can be released by it",
                    context.shown(&file)
                );
                context.board.note(&word);
            }
        }
        match (&context.options.export, proof) {
            (None, _) => Ok(()),
            (Some(folder), Some(proof)) => {
                let _under_way = context.board.step("exporting the images");
                travelling::export(context, &self.engine, &proof, folder).await?;
                let count = proof.images.len();
                context.board.note(&format!(
                    "exported {count} images and their proof to {}",
                    folder.display()
                ));
                Ok(())
            }
            (Some(_), None) => {
                let what = format!("nothing was exported: {}", self.missing(plan));
                Err(Failure::undecided(what, "an export is of all images: see the build").into())
            }
        }
    }

    fn is_whole(&self, plan: &Plan) -> bool {
        plan.gates == Gate::ALL && plan.left_out.is_empty() && self.images.len() == plan.images.len()
    }

    fn missing(&self, plan: &Plan) -> String {
        let stands = |name: &str| self.images.iter().any(|built| built.plan.service.name == name);
        let names = plan.images.iter().map(|image| image.service.name.as_str());
        let missing: Vec<&str> = names.filter(|name| !stands(name)).collect();
        format!("there is no image of {}", missing.join(", "))
    }

    async fn proof(
        &self,
        context: &Context,
        plan: &Plan,
        records: &[Record],
        environment: &[String],
    ) -> Result<Proof> {
        let took = jiff::SignedDuration::try_from(context.started.elapsed()).unwrap_or_default();
        let images = self.images.iter().map(|built| self.image(built, records));
        Ok(Proof {
            version: VERSION,
            run_id: context.run_id.clone(),
            started_at: Timestamp::now() - took,
            commit: plan
                .head
                .as_ref()
                .map_or("unknown".to_owned(), |head| head.commit.clone()),
            dirty: plan.head.as_ref().is_none_or(|head| head.dirty),
            platform: plan.platform.clone(),
            environment: environment.to_vec(),
            bases_origin: plan.bases.origin.word().to_owned(),
            bases: self.bases(plan).await?,
            policies: policies(&context.root)?,
            job: Job::current(),
            images: images.collect(),
        })
    }

    /// Each base image as the Dockerfiles name it -> as it was taken: a local one by name and digest.
    async fn bases(&self, plan: &Plan) -> Result<BTreeMap<String, String>> {
        let ids = self.engine.ids(plan.bases.build_images()).await?;
        let taken = plan.bases.pinned.iter().map(|from| {
            let local = plan.bases.contexts.get(from);
            let tag = local.map(|to| to.trim_start_matches("docker-image://"));
            let to = tag.and_then(|tag| Some(format!("{tag}@{}", ids.get(tag)?)));
            (from.clone(), to.unwrap_or_else(|| from.clone()))
        });
        Ok(taken.collect())
    }

    fn image(&self, built: &Built, records: &[Record]) -> ProvenImage {
        let (plan, service) = (&built.plan, &built.plan.service);
        let own = records.iter().filter(|record| record.service == service.name);
        let made = built.made.as_ref();
        ProvenImage {
            service: service.name.clone(),
            image: service.image.clone(),
            crate_version: service.version.clone(),
            digest: built.digest.clone(),
            key: plan.key.clone(),
            revision: plan.revision.shown(),
            dockerfile: service.dockerfile().display().to_string(),
            args: plan.args.clone(),
            built_by: made.map(|made| made.run_id.clone()).unwrap_or_default(),
            build_started_at: made.map(|made| made.started_at),
            build_finished_at: made.map(|made| made.finished_at),
            built_with: made.map(|made| made.with.clone()).unwrap_or_default(),
            records: own.cloned().collect(),
            sbom: self.bills.get(&built.digest).cloned(),
        }
    }
}

/// Path in the checkout -> SHA-256 of each file below `docker/policy`.
fn policies(root: &Path) -> Result<BTreeMap<String, String>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.join("docker/policy")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                found.insert(shown, hash::of_file(&path)?);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_is_named_with_its_hash() {
        let root = tempfile::tempdir().unwrap();
        assert!(policies(root.path()).unwrap().is_empty());
        std::fs::create_dir_all(root.path().join("docker/policy/vex")).unwrap();
        std::fs::write(root.path().join("docker/policy/vex/a.json"), "").unwrap();
        let found = policies(root.path()).unwrap();
        assert_eq!(found["docker/policy/vex/a.json"], hash::of(""));
    }
}
