//! The files that a stack mounts from this checkout, for an engine that does not see them.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::project;
use crate::build::Built;
use crate::context::Context;
use crate::engine::{ContainerSpec, Engine};
use crate::exit::Failure;
use crate::tool::compose::mounts;

/// Gives the members copies of what they would mount from this checkout.
///
/// # Errors
/// Exit 3: the engine is too old for it, or something is no file.
pub(super) async fn copies(
    context: &Context,
    engine: &Engine,
    images: &[Built],
    mounts: &Result<Vec<mounts::Mount>, String>,
    overlay: &mut Value,
) -> Result<()> {
    let cannot = |why: &str| {
        let what = format!("the stack's files cannot be brought to the engine's machine: {why}");
        Failure::undecided(
            what,
            "run on the engine's own machine, or on an engine of version 26 or newer",
        )
    };
    let mounts = mounts.as_ref().map_err(|why| cannot(why))?;
    if mounts.is_empty() {
        return Ok(());
    }
    if !engine.mounts_parts_of_volumes() {
        // What is reached by a socket may well see our files: compose tells where it does not.
        let reached_by_net = engine.place.choice.address.host().is_some();
        return if reached_by_net {
            Err(cannot(&format!("engine {}", engine.version)).into())
        } else {
            Ok(())
        };
    }
    let name = format!("{}-files", project(context));
    let files = mounts::copied(overlay, mounts, &name);
    let lender = ContainerSpec {
        name: name.clone(),
        image: images.first().context("no image to copy with")?.reference.clone(),
        run_id: context.run_id.clone(),
        ..Default::default()
    };
    engine.copy_to_volume(&name, lender, &files).await
}
