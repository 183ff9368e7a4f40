//! What signs: a key that is named, or the identity of a job; and cosign, which does it.

use std::path::Path;

use crate::attest::{self, Signer};
use crate::cli::ReleaseOptions;
use crate::context::Context;
use crate::exit::Failure;
use crate::process;

/// Where GitHub Actions gives a job its identity: only where it holds `id-token: write`.
const IDENTITY: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";

/// # Errors
/// Everything that is missing.
pub(super) async fn look(context: &Context, options: &ReleaseOptions) -> Result<Signer, Vec<Failure>> {
    let mut problems = Vec::new();
    let signer = chosen(context, options);
    let signer = signer.map_err(|problem| problems.push(problem)).ok();
    problems.extend(cosign(context, options.dry_run).await);
    match signer {
        Some(signer) if problems.is_empty() => Ok(signer),
        _ => Err(problems),
    }
}

/// With what this run signs.
///
/// # Errors
/// Exit 2: with nothing; a key that is not there.
pub fn chosen(context: &Context, options: &ReleaseOptions) -> Result<Signer, Failure> {
    let has_identity = std::env::var_os(IDENTITY).is_some_and(|url| !url.is_empty());
    choose(options.sign_key.as_deref(), has_identity, &context.root)
}

/// Provided where the run may set things up; a dry run only looks.
async fn cosign(context: &Context, dry_run: bool) -> Option<Failure> {
    if dry_run && process::which("cosign").is_none() {
        let remedy = "put cosign 2.4 or newer on PATH, or let --setup install it";
        return Some(Failure::undecided("no cosign on PATH", remedy));
    }
    attest::provide(context).await.map_err(super::failure).err()
}

/// The key that was named, else the job's identity.
fn choose(key: Option<&str>, has_identity: bool, root: &Path) -> Result<Signer, Failure> {
    let hint = "--sign-key FILE (made by `cosign generate-key-pair`), a KMS address or env://NAME; in GitHub Actions a job with \
                `id-token: write` needs none";
    match key.filter(|key| !key.is_empty()) {
        Some(key) if key.contains("://") => variable(key).map(|()| Signer::Key(key.to_owned())),
        // As it was written: cosign is started where we were.
        Some(key) if Path::new(key).is_file() => Ok(Signer::Key(key.to_owned())),
        Some(key) if root.join(key).is_file() => Ok(Signer::Key(root.join(key).display().to_string())),
        Some(key) => Err(Failure::usage(
            format!("there is no key {key} to sign with"),
            hint,
        )),
        None if has_identity => Ok(Signer::Keyless),
        None => Err(Failure::usage("there is nothing to sign with", hint)),
    }
}

/// A key in a variable that is not set would be found missing only when everything else is done.
fn variable(key: &str) -> Result<(), Failure> {
    let unset = key
        .strip_prefix("env://")
        .filter(|name| std::env::var_os(name).is_none_or(|value| value.is_empty()));
    match unset {
        Some(name) => Err(Failure::usage(
            format!("the variable {name}, which holds the key to sign with, is not set"),
            "set it to the key's text, e.g. from a secret of the job",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_key_wins_over_the_jobs_identity_and_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("release.key"), "").unwrap();
        let choose = |key, identity| choose(key, identity, folder.path()).map_err(|problem| problem.what);
        let inside = folder.path().join("release.key").display().to_string();
        assert_eq!(choose(Some("release.key"), true), Ok(Signer::Key(inside.clone())));
        assert_eq!(choose(Some(&inside), false), Ok(Signer::Key(inside.clone())));
        let kms = "awskms:///alias/release";
        assert_eq!(choose(Some(kms), false), Ok(Signer::Key(kms.to_owned())));
        assert_eq!(choose(None, true), Ok(Signer::Keyless));
        assert_eq!(choose(Some(""), true), Ok(Signer::Keyless));
        assert!(choose(None, false).unwrap_err().contains("nothing to sign with"));
        assert!(
            choose(Some("gone.key"), true)
                .unwrap_err()
                .contains("no key gone.key")
        );
        assert!(
            choose(Some("env://HORME_NO_SUCH_KEY"), true)
                .unwrap_err()
                .contains("HORME_NO_SUCH_KEY")
        );
        assert_eq!(
            choose(Some("env://PATH"), false),
            Ok(Signer::Key("env://PATH".to_owned()))
        );
    }
}
