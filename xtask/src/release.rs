//! `release`: all images or none. The order is here: preconditions, claim nothing; push by digest; attach; read back;
//! move the tags, last of all. What each step does lives in its own file.

pub mod plan;
pub mod preconditions;
pub mod settings;
pub mod tags;

use anyhow::{Result, bail};

use crate::cli::ReleaseOptions;
use crate::context::Context;
use crate::exit::Exit;

/// # Errors
/// Exit 2, 1 or 3: everything that forbids the release, at once.
pub async fn run(context: &Context, options: &ReleaseOptions) -> Result<Exit> {
    bail!("{} {}: not there yet", context.run_id, options.dry_run)
}
