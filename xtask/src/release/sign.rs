//! Signing: every statement that does not hang at its subject already becomes a bundle in the journal's folder. That
//! needs no registry, and what is signed once is never signed again.

use anyhow::{Context as _, Result};

use super::classic;
use super::journal::{Statement, Step};
use super::work::{Subject, Work, side_by_side, subjects};
use crate::attest::{self, Kind, Release, Signer, Trust};
use crate::exit::Failure;
use crate::hash;
use crate::proof::{ProvenImage, Verified};

/// Keeps what is sound in the registry, and signs the rest.
///
/// # Errors
/// cosign fails; the registry does not answer.
pub async fn all(
    work: &Work<'_>,
    verified: &[Verified],
    signer: Option<&Signer>,
    trust: Option<&Trust>,
) -> Result<()> {
    let _under_way = work.context.board.step("signing");
    side_by_side(
        subjects(&work.plan)
            .into_iter()
            .map(|subject| keep(work, subject, trust)),
    )
    .await?;
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
    let signer = signer.ok_or_else(|| {
        let what = format!(
            "{} statements are not signed yet, and there is nothing to sign with",
            left.len()
        );
        Failure::usage(what, "name the key: --sign-key KEY, or HORME_SIGN_KEY")
    })?;
    let signed = left
        .into_iter()
        .map(|(subject, of)| sign(work, verified, signer, subject, of));
    side_by_side(signed).await.map(drop)
}

/// Remembers which statements need not be made again.
async fn keep(work: &Work<'_>, subject: Subject<'_>, trust: Option<&Trust>) -> Result<()> {
    let state = work.journal.state();
    let candidates: Vec<Statement> = subject
        .statements()
        .filter(|(of, there)| *there && !state.kept.contains(of) && !state.signed.contains_key(of))
        .map(|(of, _)| of)
        .collect();
    let Some(trust) = trust.filter(|_| !candidates.is_empty()) else {
        return Ok(());
    };
    let repository = work.repository(subject.image);
    let manifest = work.layout.blob(&subject.descriptor.digest);
    let sound = attest::sound(&attest::find(work.context, trust, &repository, &manifest).await?);
    for of in candidates.into_iter().filter(|of| sound.contains(&of.kind)) {
        work.journal.write(Step::Kept(of))?;
    }
    Ok(())
}

async fn sign(
    work: &Work<'_>,
    verified: &[Verified],
    signer: &Signer,
    subject: Subject<'_>,
    of: Statement,
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
    let sha256 = hash::of_file(&bundle).with_context(|| failed("read"))?;
    work.journal.write(Step::Signed { of, sha256 })
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
    found.with_context(|| format!("no proof of {}", subject.image.image))
}
