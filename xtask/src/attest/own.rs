//! Whom one has to trust to trust what this run signs: the public half of its key, or the job that it is.

use std::path::Path;

use anyhow::Result;

use super::signing::{cosign, signed};
use super::{Signer, Trust};
use crate::context::Context;
use crate::tool;

/// Who vouches for the jobs of github.com.
const ISSUER: &str = "https://token.actions.githubusercontent.com";
const GITHUB: &str = "https://github.com";

/// The trust that fits a signer; a public key is written to `file`. `None`: a job that does not say which it is.
///
/// # Errors
/// As of [`super::sign`].
pub async fn own_trust(context: &Context, signer: &Signer, file: &Path) -> Result<Option<Trust>> {
    let said = |name: &str| std::env::var(name).unwrap_or_default();
    match signer {
        Signer::Key(key) => {
            let (program, _) = cosign(context).await?;
            signed(context, signer, tool::cosign::public_key(&program, key, file)).await?;
            Ok(Some(Trust::Key(file.display().to_string())))
        }
        Signer::Keyless => Ok(identity(&said("GITHUB_SERVER_URL"), &said("GITHUB_WORKFLOW_REF"))),
    }
}

/// Of `owner/name/.github/workflows/release.yml@refs/tags/v1.4.2`: that workflow, for whichever version.
fn identity(server: &str, workflow: &str) -> Option<Trust> {
    let (file, reference) = workflow.split_once('@').filter(|_| server == GITHUB)?;
    let (reference, end) = match reference.starts_with("refs/tags/v") {
        true => ("refs/tags/v", ""),
        false => (reference, "$"),
    };
    let whole = regex::escape(&format!("{server}/{file}@{reference}"));
    Some(Trust::Identity {
        issuer: ISSUER.to_owned(),
        identity: format!("^{whole}{end}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_its_workflow_whatever_the_version() {
        let of = |workflow: &str| match identity(GITHUB, workflow) {
            Some(Trust::Identity { identity, .. }) => regex::Regex::new(&identity).unwrap(),
            other => panic!("{other:?}"),
        };
        let file = "acme/horme/.github/workflows/release.yml";
        let signed_by = |reference: &str| format!("{GITHUB}/{file}@{reference}");
        let release = of(&format!("{file}@refs/tags/v1.4.2"));
        assert!(release.is_match(&signed_by("refs/tags/v1.4.1")));
        assert!(!release.is_match(&signed_by("refs/heads/main")));
        assert!(!release.is_match(&signed_by("refs/tags/v1.4.1").replace('.', "x")));
        let snapshot = of(&format!("{file}@refs/heads/main"));
        assert!(snapshot.is_match(&signed_by("refs/heads/main")));
        assert!(!snapshot.is_match(&signed_by("refs/heads/main-2")));
        assert_eq!(
            identity("https://git.example.org", &format!("{file}@refs/tags/v1")),
            None
        );
        assert_eq!(identity(GITHUB, ""), None);
    }
}
