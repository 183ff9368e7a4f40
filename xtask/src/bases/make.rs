//! Makes the local base and store images that the engine does not hold yet: one Debian file system for all,
//! then one small build a recipe. The Debian mirror is the machine's own and stays on it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::recipe::{DEBIAN_OPTIONS, SUITE, debian_tag, uses_toolchain};
use super::{Bases, Origin};
use crate::context::Context;
use crate::engine::Engine;
use crate::event::Progress;
use crate::exit::Failure;
use crate::process::{self, Call};
use crate::setup::apt::{self, Mirror};
use crate::tool::baking::Baking;

const LOG: &str = "setup-bases";

/// Debian packages that making them needs.
pub fn base_packages() -> [&'static str; 1] {
    ["mmdebstrap"]
}

/// The local images that the engine lacks, by tag. Upstream images are pulled by whoever uses them.
pub async fn missing(engine: &Engine, bases: &Bases) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    if bases.origin == Origin::Local {
        for tag in local_tags(bases) {
            if engine.image(&tag).await?.is_none() {
                missing.push(tag);
            }
        }
    }
    Ok(missing)
}

fn local_tags(bases: &Bases) -> impl Iterator<Item = String> {
    let contexts = bases
        .contexts
        .values()
        .map(|to| to.trim_start_matches("docker-image://").to_owned());
    contexts.chain(bases.images.values().cloned())
}

/// Makes those images, saying each before it is begun.
///
/// # Errors
/// Exit 3 where a mirror or a build fails; what was made until then stays.
pub async fn make(context: &Context, engine: &Engine, missing: &[String]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let debian = debian_tag();
    if engine.image(&debian).await?.is_none() {
        context.board.note(&format!(
            "setup: making {debian} (Debian {SUITE} by mmdebstrap, about 20 s)"
        ));
        let _under_way = context.board.step(&format!("making {debian}"));
        make_debian(context, &debian).await?;
    }
    let toolchain = sysroot(context).await?;
    for tag in missing {
        context.board.note(&format!("setup: making {tag}"));
        let _under_way = context.board.step(&format!("making {tag}"));
        make_recipe(context, tag, &debian, &toolchain).await?;
    }
    Ok(())
}

async fn make_debian(context: &Context, tag: &str) -> Result<()> {
    let mirror = apt::mirror().ok_or_else(|| {
        Failure::undecided(
            "this machine's apt configuration names no Debian mirror",
            "local base images are made on Debian; elsewhere use `--bases upstream`",
        )
    })?;
    let folder = context.root.join("target/horme");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let archive = folder.join(format!("debian-{}.tar", context.run_id));
    let made = async {
        let debstrap = debstrap(&mirror, &archive).log(context.log(LOG));
        // It tells its stages as `I: downloading packages with apt...`.
        let tell = |line: &str| {
            if let Some(stage) = line.strip_prefix("I: ") {
                let text = stage.trim_end_matches('.').to_owned();
                context.board.progress(Progress {
                    text,
                    ..Progress::default()
                });
            }
        };
        process::run_ok_observed(context, &debstrap, tell).await?;
        let import = Call::new([
            "docker".as_ref(),
            "import".as_ref(),
            archive.as_os_str(),
            tag.as_ref(),
        ]);
        process::run_ok(context, &import.deadline_s(120).log(context.log(LOG))).await
    };
    let made = made.await;
    let _ = std::fs::remove_file(&archive);
    made.map(drop)
}

fn debstrap(mirror: &Mirror, archive: &Path) -> Call {
    let mut argv: Vec<String> = vec!["mmdebstrap".to_owned()];
    argv.extend(DEBIAN_OPTIONS.map(str::to_owned));
    if let Some(keyring) = mirror
        .keyring
        .as_deref()
        .filter(|keyring| *keyring != apt::DEBIAN_KEYRING)
    {
        let folder = Path::new(keyring).parent().unwrap_or(Path::new("/")).display();
        argv.push(format!("--customize-hook=copy-in {keyring} {folder}"));
    }
    // A mirror by TLS is asked again from inside the image, where only this bundle has the machine's roots.
    if mirror.uri.starts_with("https:") && Path::new(apt::CA_BUNDLE).is_file() {
        argv.push(format!(
            "--customize-hook=copy-in {} /etc/ssl/certs",
            apt::CA_BUNDLE
        ));
    }
    argv.extend([
        SUITE.to_owned(),
        archive.display().to_string(),
        mirror.line(SUITE),
    ]);
    let mut call = Call::new(argv).deadline_s(600);
    call.secrets.extend(mirror.secret().map(str::to_owned));
    call
}

async fn make_recipe(context: &Context, tag: &str, debian: &str, toolchain: &Path) -> Result<()> {
    let name = tag
        .trim_start_matches("horme-local/")
        .split(':')
        .next()
        .unwrap_or_default();
    let folder = context.root.join("docker/bases");
    let file = folder.join(format!("{name}.Dockerfile"));
    let recipe = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let call = build_call(
        (&folder, name),
        tag,
        debian,
        context.own_builder(),
        uses_toolchain(&recipe).then_some(toolchain),
    );
    let (call, mut baking) = (call.log(context.log(LOG)), Baking::default());
    let made = process::run_ok_observed(context, &call, |line| {
        if let Some(progress) = baking.line(line) {
            context.board.progress(progress);
        }
    });
    made.await.map(drop)
}

fn build_call(
    (folder, name): (&Path, &str),
    tag: &str,
    debian: &str,
    builder: &str,
    toolchain: Option<&Path>,
) -> Call {
    let mut argv: Vec<String> = ["docker", "buildx", "build", "--progress=plain"]
        .map(str::to_owned)
        .to_vec();
    argv.extend([
        "--file".to_owned(),
        format!("{}/{name}.Dockerfile", folder.display()),
    ]);
    argv.extend([
        "--build-context".to_owned(),
        format!("debian-base=docker-image://{debian}"),
    ]);
    if let Some(toolchain) = toolchain {
        argv.extend([
            "--build-context".to_owned(),
            format!("toolchain={}", toolchain.display()),
        ]);
    }
    // They stay on this machine, so packing them would be a waste; the runtime's layers ship with every image.
    let packing = if name == "runtime" {
        ""
    } else {
        ",compression=uncompressed"
    };
    argv.extend([
        "--output".to_owned(),
        format!("type=image,name={tag}{packing}"),
        folder.display().to_string(),
    ]);
    Call::new(argv)
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        // They must stand in the engine itself, whatever builds the images: by its own builder, which has its name.
        .env("BUILDX_BUILDER", builder)
        .deadline_s(900)
}

async fn sysroot(context: &Context) -> Result<PathBuf> {
    let call = Call::new(["rustc", "--print", "sysroot"]).cwd(&context.root);
    Ok(PathBuf::from(
        process::run_ok(context, &call).await?.stdout.trim(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_a_mirror_is_not_shown() {
        let mirror = mirror("http://user:sesame@mirror.example/debian", None);
        let shown = debstrap(&mirror, Path::new("/tmp/x.tar")).shown();
        assert!(
            shown.contains("http://***@mirror.example/debian") && !shown.contains("sesame"),
            "{shown}"
        );
    }

    fn mirror(uri: &str, keyring: Option<&str>) -> Mirror {
        Mirror {
            uri: uri.to_owned(),
            keyring: keyring.map(str::to_owned),
        }
    }

    #[test]
    fn a_keyring_of_the_machines_own_is_copied_in() {
        let shown = debstrap(
            &mirror("http://mirror.test/debian", Some("/etc/apt/keyrings/own.gpg")),
            Path::new("/x.tar"),
        )
        .shown();
        assert!(
            shown.contains("'--customize-hook=copy-in /etc/apt/keyrings/own.gpg /etc/apt/keyrings'"),
            "{shown}"
        );
        assert!(
            shown.ends_with(
                "'deb [signed-by=/etc/apt/keyrings/own.gpg] http://mirror.test/debian trixie main'"
            ),
            "{shown}"
        );
        let plain = debstrap(
            &mirror("http://mirror.test/debian", Some(apt::DEBIAN_KEYRING)),
            Path::new("/x.tar"),
        )
        .shown();
        assert!(!plain.contains("copy-in"), "{plain}");
    }

    #[test]
    fn only_a_recipe_that_asks_for_it_gets_the_toolchain() {
        let call = |toolchain| {
            build_call(
                (Path::new("/b"), "redis"),
                "horme-local/redis:1",
                "horme-local/debian:1",
                "default",
                toolchain,
            )
            .shown()
        };
        assert!(!call(None).contains("toolchain="));
        assert!(call(Some(Path::new("/rust"))).contains("toolchain=/rust"));
        assert!(call(None).contains("compression=uncompressed"));
    }
}
