//! `reproduce`: the same commit built twice, without cache, in different folders, and the file that differs where one
//! does.

use anyhow::{Result, bail};

use crate::cli::ReproduceOptions;
use crate::context::Context;
use crate::exit::Exit;

/// # Errors
/// Exit 3: a build could not be made.
pub async fn run(context: &Context, options: &ReproduceOptions) -> Result<Exit> {
    bail!("{} {:?}: not there yet", context.run_id, options.run.services)
}
