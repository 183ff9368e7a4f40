//! Whether the builder that buildx would use can build what the gates can judge.

use super::BuildResult;
use crate::bases;
use crate::context::Context;
use crate::plan::{ImagePlan, Plan};
use crate::process;
use crate::tool::builder;
use crate::verdict::{Gate, Record};

/// Where the builder that buildx would use cannot build what the gates can judge: undecided, all of them.
pub(super) async fn unfit(context: &Context, plan: &Plan, images: &[ImagePlan]) -> Option<BuildResult> {
    let said = process::run(context, &builder::inspect()).await.ok();
    let builder = builder::parse(&said.filter(process::Output::success)?.stdout)?;
    if !builder.is_engines_own() {
        let words = format!("builder '{}' ({})", builder.name, builder.driver);
        context
            .board
            .note(&format!("{words}: its images are loaded into the engine"));
    }
    let (why, hint) = builder.unfit(&plan.platform, plan.bases.origin == bases::Origin::Local)?;
    let judged = images.iter().filter(|image| !image.support);
    let undecided = |image: &ImagePlan| Record::undecided(&image.service.name, Gate::Build, &why, &hint);
    Some(BuildResult {
        records: judged.map(undecided).collect(),
        images: Vec::new(),
    })
}
