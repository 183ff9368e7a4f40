//! Whether what would build can build what the gates can judge: the builder that buildx would use, and the base images.

use anyhow::Result;

use super::BuildResult;
use crate::bases;
use crate::context::Context;
use crate::engine::Engine;
use crate::exit::Failure;
use crate::plan::{ImagePlan, Plan};
use crate::process;
use crate::tool::builder;
use crate::verdict::{Gate, Record};

/// Where the builder that buildx would use cannot build what the gates can judge: undecided, all of them.
pub(super) async fn unfit(context: &Context, plan: &Plan, images: &[ImagePlan]) -> Option<BuildResult> {
    let (why, hint) = builder_unfit(context, plan).await?;
    let judged = images.iter().filter(|image| !image.support);
    let undecided = |image: &ImagePlan| Record::undecided(&image.service.name, Gate::Build, &why, &hint);
    Some(BuildResult {
        records: judged.map(undecided).collect(),
        images: Vec::new(),
    })
}

/// For builds that are no gate.
///
/// # Errors
/// Exit 3: a builder that cannot build this plan, or base images that this engine alone could have and has not.
pub async fn refuse_unfit(context: &Context, engine: &Engine, plan: &Plan) -> Result<()> {
    if let Some((why, hint)) = builder_unfit(context, plan).await {
        return Err(Failure::undecided(why, hint).into());
    }
    let here = engine.ids(plan.bases.build_images()).await?;
    let absent = here.into_iter().filter(|(_, id)| id == "absent");
    let absent: Vec<String> = absent.map(|(name, _)| name).collect();
    if absent.is_empty() {
        return Ok(());
    }
    let what = format!("base images are missing: {}", absent.join(", "));
    Err(Failure::undecided(what, "`--setup` makes them, and so does `cargo xtask setup`").into())
}

/// Why the builder that buildx would use cannot build a plan, and what to do; notes one that is not the engine's own.
async fn builder_unfit(context: &Context, plan: &Plan) -> Option<(String, String)> {
    let said = process::run(context, &builder::inspect()).await.ok();
    let builder = builder::parse(&said.filter(process::Output::success)?.stdout)?;
    let own = context.own_builder();
    let unfit = builder.unfit(own, &plan.platform, plan.bases.origin == bases::Origin::Local);
    if unfit.is_none() && !builder.is_engines_own(own) {
        let words = format!("builder '{}' ({})", builder.name, builder.driver);
        context
            .board
            .note(&format!("{words}: its images are loaded into the engine"));
    }
    unfit
}
