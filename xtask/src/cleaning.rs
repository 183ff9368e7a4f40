//! Leaving nothing behind: of this run, and of runs that died.

use std::path::Path;

use anyhow::Result;

use crate::context::Context;
use crate::engine::{Engine, Lease, Swept};
use crate::process::end_orphans;
use crate::report;
use crate::report::live::Board;

/// What a run keeps in its folder only while it lasts: exported images, generated secrets, checkouts.
const TEMPORARY: [&str; 4] = ["images", "secrets", "bench", crate::selftest::CHECKOUTS];

/// Sweeps what dead runs left behind, at the start of a run.
pub async fn sweep_the_dead(engine: &Engine, board: &Board) {
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
pub async fn clean(only_look: bool) -> Result<()> {
    let engine = Engine::connect().await?;
    let mut total = Swept::default();
    for lease in Lease::dead(&Lease::dir()) {
        let run_id = lease.run_id.clone();
        if !lease.concerns(&engine.id) && !lease.is_ancient() {
            report::say(&format!(
                "run {run_id}: what it left lies in another engine: point DOCKER_HOST to it"
            ));
        }
        let swept = if only_look {
            engine.left(&run_id).await?
        } else {
            sweep(&engine, lease).await?
        };
        if !swept.is_nothing() {
            report::say(&format!("run {run_id}: {}", swept.words()));
        }
        total += swept;
    }
    let verb = if only_look { "would sweep" } else { "swept" };
    report::say(&format!("{verb} {} of dead runs", total.words()));
    Ok(())
}

/// Sweeps a run that is dead, and forgets its lease. On an error the lease stays, and the next sweep tries again;
/// so it does where what the run left lies in another engine.
async fn sweep(engine: &Engine, lease: Lease) -> Result<Swept> {
    // First whoever could still create something.
    let mut swept = Swept {
        processes: end_orphans(&lease.run_id).await,
        folders: remove_temporary(&lease),
        ..Swept::default()
    };
    if lease.concerns(&engine.id) {
        swept += engine.sweep(&lease.run_id).await?;
        lease.end();
    } else if lease.is_ancient() {
        lease.end();
    }
    Ok(swept)
}

/// How many of the run's temporary folders were there. A lease that names another folder than its run's is not
/// believed.
fn remove_temporary(lease: &Lease) -> usize {
    let run_dir = &lease.estate.run_dir;
    if run_dir.file_name().and_then(|name| name.to_str()) != Some(&lease.run_id) {
        return 0;
    }
    let removed = folders(run_dir);
    removed.filter(|done| *done).count()
}

fn folders(run_dir: &Path) -> impl Iterator<Item = bool> {
    let caches = std::fs::read_dir(run_dir.join("scan")).into_iter().flatten();
    let caches = caches.filter_map(Result::ok).map(|entry| entry.path());
    let caches = caches.filter(|path| path.extension().is_some_and(|end| end == "cache"));
    let folders = TEMPORARY.map(|name| run_dir.join(name)).into_iter().chain(caches);
    folders.map(|path| std::fs::remove_dir_all(path).is_ok())
}

/// Removes what this run created, and gives its lease back.
pub async fn clean_up(context: &Context, engine: &Engine, lease: Lease, board: &Board) {
    folders(&context.run_dir).for_each(drop);
    match engine.sweep(&context.run_id).await {
        Ok(_) => lease.end(),
        Err(error) => board.note(&format!(
            "the next run will sweep what is left of this one: {error:#}"
        )),
    }
}
