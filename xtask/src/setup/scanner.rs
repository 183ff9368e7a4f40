//! Which scanner a run uses, and whether it may: malicious releases are refused by name wherever they come from.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::pins::{self, TRIVY_VERSION};
use super::tools;
use super::version::{self, Version};
use crate::context::Context;
use crate::evidence;
use crate::exit::Failure;
use crate::hash;
use crate::process::{self, Call};

/// Older ones write reports of another shape.
const TRIVY_OLDEST: Version = (0, 60, 0);

/// Releases of March 2026 that carried malware (CVE-2026-33634).
const TRIVY_REFUSED: [Version; 3] = [(0, 69, 4), (0, 69, 5), (0, 69, 6)];

/// The scanner to use: the one that was named, otherwise the one that set-up keeps, otherwise the one on PATH.
/// Whether it may be used is for [`look`] to say.
pub fn trivy(context: &Context) -> Option<PathBuf> {
    let named = context.options.trivy.as_deref();
    // Scans run in a folder of their own.
    let named = named.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()));
    let kept = || tools::cached(&format!("trivy-{TRIVY_VERSION}"));
    named.or_else(kept).or_else(|| process::which("trivy"))
}

/// The scanner that was named, if one was.
///
/// # Errors
/// Exit 2: there is no such file.
pub fn named_trivy(context: &Context) -> Result<Option<&Path>> {
    match context.options.trivy.as_deref() {
        Some(path) if !path.is_file() => Err(Failure::usage(
            format!("--trivy {}: there is no such file", path.display()),
            "name Trivy's program, or leave it out (HORME_TRIVY counts too)",
        )
        .into()),
        named => Ok(named),
    }
}

/// Whether there is a scanner that may be used; if not, why. Known for as long as the file stays as it is.
pub(super) async fn look(context: &Context) -> Result<(), String> {
    let found = trivy(context).ok_or("there is no Trivy on PATH")?;
    let subject = subject(&found);
    if context.cache.get::<String>("scanner", &subject).is_some() {
        return Ok(());
    }
    let version = ask(context, &found)
        .await
        .map_err(|why| format!("{}: {why}", found.display()))?;
    context.cache.put("scanner", &subject, &version);
    Ok(())
}

/// Which scanner it is, for a reader; nothing before a run has looked at it.
pub fn scanner_words(context: &Context) -> Option<String> {
    let found = trivy(context)?;
    let kept = context.cache.get::<String>("scanner", &subject(&found))?;
    Some(format!("Trivy {}", kept.value))
}

fn subject(program: &Path) -> (String, &'static str) {
    (evidence::file(program), env!("HORME_PIPELINE"))
}

/// The version of a scanner that may be used.
async fn ask(context: &Context, program: &Path) -> Result<String, String> {
    let sha256 = hash::of_file(program).map_err(|error| error.to_string())?;
    // What runs on another kind of machine alone is not known by its hash: it is started, and does not start.
    if let Some(version) = pins::known_scanner(std::env::consts::ARCH, &sha256) {
        return Ok(version.to_owned());
    }
    let call = Call::new([program.as_os_str(), "--version".as_ref()]).deadline_s(30);
    let output = process::run(context, &call)
        .await
        .map_err(|error| format!("{error:#}"))?;
    judge(&output.stdout)
}

fn judge(said: &str) -> Result<String, String> {
    let line = said.lines().next().unwrap_or_default();
    let Some(found) = version::find(line) else {
        return Err(format!("its version cannot be told from {line:?}"));
    };
    let shown = version::shown(found);
    if TRIVY_REFUSED.contains(&found) {
        return Err(format!("{shown} is a malicious release (CVE-2026-33634)"));
    }
    if found < TRIVY_OLDEST {
        Err(format!("{shown} is older than {}", version::shown(TRIVY_OLDEST)))
    } else {
        Ok(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malicious_and_ancient_scanners_are_refused_by_name() {
        assert_eq!(
            judge("Version: 0.68.2\nVulnerability DB:\n").as_deref(),
            Ok("0.68.2")
        );
        assert!(judge("Version: 0.69.3\n").is_ok());
        assert!(judge("Version: 0.69.5\n").unwrap_err().contains("malicious"));
        assert!(
            judge("Version: 0.44.1\n")
                .unwrap_err()
                .contains("older than 0.60.0")
        );
        assert!(judge("Version: dev\n").unwrap_err().contains("cannot be told"));
    }
}
