//! A copy of the checkout that may be edited, in the run's folder: a clone, with what is not committed yet put
//! on top. Images and binaries of the copy are made of the same files as those of the checkout.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::measure::DEADLINE_S;
use crate::cache::Cache;
use crate::catalogue::Catalogue;
use crate::context::Context;
use crate::plan::Plan;
use crate::planning;
use crate::process::{self, Call};
use crate::tool::git;
use crate::verdict::Gate;

/// The copy.
pub struct Checkout {
    /// That of the run, with the copy as its root and a cache of its own.
    pub context: Context,
    /// Where cargo builds on the host; shared by all cases, so that it is warmed up once.
    host_target: PathBuf,
}

impl Checkout {
    /// Copies the checkout into `folder`, which is removed with all that it holds at the end of the run.
    ///
    /// # Errors
    /// Git has no history here, or the copy cannot be written.
    pub async fn make(context: &Context, folder: &Path) -> Result<Self> {
        let clone = folder.join("checkout");
        remove(&clone)?;
        let head = process::run_ok(context, &git::head(&context.root)).await?;
        let head = git::parse_head(&head.stdout).context("git has no history here")?;
        let inside = Path::new(&head.prefix);
        let repository = context.root.ancestors().nth(inside.components().count());
        let repository = repository.context("the checkout lies outside its repository")?;
        process::run_ok(context, &clone_call(repository, &clone)).await?;
        let mut own = context.clone();
        // Joined to an empty path, a folder would get a slash at its end.
        own.root = clone.components().chain(inside.components()).collect();
        own.cache = Arc::new(Cache::new(folder.join("cache"), &context.run_id));
        let listed = process::run_ok(context, &files_call(&context.root)).await?;
        for path in parse_files(&listed.stdout) {
            overlay(&context.root.join(&path), &own.root.join(&path))
                .with_context(|| format!("cannot copy {}", path.display()))?;
        }
        Ok(Checkout {
            context: own,
            host_target: folder.join("host-target"),
        })
    }

    pub async fn catalogue(&self) -> Result<Catalogue> {
        planning::read_catalogue(&self.context).await
    }

    /// What a build of the copy would do now.
    pub async fn plan(&self) -> Result<Plan> {
        let catalogue = self.catalogue().await?;
        Ok(planning::work_out(&self.context, &catalogue, &[Gate::Build])
            .await?
            .0)
    }

    /// The bare build of all services on the host.
    pub fn host_build(&self) -> Call {
        Call::new(["cargo", "build", "--release", "--workspace", "--locked"])
            .cwd(&self.context.root)
            .env("CARGO_TARGET_DIR", self.host_target.display().to_string())
            .deadline_s(DEADLINE_S)
    }

    /// Makes the next build on the host a cold one.
    pub fn forget_host_build(&self) -> Result<()> {
        remove(&self.host_target)
    }
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn clone_call(repository: &Path, clone: &Path) -> Call {
    let argv = ["git", "clone", "--quiet", "--local", "--"]
        .map(Into::into)
        .into_iter();
    Call::new(argv.chain([repository.as_os_str().to_owned(), clone.as_os_str().to_owned()])).deadline_s(300)
}

/// Prints every file that is committed or could be, NUL after each; deleted ones too.
fn files_call(root: &Path) -> Call {
    let words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"].map(Into::into);
    let start = [
        std::ffi::OsString::from("git"),
        "-C".into(),
        root.as_os_str().to_owned(),
    ];
    Call::new(start.into_iter().chain(words))
}

fn parse_files(stdout: &str) -> Vec<PathBuf> {
    let paths = stdout.split('\0').map(|path| path.trim_end_matches('\n'));
    paths.filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

/// Makes one file of the copy like the one in the checkout. An equal one keeps its time; links come with the clone.
fn overlay(from: &Path, to: &Path) -> std::io::Result<()> {
    match from.symlink_metadata() {
        Err(_) if to.is_file() => return std::fs::remove_file(to),
        Err(_) => return Ok(()),
        Ok(found) if !found.is_file() => return Ok(()),
        Ok(_) => {}
    }
    if std::fs::read(to).is_ok_and(|there| std::fs::read(from).is_ok_and(|here| here == there)) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::copy(from, to).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::RunOptions;

    async fn git(context: &Context, words: &[&str]) {
        let identity = [
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "-c",
            "commit.gpgsign=false",
        ];
        let call = Call::new(["git"].iter().chain(&identity).chain(words)).cwd(&context.root);
        process::run_ok(context, &call).await.unwrap();
    }

    #[tokio::test]
    async fn the_copy_holds_what_is_not_committed_yet() {
        let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = dir.path();
        let context = Context::new(root.to_path_buf(), RunOptions::default());
        for (name, text) in [
            (".gitignore", "ignored\n"),
            ("kept", "1"),
            ("edited", "1"),
            ("gone", "1"),
        ] {
            std::fs::write(root.join(name), text).unwrap();
        }
        git(&context, &["init", "--quiet"]).await;
        git(&context, &["add", "--all"]).await;
        git(&context, &["commit", "--quiet", "--message", "first"]).await;
        std::fs::write(root.join("edited"), "2").unwrap();
        std::fs::remove_file(root.join("gone")).unwrap();
        std::fs::create_dir(root.join("new")).unwrap();
        std::fs::write(root.join("new/file"), "3").unwrap();
        std::fs::write(root.join("ignored"), "4").unwrap();

        let copy = Checkout::make(&context, out.path()).await.unwrap();
        let text = |name: &str| std::fs::read_to_string(copy.context.root.join(name)).ok();
        assert_eq!(text("kept").as_deref(), Some("1"));
        assert_eq!(text("edited").as_deref(), Some("2"));
        assert_eq!(text("new/file").as_deref(), Some("3"));
        assert_eq!((text("gone"), text("ignored")), (None, None));
        assert_eq!(copy.context.run_dir, context.run_dir, "logs stay with the run");
    }

    #[tokio::test]
    async fn a_checkout_inside_a_repository_is_found_in_the_clone() {
        let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = dir.path().join("sub");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("file"), "1").unwrap();
        let context = Context::new(root, RunOptions::default());
        git(&context, &["init", "--quiet", ".."]).await;
        git(&context, &["add", "--all"]).await;
        git(&context, &["commit", "--quiet", "--message", "first"]).await;
        let copy = Checkout::make(&context, out.path()).await.unwrap();
        assert!(copy.context.root.ends_with("checkout/sub"));
        assert!(copy.context.root.join("file").is_file());
    }
}
