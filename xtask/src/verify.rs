//! `verify`: what anyone can find out about a published image with nothing but the registry and a trust root.

use anyhow::{Result, bail};

use crate::cli::VerifyOptions;
use crate::context::Context;
use crate::exit::Exit;

/// # Errors
/// Exit 2: a reference that is none, no trust root.
pub async fn run(context: &Context, options: &VerifyOptions) -> Result<Exit> {
    bail!("{} {}: not there yet", context.run_id, options.image)
}
