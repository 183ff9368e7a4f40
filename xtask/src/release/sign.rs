//! Signing: every statement that does not hang at its subject already becomes a bundle in the journal's folder. That
//! needs no registry, and what is signed once is never signed again.

use anyhow::{Context as _, Result};

use super::Opened;
use super::classic;
use super::journal::{Statement, Step};
use super::settings::{Ages, POLICY};
use super::work::{Subject, Work, side_by_side, subjects};
use crate::attest::{self, Kind, Release, Signer, Trust};
use crate::exit::{Exit, Failure};
use crate::hash;
use crate::proof::{ProvenImage, Verified};
use crate::verify;

/// Keeps what is sound in the registry, and signs the rest.
///
/// # Errors
/// cosign fails; the registry does not answer.
pub async fn all(opened: &Opened<'_>) -> Result<()> {
    let (work, verified) = (&opened.work, &opened.verified);
    let _under_way = work.context.board.step("signing");
    keep_all(opened).await?;
    let state = work.journal.state();
    let mut left = Vec::new();
    for subject in subjects(&work.plan) {
        let statements = subject.statements().map(|(statement, _)| statement);
        let is_left = |of: &Statement| !state.kept.contains(of) && !state.signed.contains_key(of);
        left.extend(statements.filter(is_left).map(|of| (subject.clone(), of)));
    }
    if left.is_empty() {
        return Ok(());
    }
    let signer = opened.signer.as_ref().ok_or_else(|| {
        let what = format!(
            "{} statements are not signed yet, and there is nothing to sign with",
            left.len()
        );
        Failure::usage(what, "name the key: --sign-key KEY, or HORME_SIGN_KEY")
    })?;
    let mut left = left.into_iter();
    // One signer signs all: if readers do not trust the first, it is the last.
    if let Some((subject, of)) = left.next() {
        sign(work, verified, signer, subject, of, opened.trust.as_ref()).await?;
    }
    side_by_side(left.map(|(subject, of)| sign(work, verified, signer, subject, of, None)))
        .await
        .map(drop)
}

/// Remembers which statements need not be made again. Where nobody said whom readers trust, that is whoever signs now.
async fn keep_all(opened: &Opened<'_>) -> Result<()> {
    let work = &opened.work;
    let candidates: Vec<(Subject, Vec<Statement>)> = subjects(&work.plan)
        .into_iter()
        .map(|subject| (subject.clone(), candidates(work, &subject)))
        .filter(|(_, candidates)| !candidates.is_empty())
        .collect();
    let own = match (&opened.trust, &opened.signer) {
        (None, Some(signer)) if !candidates.is_empty() => {
            attest::own_trust(work.context, signer, &work.journal.folder.join("own.pub")).await?
        }
        _ => None,
    };
    let Some(trust) = opened.trust.as_ref().or(own.as_ref()) else {
        return Ok(());
    };
    let ages = &opened.ages;
    let kept = candidates
        .into_iter()
        .map(|(subject, candidates)| keep(work, subject, candidates, trust, ages));
    side_by_side(kept).await.map(drop)
}

/// Those of a kind that was seen in the registry, and that nothing was done about yet.
fn candidates(work: &Work<'_>, subject: &Subject<'_>) -> Vec<Statement> {
    let state = work.journal.state();
    let is_new = |of: &Statement| !state.kept.contains(of) && !state.signed.contains_key(of);
    let statements = subject.statements().filter(|(of, there)| *there && is_new(of));
    statements.map(|(of, _)| of).collect()
}

/// Kept is what `verify` passes, with verdicts as young as a release asks for.
async fn keep(
    work: &Work<'_>,
    subject: Subject<'_>,
    candidates: Vec<Statement>,
    trust: &Trust,
    ages: &Ages,
) -> Result<()> {
    let repository = work.repository(subject.image);
    let manifest = work.layout.blob(&subject.descriptor.digest);
    let attached = attest::find(work.context, trust, &repository, &manifest).await?;
    let wanted = verify::Wanted {
        image: &subject.image.image,
        platform: subject.platform,
        max_age_days: ages.verdict_max_days,
    };
    for of in candidates {
        if verify::would_pass(of.kind, &attached, wanted) {
            work.journal.write(Step::Kept(of))?;
        }
    }
    Ok(())
}

async fn sign(
    work: &Work<'_>,
    verified: &[Verified],
    signer: &Signer,
    subject: Subject<'_>,
    of: Statement,
    trust: Option<&Trust>,
) -> Result<()> {
    if of.kind == Kind::Signature && !work.journal.state().classic.contains_key(&of) {
        classic::sign(work, signer, &subject).await?;
    }
    let (verified, image) = proven(verified, &subject)?;
    let release = Release {
        version: &work.plan.version,
        commit: &work.plan.commit,
        source: work.plan.source.as_deref(),
    };
    let predicate = attest::predicate(of.kind, &release, verified.proof(), image)?;
    let bundle = work.bundle(&of);
    let failed = |what: &str| format!("cannot {what} {}", bundle.display());
    std::fs::create_dir_all(bundle.parent().unwrap_or(&bundle)).with_context(|| failed("make room for"))?;
    let manifest = work.layout.blob(&of.subject);
    attest::sign(work.context, signer, of.kind, &predicate, &manifest, &bundle).await?;
    if let Some(trust) = trust {
        let held = attest::verify(work.context, trust, of.kind, &manifest, &bundle).await;
        held.map_err(|error| untrusted(work, error))?;
    }
    let sha256 = hash::of_file(&bundle).with_context(|| failed("read"))?;
    work.journal.write(Step::Signed { of, sha256 })
}

/// Nobody who goes by the policy would trust what is signed so.
fn untrusted(work: &Work<'_>, error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<Failure>() {
        Some(failure) if failure.exit == Exit::Violated => {
            let what = format!("{POLICY} [trust] does not trust who signs here: {}", failure.what);
            let hint = format!(
                "nothing was sent: sign with what [trust] names, and `--resume`; or `--undo {}`, mend [trust], and begin anew",
                work.plan.version
            );
            Failure::usage(what, hint).into()
        }
        _ => error,
    }
}

/// The proof that a subject's statements go by: of its platform; of an index, the first one's.
fn proven<'a>(verified: &'a [Verified], subject: &Subject) -> Result<(&'a Verified, &'a ProvenImage)> {
    let of_platform = |one: &&Verified| {
        subject
            .platform
            .is_none_or(|platform| one.proof().platform == platform)
    };
    let found = verified.iter().find(of_platform).and_then(|one| {
        let image = one
            .images()
            .iter()
            .find(|image| image.image == subject.image.image)?;
        Some((one, image))
    });
    let (verified, image) = found.with_context(|| format!("no proof of {}", subject.image.image))?;
    let digest = &subject.descriptor.digest;
    anyhow::ensure!(
        subject.platform.is_none() || image.digest == *digest,
        "the proof of {} is about {}, not {digest}",
        image.image,
        image.digest
    );
    Ok((verified, image))
}
