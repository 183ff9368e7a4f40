//! cosign at work: which one, what it is told, and what its answer means. Bundles are files; no registry is asked.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::statement::Claim;
use super::{Kind, Signer, Trust, classic};
use crate::context::Context;
use crate::exit::Failure;
use crate::process::{self, Call};
use crate::tool::cosign::{self, Dialect};
use crate::{evidence, hash, setup};

const PASSWORD: &str = "COSIGN_PASSWORD";

/// Sees to it that cosign can be used: installs it where the run may set things up.
///
/// # Errors
/// Exit 3: there is none, or an old one.
pub async fn provide(context: &Context) -> Result<()> {
    cosign(context).await.map(drop)
}

/// The program and what it understands. Known for as long as the file stays as it is.
async fn cosign(context: &Context) -> Result<(PathBuf, Dialect)> {
    let program = setup::cosign(context).await?;
    let subject = (evidence::file(&program), env!("HORME_PIPELINE"));
    if let Some(known) = context.cache.get("cosign", &subject) {
        return Ok((program, known.value));
    }
    let said = process::run_ok(context, &cosign::help(&program)).await?;
    let dialect = Dialect::parse(&said.stdout).map_err(|why| {
        let hint = "put cosign 2.4 or newer first on PATH";
        Failure::undecided(format!("{}: {why}", program.display()), hint)
    })?;
    context.cache.put("cosign", &subject, &dialect);
    Ok((program, dialect))
}

/// Signs a statement about the manifest in `subject` (its digest is the statement's subject) and writes the Sigstore
/// bundle to `bundle`, whole or not at all; the predicate stays beside it.
///
/// # Errors
/// Exit 2: a key that is not there, or that the password does not open. Exit 3: cosign is missing or fails: names
/// what it said.
pub async fn sign(
    context: &Context,
    signer: &Signer,
    kind: Kind,
    predicate: &Value,
    subject: &Path,
    bundle: &Path,
) -> Result<()> {
    let (program, dialect) = cosign(context).await?;
    let written = bundle.with_extension("predicate.json");
    std::fs::write(&written, predicate.to_string())
        .with_context(|| format!("cannot write {}", written.display()))?;
    let unfinished = bundle.with_extension("unfinished");
    let call = cosign::attest(
        (&program, dialect),
        signer,
        kind.predicate_type(),
        &written,
        subject,
        &unfinished,
    );
    signed(context, signer, call).await?;
    put(&unfinished, bundle)
}

/// Signs a digest the way that cosign 2 and most admission controllers look for: [`classic()`] makes of the bundle
/// what is pushed. `reference` is `host/owner/name`.
///
/// # Errors
/// As of [`sign`].
pub async fn sign_classic(
    context: &Context,
    signer: &Signer,
    reference: &str,
    digest: &str,
    bundle: &Path,
) -> Result<()> {
    let (program, dialect) = cosign(context).await?;
    let payload = bundle.with_extension("payload.json");
    std::fs::write(&payload, classic::payload(reference, digest))
        .with_context(|| format!("cannot write {}", payload.display()))?;
    let unfinished = bundle.with_extension("unfinished");
    let call = cosign::sign_blob((&program, dialect), signer, &payload, &unfinished);
    signed(context, signer, call).await?;
    put(&unfinished, bundle)
}

fn put(unfinished: &Path, bundle: &Path) -> Result<()> {
    std::fs::File::open(unfinished)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::rename(unfinished, bundle))
        .with_context(|| format!("cannot write {}", bundle.display()))
}

/// What must never be printed: what opens the key, and a key that lies in a variable.
fn secrets(signer: &Signer) -> Vec<String> {
    let variable = match signer {
        Signer::Key(key) => key.strip_prefix("env://"),
        Signer::Keyless => None,
    };
    let named = [Some(PASSWORD), variable].into_iter().flatten();
    named
        .filter_map(|name| std::env::var(name).ok())
        .filter(|value| !value.is_empty())
        .collect()
}

async fn signed(context: &Context, signer: &Signer, mut call: Call) -> Result<()> {
    named_key(signer)?;
    call.secrets = secrets(signer);
    for secret in &call.secrets {
        context.witness.learn(secret);
    }
    // Without it, it would ask a terminal that is not there.
    if std::env::var_os(PASSWORD).is_none() {
        call = call.env(PASSWORD, "");
    }
    let output = process::run(context, &call).await?;
    if output.success() {
        return Ok(());
    }
    let words = cosign::words(&output.stderr);
    Err(match signer {
        Signer::Key(key) if words.contains("decrypt") => Failure::usage(
            format!("{PASSWORD} does not open {key}"),
            format!("set {PASSWORD} to the key's password (empty where it has none)"),
        ),
        Signer::Key(key) => Failure::undecided(
            format!("cosign cannot sign with {key}: {words}"),
            "see what it says of the key; a KMS needs its own login",
        ),
        Signer::Keyless => Failure::undecided(
            format!("cosign cannot sign with this job's identity: {words}"),
            "the job needs `id-token: write` and a way to Sigstore's services; try again",
        ),
    }
    .into())
}

/// # Errors
/// Exit 2: a key file that is not there, a variable that is not set.
fn named_key(signer: &Signer) -> Result<(), Failure> {
    let Signer::Key(key) = signer else { return Ok(()) };
    let there = match key.strip_prefix("env://") {
        Some(name) => std::env::var_os(name).is_some(),
        None => key.contains("://") || Path::new(key).is_file(),
    };
    match there {
        true => Ok(()),
        false => Err(Failure::usage(
            format!("there is no key {key} to sign with"),
            "name one: --sign-key FILE, a KMS address or env://NAME; `cosign generate-key-pair` makes one",
        )),
    }
}

/// Checks a bundle: the signature against whom the reader trusts, the subject against the digest, the type against the
/// kind (cosign alone does not). Gives the predicate.
///
/// # Errors
/// Exit 1: it does not hold. Exit 2: the trust root is none. Exit 3: it could not be checked.
pub async fn verify(
    context: &Context,
    trust: &Trust,
    kind: Kind,
    manifest: &Path,
    bundle: &Path,
) -> Result<Value> {
    readable(trust)?;
    let bytes = std::fs::read(bundle).with_context(|| format!("cannot read {}", bundle.display()))?;
    let sha256 = hash::of_file(manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let not_held = |why: &str| {
        let hint = "it was changed, or is somebody else's: do not use the image";
        Failure::violated(format!("the {} does not hold: {why}", kind.word()), hint)
    };
    let predicate = Claim::of(&bytes, kind, &sha256).map_err(|why| not_held(&why))?;
    let (program, dialect) = cosign(context).await?;
    let roots = no_roots(bundle)?;
    let files = (manifest, bundle);
    let kind_of = kind.predicate_type();
    let mut call = cosign::verify((&program, dialect), trust, kind_of, files, roots.path());
    // No variable reaches it by habit, but the one that is named.
    if let Some((name, key)) = key_in_variable(trust) {
        call = call.env(name, key.unwrap_or_default());
    }
    let output = process::run(context, &call).await?;
    match cosign::words(&output.stderr) {
        _ if output.success() => Ok(predicate),
        words if cosign::is_unanswered(words) => Err(Failure::undecided(
            format!("the {} could not be checked: {words}", kind.word()),
            "try again; a KMS and Sigstore's services have to be in reach",
        )
        .into()),
        words => Err(not_held(words).into()),
    }
}

/// The variable that `env://NAME` names, and what it holds.
fn key_in_variable(trust: &Trust) -> Option<(&str, Option<String>)> {
    let Trust::Key(key) = trust else { return None };
    let name = key.strip_prefix("env://")?;
    Some((name, std::env::var(name).ok()))
}

/// # Errors
/// Exit 2: a key file or a variable that is not there, or holds no public key.
fn readable(trust: &Trust) -> Result<(), Failure> {
    let Trust::Key(key) = trust else { return Ok(()) };
    let text = match key_in_variable(trust) {
        Some((_, text)) => text.ok_or_else(|| "there is no such variable".to_owned()),
        None if key.contains("://") => return Ok(()),
        None => std::fs::read_to_string(key).map_err(|error| error.to_string()),
    };
    let why = match text {
        Ok(text) if text.contains("PUBLIC KEY-----") => return Ok(()),
        Ok(text) if text.contains("PRIVATE KEY-----") => {
            "it is a private key: keep it to yourself".to_owned()
        }
        Ok(_) => "it holds no public key (PEM)".to_owned(),
        Err(why) => why,
    };
    Err(Failure::usage(
        format!("no trust root: {key}: {why}"),
        "name the public key of whoever released: --key FILE, a KMS address or env://NAME",
    ))
}

/// Beside the bundle, for as long as it is needed.
fn no_roots(bundle: &Path) -> Result<tempfile::NamedTempFile> {
    let folder = bundle.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(cosign::NO_ROOTS.as_bytes())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_key_that_is_not_there_is_wrong_usage() {
        for key in ["no/such/cosign.key", "env://HORME_NO_SUCH_VARIABLE"] {
            let failure = named_key(&Signer::Key(key.into())).unwrap_err();
            assert_eq!((failure.exit, failure.what.contains(key)), (Exit::Usage, true));
        }
        assert!(named_key(&Signer::Key("awskms:///alias/x".into())).is_ok());
        assert!(named_key(&Signer::Keyless).is_ok());
    }

    #[test]
    fn a_trust_root_is_a_public_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cosign.key");
        let said = |text: &str| {
            std::fs::write(&file, text).unwrap();
            readable(&Trust::Key(file.display().to_string()))
                .map_err(|failure| failure.what.rsplit(": ").next().unwrap_or_default().to_owned())
        };
        assert_eq!(said("-----BEGIN PUBLIC KEY-----\n"), Ok(()));
        assert_eq!(
            said("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"),
            Err("keep it to yourself".into())
        );
        assert_eq!(said("ssh-rsa"), Err("it holds no public key (PEM)".into()));
        let gone = readable(&Trust::Key("no/such.pub".into())).unwrap_err();
        assert_eq!(gone.exit, Exit::Usage);
        let unset = readable(&Trust::Key("env://HORME_NO_SUCH_VARIABLE".into())).unwrap_err();
        assert!(
            unset.what.ends_with("there is no such variable"),
            "{}",
            unset.what
        );
        assert!(readable(&Trust::Key("awskms:///alias/x".into())).is_ok());
    }
}
