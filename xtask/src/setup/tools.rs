//! The scanner, its database and the Dockerfile linter, as they are kept in the user's cache for all checkouts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::scanner;
use crate::cache;
use crate::context::Context;
use crate::exit::Failure;
use crate::gate::scan::Policy;
use crate::process::{self, Call};
use crate::tool::trivy;

pub(super) const LOG: &str = "setup-tools";

fn no_home() -> Failure {
    let what = "neither XDG_CACHE_HOME nor HOME names a folder: tools have no place to be kept";
    Failure::undecided(what, "set one of them to a folder of this user's")
}

/// The Dockerfile linter, where there is one.
pub fn hadolint() -> Option<PathBuf> {
    process::which("hadolint").or_else(|| cached("hadolint"))
}

pub(super) fn cached(name: &str) -> Option<PathBuf> {
    let file = folder().ok()?.join(name);
    file.is_file().then_some(file)
}

/// The vulnerability database that set-up keeps where registries answer: a Trivy cache folder.
pub fn database(context: &Context) -> Option<PathBuf> {
    let folder = context.kept_database.clone()?;
    let is_there = |file: &str| folder.join("db").join(file).is_file();
    ["metadata.json", "trivy.db"]
        .into_iter()
        .all(is_there)
        .then_some(folder)
}

/// Whether that database was fetched within a day: its makers publish several a day.
pub(super) fn database_is_fresh(context: &Context) -> bool {
    let fetched =
        database(context).and_then(|folder| folder.join("db/metadata.json").metadata().ok()?.modified().ok());
    fetched
        .and_then(|at| at.elapsed().ok())
        .is_some_and(|age| age < Duration::from_secs(24 * 3600))
}

/// Fetches the database with the scanner itself, from its makers' registry or from the repository that mirrors it.
/// It takes the old one's place once it is whole: a scan of another run that is under way notices, and says so.
pub(super) async fn fetch_database(context: &Context) -> Result<()> {
    let policy = Policy::read(&context.root)?;
    let named = context.options.vuln_db_repository.clone();
    let repository = named.or(policy.database_repository);
    let from = repository.as_deref().unwrap_or("its makers' registry");
    context
        .board
        .note(&format!("setup: fetching the vulnerability database from {from}"));
    let _under_way = context.board.step("fetching the vulnerability database");
    let trivy = scanner::trivy(context).ok_or_else(|| {
        let hint = "see what kept the scanner from coming, above";
        Failure::undecided(
            "there is no scanner to fetch the vulnerability database with",
            hint,
        )
    })?;
    let folder = context.kept_database.clone().ok_or_else(no_home)?;
    let work = WorkFolder::new(context)?;
    let beside = |what: &str| folder.with_file_name(format!("vuln-db.{what}-{}", context.run_id));
    let (fresh, old) = (beside("fresh"), beside("old"));
    std::fs::create_dir_all(&fresh).with_context(|| format!("cannot create {}", fresh.display()))?;
    let call = trivy::fetch_database(&trivy, &fresh, repository.as_deref());
    let call = call.env("TMPDIR", work.path().display().to_string());
    let fetched = process::run_ok(context, &call.deadline_s(300).log(context.log(LOG))).await;
    if fetched.is_ok() {
        let _ = std::fs::rename(&folder, &old);
        std::fs::rename(&fresh, &folder)
            .with_context(|| format!("cannot put the database into {}", folder.display()))?;
    }
    for gone in [fresh, old] {
        let _ = std::fs::remove_dir_all(gone);
    }
    fetched.map(drop)
}

/// `$XDG_CACHE_HOME/horme/tools`, or the same under `~/.cache`.
fn folder() -> Result<PathBuf> {
    Ok(cache::user_folder().ok_or_else(no_home)?.join("tools"))
}

/// What a killed set-up left among the user's caches. A database that was to make room for a fresh one is put back
/// where none came.
pub(super) fn remove_unfinished(caches: &Path) {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let kept = caches.join("vuln-db");
    for entry in entries(caches) {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let is_old = name.starts_with("vuln-db.old-");
        if is_old && !kept.exists() {
            let _ = std::fs::rename(path, &kept);
        } else if is_old || name.starts_with("vuln-db.fresh-") {
            let _ = std::fs::remove_dir_all(path);
        }
    }
    for entry in entries(&caches.join("tools")) {
        if entry.file_name().to_string_lossy().starts_with('.') {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

pub(super) async fn check_hash(context: &Context, file: &Path, expected: &str) -> Result<()> {
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
pub(super) fn keep(program: &Path, name: &str) -> Result<()> {
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
pub(super) struct WorkFolder(PathBuf);

impl WorkFolder {
    pub(super) fn new(context: &Context) -> Result<Self> {
        let path = context
            .root
            .join("target/horme")
            .join(format!("tools-{}", context.run_id));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(WorkFolder(path))
    }

    pub(super) fn path(&self) -> &Path {
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
    use crate::cli::RunOptions;

    fn put(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }

    #[test]
    fn what_a_killed_set_up_left_goes_and_an_only_database_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let caches = folder.path();
        for name in [
            "vuln-db.old-1/db/trivy.db",
            "vuln-db.fresh-1/db/trivy.db",
            "tools/.trivy-0.68.2.7",
            "tools/hadolint",
            "results/x",
        ] {
            put(&caches.join(name));
        }
        let left = || {
            let entries = |folder: &Path| std::fs::read_dir(folder).unwrap().flatten();
            let all = entries(caches).chain(entries(&caches.join("tools")));
            let mut all: Vec<_> = all.map(|entry| entry.file_name()).collect();
            all.sort();
            all
        };
        remove_unfinished(caches);
        assert_eq!(left(), ["hadolint", "results", "tools", "vuln-db"]);
        put(&caches.join("vuln-db.old-2/db/trivy.db"));
        remove_unfinished(caches);
        assert_eq!(left(), ["hadolint", "results", "tools", "vuln-db"]);
    }

    #[test]
    fn half_a_database_is_none_and_is_not_fresh() {
        let folder = tempfile::tempdir().unwrap();
        let mut context = Context::new(folder.path().to_path_buf(), RunOptions::default());
        context.kept_database = Some(folder.path().to_path_buf());
        put(&folder.path().join("db/metadata.json"));
        assert_eq!((database(&context), database_is_fresh(&context)), (None, false));
        put(&folder.path().join("db/trivy.db"));
        assert_eq!(database(&context).as_deref(), Some(folder.path()));
        assert!(database_is_fresh(&context));
        let inside = context.inside(folder.path().to_path_buf(), RunOptions::default(), context.limits);
        assert_eq!(database(&inside), None, "a run inside asks the named one alone");
    }
}
