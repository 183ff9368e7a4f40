//! The unstripped twins of the images' binaries: a stage of their Dockerfiles, taken out of the build cache in one
//! go when the first of them is needed.

use std::path::PathBuf;

use tokio::sync::OnceCell;

use crate::build::Built;
use crate::context::Context;
use crate::fingerprint::dockerfile;
use crate::plan::{ImagePlan, Plan};
use crate::process;
use crate::standing;
use crate::tool::bake;

/// The stage that holds the binary with its symbols, at the path that it has in the image.
const STAGE: &str = "symbols";
/// In the build cache they are a matter of a second. What would have to be compiled is not worth the wait.
const LIMIT_S: u64 = 30;

/// Why no twin of an image's binary can be had; nothing where one should be in the build cache.
pub fn absent(context: &Context, image: &Built) -> Option<String> {
    let path = image.plan.service.dockerfile();
    let text = std::fs::read_to_string(context.root.join(&path)).unwrap_or_default();
    if !dockerfile::stages(&text).iter().any(|stage| stage.name == STAGE) {
        return Some(format!("{} has no stage `{STAGE}`", path.display()));
    }
    // A twin of other sources would have to be compiled, to be refused.
    (!standing::is_proof(context, &image.plan, &image.digest))
        .then(|| "no run built this image from the checkout as it is".to_owned())
}

/// The twins of a run.
pub struct Twins<'a> {
    context: &'a Context,
    plan: &'a Plan,
    /// Those that will be asked for.
    images: Vec<ImagePlan>,
    /// The folder with one folder a service, or why there is none.
    exported: OnceCell<Result<PathBuf, String>>,
}

impl<'a> Twins<'a> {
    /// The twins of those of `images` that should have one.
    pub fn new<'i>(context: &'a Context, plan: &'a Plan, images: impl Iterator<Item = &'i Built>) -> Self {
        let images = images.filter(|image| absent(context, image).is_none());
        Twins {
            context,
            plan,
            images: images.map(|image| image.plan.clone()).collect(),
            exported: OnceCell::new(),
        }
    }

    /// The folder that stands for the root of an image, with its binary's twin in it.
    ///
    /// # Errors
    /// In words, why there is none.
    pub async fn of(&self, image: &Built) -> Result<PathBuf, String> {
        if let Some(why) = absent(self.context, image) {
            return Err(why);
        }
        let exported = self.exported.get_or_init(|| self.export()).await;
        exported
            .as_ref()
            .map(|folder| folder.join(&image.plan.service.name))
            .map_err(Clone::clone)
    }

    async fn export(&self) -> Result<PathBuf, String> {
        let failed = |why: String| format!("the twin could not be taken out of the build cache: {why}");
        // Deleted at the end of the run, together with the images' archives.
        let folder = self.context.run_dir.join("images").join(STAGE);
        let definition = folder.join("bake.json");
        let content = bake::export(&self.context.root, self.plan, &self.images, STAGE, &folder);
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&definition, content.to_string()))
            .map_err(|error| failed(error.to_string()))?;
        let call = bake::export_call(&definition)
            .log(self.context.log("budget-symbols"))
            .deadline_s(LIMIT_S);
        match process::run(self.context, &call).await {
            Ok(output) if output.success() => Ok(folder),
            Ok(output) => Err(failed(output.last_lines(1))),
            Err(error) => Err(failed(format!("{error:#}"))),
        }
    }
}
