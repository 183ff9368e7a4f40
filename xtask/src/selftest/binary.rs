//! The fixtures' program: compiled once by rustc, and for each fixture with the list of crates that a build
//! with cargo-auditable would have put into it.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::{Compression, write::ZlibEncoder};

use super::fixture::Fixture;
use crate::catalogue::TARGET;
use crate::context::Context;
use crate::process::{self, Call};

const SOURCE: &str = include_str!("../../tests/fixtures/service.rs");

/// Compiles the program, static, into `folder`.
///
/// # Errors
/// Where rustc refuses it.
pub async fn compile(context: &Context, folder: &Path) -> Result<PathBuf> {
    let (source, binary) = (folder.join("service.rs"), folder.join("service"));
    std::fs::write(&source, SOURCE).context("cannot write the fixtures' program")?;
    let flags = ["-O", "-C", "strip=symbols", "-C", "target-feature=+crt-static"];
    let mut argv = vec!["rustc", "--edition=2024", "--target", TARGET];
    argv.extend(flags);
    let mut call = Call::new(argv)
        .cwd(folder)
        .deadline_s(300)
        .log(context.log("selftest-rustc"));
    call.args
        .extend(["-o".into(), binary.clone().into(), source.into()]);
    process::run_ok(context, &call).await?;
    Ok(binary)
}

/// Puts a fixture's binary where its Dockerfile looks for it.
///
/// # Errors
/// Where binutils' objcopy refuses it, or a file cannot be written.
pub async fn put(context: &Context, program: &Path, fixture: &Fixture, binary: &Path) -> Result<()> {
    let listed = fixture.listed();
    let Some(listed) = listed else {
        std::fs::copy(program, binary).context("cannot copy the fixtures' program")?;
        return Ok(());
    };
    let list = binary.with_extension("crates");
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    packed.write_all(listed.to_string().as_bytes())?;
    std::fs::write(&list, packed.finish()?).context("cannot write a fixture's list of crates")?;
    let mut call = Call::new(["objcopy", "--add-section"]);
    call.args.push(format!(".dep-v0={}", list.display()).into());
    call.args.extend([program.into(), binary.into()]);
    process::run_ok(context, &call).await?;
    std::fs::remove_file(&list).context("cannot remove a list of crates")
}
