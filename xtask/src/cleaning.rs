//! Leaving nothing behind: of this run, and of runs that died.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::context::Context;
use crate::engine::{Engine, Lease, Swept};
use crate::process::{end_orphans, orphans};
use crate::terminal::Board;

/// What a run keeps in its folder only while it lasts: exported images, generated secrets, checkouts.
const TEMPORARY: [&str; 5] = [
    "images",
    "secrets",
    "bench",
    crate::selftest::CHECKOUTS,
    crate::reproduce::FOLDER,
];

/// Sweeps what dead runs left behind, at the start of a run.
pub async fn sweep_the_dead(context: &Context, engine: &Engine) {
    let board = &context.board;
    for lease in Lease::dead(&Lease::dir()) {
        let run_id = lease.run_id.clone();
        match sweep(engine, lease).await {
            Ok(swept) if swept.is_nothing() => {}
            Ok(swept) => board.note(&format!("swept of dead run {run_id}: {}", swept.words())),
            Err(error) => board.note(&format!("what run {run_id} left behind stays for now: {error:#}")),
        }
    }
}

/// Sweeps what dead runs left behind, and says what was found; `only_look` removes nothing.
///
/// # Errors
/// Exit 3: no engine answers, or it refuses; what it refused stays for the next time.
pub async fn clean(board: &Board, only_look: bool) -> Result<()> {
    let engine = Engine::connect().await?;
    let mut total = Swept::default();
    for lease in Lease::dead(&Lease::dir()) {
        let run_id = lease.run_id.clone();
        if !lease.concerns(&engine.id) && !lease.is_ancient() {
            board.line(&format!(
                "run {run_id}: what it left lies in another engine: point DOCKER_HOST or DOCKER_CONTEXT to it"
            ));
        }
        let swept = if only_look {
            look(&engine, &lease).await?
        } else {
            sweep(&engine, lease).await?
        };
        if !swept.is_nothing() {
            board.line(&format!("run {run_id}: {}", swept.words()));
        }
        total += swept;
    }
    let verb = if only_look { "would sweep" } else { "swept" };
    board.line(&format!("{verb} {} of dead runs", total.words()));
    Ok(())
}

/// What [`sweep`] would do.
async fn look(engine: &Engine, lease: &Lease) -> Result<Swept> {
    let mut swept = Swept {
        processes: orphans(&lease.run_id),
        folders: temporary(lease).len(),
        ..Swept::default()
    };
    if lease.concerns(&engine.id) {
        swept += engine.left(&lease.run_id).await?;
    }
    Ok(swept)
}

/// Sweeps a run that is dead, and forgets its lease. On an error the lease stays, and the next sweep tries again;
/// so it does where what the run left lies in another engine.
async fn sweep(engine: &Engine, lease: Lease) -> Result<Swept> {
    // First whoever could still create something.
    let mut swept = Swept {
        processes: end_orphans(&lease.run_id).await,
        folders: remove(temporary(&lease)),
        ..Swept::default()
    };
    if lease.concerns(&engine.id) {
        swept += engine.sweep_dead(&lease.run_id).await?;
        lease.end();
    } else if lease.is_ancient() {
        lease.end();
    }
    Ok(swept)
}

/// The run's temporary folders that are there. A lease that names another folder than its run's is not believed.
fn temporary(lease: &Lease) -> Vec<PathBuf> {
    let run_dir = &lease.estate.run_dir;
    if run_dir.file_name().and_then(|name| name.to_str()) != Some(&lease.run_id) {
        return Vec::new();
    }
    folders(run_dir)
}

fn folders(run_dir: &Path) -> Vec<PathBuf> {
    let caches = std::fs::read_dir(run_dir.join("scan")).into_iter().flatten();
    let caches = caches.filter_map(Result::ok).map(|entry| entry.path());
    let caches = caches.filter(|path| path.extension().is_some_and(|end| end == "cache"));
    let folders = TEMPORARY.map(|name| run_dir.join(name)).into_iter().chain(caches);
    folders.filter(|path| path.is_dir()).collect()
}

/// How many could be removed.
fn remove(folders: Vec<PathBuf>) -> usize {
    let removed = folders.into_iter().map(std::fs::remove_dir_all);
    removed.filter(Result::is_ok).count()
}

/// Removes what this run created, and gives its lease back.
pub async fn clean_up(context: &Context, engine: &Engine, lease: Lease) {
    remove(folders(&context.run_dir));
    match engine.sweep(&context.run_id).await {
        Ok(_) => lease.end(),
        Err(error) => context.board.note(&format!(
            "the next run will sweep what is left of this one: {error:#}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_told_before_they_are_removed_and_reports_stay() {
        let run = tempfile::tempdir().unwrap();
        for name in ["bench", "secrets", "scan/x.cache", "logs"] {
            std::fs::create_dir_all(run.path().join(name)).unwrap();
        }
        let told = folders(run.path());
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told.iter().all(|path| path.is_dir()), "looking removed one");
        assert_eq!(remove(told), 3);
        assert!(run.path().join("logs").is_dir() && folders(run.path()).is_empty());
    }
}
