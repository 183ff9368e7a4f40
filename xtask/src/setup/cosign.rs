//! cosign, which signs and checks signatures: a Debian package, or whatever is on PATH. Only what publishes, or looks
//! at what is published, needs it.

use std::path::PathBuf;

use anyhow::Result;

use super::packages;
use crate::context::Context;
use crate::exit::Failure;
use crate::process;

const PROGRAM: &str = "cosign";

/// Sees to it that there is a cosign: installs the package where the run may set things up.
///
/// # Errors
/// Exit 3: there is none, with the remedy.
pub async fn cosign(context: &Context) -> Result<PathBuf> {
    if let Some(found) = process::which(PROGRAM) {
        return Ok(found);
    }
    let why = match packages::installable() {
        Ok(()) if context.options.setup => {
            let _lock = super::alone(context).await?;
            packages::install(context, &[PROGRAM]).await?;
            "the package brought none".to_owned()
        }
        Ok(()) => "`--setup` installs it".to_owned(),
        Err(why) => why,
    };
    process::which(PROGRAM).ok_or_else(|| {
        Failure::undecided(
            format!("no cosign on PATH: {why}"),
            "put cosign 2.4 or newer on PATH (on Debian 12 or 13: --setup, as root)",
        )
        .into()
    })
}
