//! Everything that forbids a release, found at once and before anything is sent: the checkout, the proof, the key, the
//! registry. What was found out on the way is handed on.

use std::path::Path;

use anyhow::{Result, bail};

use super::plan::ReleasePlan;
use super::settings::Settings;
use crate::attest::Signer;
use crate::cli::ReleaseOptions;
use crate::context::Context;
use crate::exit::Failure;
use crate::layout::Layout;
use crate::proof::Verified;

/// Images of one platform: proven, and as the bytes that were tested.
#[derive(Debug, Clone)]
pub struct Source {
    pub verified: Verified,
    pub layout: Layout,
}

/// What was found.
#[derive(Debug)]
pub struct Prepared {
    pub settings: Settings,
    /// As far as it is known.
    pub plan: Option<ReleasePlan>,
    /// One a platform.
    pub sources: Vec<Source>,
    pub signer: Option<Signer>,
    /// Everything that forbids it.
    pub problems: Vec<Failure>,
    /// What a reader should know, and forbids nothing.
    pub notes: Vec<String>,
}

/// A release that nothing forbids.
#[derive(Debug)]
pub struct Ready {
    pub settings: Settings,
    pub plan: ReleasePlan,
    pub sources: Vec<Source>,
    pub signer: Signer,
    pub notes: Vec<String>,
}

impl Prepared {
    /// # Errors
    /// All problems as one failure, with the worst one's exit.
    pub fn ready(self) -> Result<Ready> {
        refuse(&self.problems)?;
        let (Some(plan), Some(signer)) = (self.plan, self.signer) else {
            bail!("a release without plan or signer was not refused");
        };
        Ok(Ready {
            settings: self.settings,
            plan,
            sources: self.sources,
            signer,
            notes: self.notes,
        })
    }
}

/// Looks at everything. Images that come out of the engine are laid down in `staging`, which is made for them;
/// `--images` stay where they are.
///
/// # Errors
/// Exit 2: settings that cannot be read. Everything else is among the problems.
pub async fn look(context: &Context, options: &ReleaseOptions, staging: &Path) -> Result<Prepared> {
    bail!(
        "{} {:?} {}: not there yet",
        context.run_id,
        options.images,
        staging.display()
    )
}

/// One failure that lists all of them; the worst one's exit.
pub fn refuse(problems: &[Failure]) -> Result<()> {
    let Some(exit) = problems
        .iter()
        .map(|problem| problem.exit)
        .reduce(crate::exit::Exit::worst)
    else {
        return Ok(());
    };
    let lines: Vec<&str> = problems.iter().map(|problem| problem.what.as_str()).collect();
    let hints: Vec<&str> = problems
        .iter()
        .filter_map(|problem| problem.hint.as_deref())
        .collect();
    Err(Failure {
        exit,
        what: lines.join("\n"),
        hint: (!hints.is_empty()).then(|| hints.join("\n")),
    }
    .into())
}
