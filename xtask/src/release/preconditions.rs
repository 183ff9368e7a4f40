//! Everything that forbids a release, found at once and before anything is sent: the checkout, the proof, the key, the
//! registry. What was found out on the way is handed on.

mod checkout;
mod images;
mod published;
mod signer;

use std::path::Path;

use anyhow::{Result, bail};

use self::checkout::Checkout;
pub use self::signer::chosen as choose_signer;
use super::journal;
use super::plan::{Named, ReleasePlan};
use super::settings::{POLICY, Settings};
use super::tags::Occasion;
use crate::attest::Signer;
use crate::cli::ReleaseOptions;
use crate::context::Context;
use crate::exit::{Exit, Failure};
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
            bail!("a release without a plan or a signer was not refused");
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
/// `--images` stay where they are. A dry run only reads, and so does not ask whether it may push.
///
/// # Errors
/// Exit 2: settings that cannot be read. Everything else is among the problems.
pub async fn look(context: &Context, options: &ReleaseOptions, staging: &Path) -> Result<Prepared> {
    let settings = Settings::read(context, options.registry.as_deref()).await?;
    let mut notes = Vec::new();
    let mut problems = Vec::new();
    let checkout = checkout::look(context).await;
    problems.extend(checkout.problems(settings.version.as_ref(), options.snapshot));
    let found = images::look(context, options, &settings, &checkout, staging).await;
    problems.extend(found.problems);
    let signer = signer::look(context, options).await;
    let signer = signer.map_err(|error| problems.extend(error)).ok();
    if settings.trust.is_none() {
        let word = format!(
            "{POLICY} names no [trust]: `verify` has to be told by a flag whom to trust; kept is what this signer signed before"
        );
        notes.push(word);
    }
    let occasion = occasion(&settings, options, &checkout);
    let occasion = occasion
        .map_err(|error| problems.push(failure(error)))
        .ok()
        .flatten();
    let mut plan = None;
    if let (Some(occasion), false) = (occasion, found.built.is_empty()) {
        let mut named = named(&settings, occasion, &checkout);
        let folder = journal::folder(options.journal.as_deref(), &settings.host, &settings.owner);
        named.withdrawn = journal::withdrawn(&folder);
        let asked = published::ask(context, named, &found.built, options.dry_run).await;
        plan = asked.plan;
        problems.extend(asked.problems);
        notes.extend(asked.notes);
    }
    if found.built.is_empty() {
        // Nothing can be planned yet, but whoever is not logged in should not learn it after the build.
        problems.extend(published::locked_out(context, &settings, options.dry_run).await);
    }
    if options.dry_run {
        notes.push("whether this user may push, and whether [trust] trusts who signs, was not asked: a dry run only reads".to_owned());
    }
    Ok(Prepared {
        settings,
        plan,
        sources: found.sources,
        signer,
        problems,
        notes,
    })
}

/// What is published; nothing where no version is known, which is a problem already.
fn occasion(settings: &Settings, options: &ReleaseOptions, checkout: &Checkout) -> Result<Option<Occasion>> {
    if options.snapshot {
        return Occasion::snapshot(checkout.github_ref.as_deref(), &checkout.branch).map(Some);
    }
    Ok(settings.version.clone().map(Occasion::Version))
}

/// What it is called. Which tags it gets depends on what the registry has.
fn named(settings: &Settings, occasion: Occasion, checkout: &Checkout) -> published::Wanted {
    published::Wanted {
        named: Named {
            version: String::new(),
            snapshot: !matches!(occasion, Occasion::Version(_)),
            commit: checkout.commit.clone().unwrap_or_default(),
            source: settings.source.clone(),
            host: settings.host.clone(),
            owner: settings.owner.clone(),
            tags: Vec::new(),
        },
        occasion,
        withdrawn: Vec::new(),
    }
}

/// An error as one problem among several.
pub fn failure(error: anyhow::Error) -> Failure {
    let hint = crate::exit::hint(&error);
    error.downcast::<Failure>().unwrap_or_else(|error| Failure {
        exit: Exit::Undecided,
        what: format!("{error:#}"),
        hint,
    })
}

/// One failure that lists all of them, each with its remedy below it; the worst one's exit.
///
/// # Errors
/// Where there is any.
pub fn refuse(problems: &[Failure]) -> Result<()> {
    let Some(exit) = problems.iter().map(|problem| problem.exit).reduce(Exit::worst) else {
        return Ok(());
    };
    if let [problem] = problems {
        let (what, hint) = (problem.what.clone(), problem.hint.clone());
        return Err(Failure { exit, what, hint }.into());
    }
    let mut what = format!("{} things forbid this release", problems.len());
    for problem in problems {
        what.push_str(&format!("\n- {}", problem.what.replace('\n', "\n  ")));
        for line in problem.hint.iter().flat_map(|hint| hint.lines()) {
            what.push_str(&format!("\n  hint: {line}"));
        }
    }
    Err(Failure {
        exit,
        what,
        hint: None,
    }
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::explain;

    #[test]
    fn all_problems_are_one_failure_with_the_worst_ones_exit() {
        assert!(refuse(&[]).is_ok());
        let one = refuse(&[Failure::usage("a", "b")]).unwrap_err();
        assert_eq!(explain(&one), (Exit::Usage, "error: a\nhint: b".to_owned()));
        let all = [
            Failure::usage("a\nmore", "b"),
            Failure::violated("c", "d\ne"),
            Failure::undecided("f", "g"),
        ];
        let (exit, text) = explain(&refuse(&all).unwrap_err());
        assert_eq!(exit, Exit::Violated);
        let expected = "error: 3 things forbid this release\n- a\n  more\n  hint: b\n- c\n  hint: d\n  hint: e\n- f\n  hint: g";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_error_that_nobody_expected_is_a_problem_with_a_remedy() {
        let odd = failure(anyhow::anyhow!("odd").context("worse"));
        assert_eq!((odd.exit, odd.what.as_str()), (Exit::Undecided, "worse: odd"));
        assert!(odd.hint.is_some());
        assert_eq!(failure(Failure::violated("x", "y").into()).exit, Exit::Violated);
    }
}
