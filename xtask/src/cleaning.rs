//! Leaving nothing behind: of this run, and of runs that died.

use anyhow::Result;

use crate::catalogue::plural;
use crate::context::Context;
use crate::engine::{Engine, Lease};
use crate::report;
use crate::report::live::Board;

/// Sweeps what dead runs left behind, at the start of a run.
pub async fn sweep_the_dead(engine: &Engine, board: &Board) {
    for run_id in Lease::dead(&Lease::dir()) {
        match engine.sweep_dead(&run_id).await {
            Ok(0) => {}
            Ok(count) => board.note(&format!(
                "swept {count} thing{} that run {run_id} left behind",
                plural(count)
            )),
            Err(error) => board.note(&format!("what run {run_id} left behind stays for now: {error:#}")),
        }
    }
}

/// Sweeps what dead runs left behind, and says what was found.
pub async fn clean() -> Result<()> {
    let engine = Engine::connect().await?;
    let mut total = 0;
    for run_id in Lease::dead(&Lease::dir()) {
        total += engine.sweep_dead(&run_id).await?;
    }
    report::say(&format!("swept {total} thing{} of dead runs", plural(total)));
    Ok(())
}

/// Removes what this run created, and gives its lease back.
pub async fn clean_up(context: &Context, engine: &Engine, lease: Lease, board: &Board) {
    for folder in ["images", "secrets"] {
        let _ = std::fs::remove_dir_all(context.run_dir.join(folder));
    }
    match engine.sweep(&context.run_id).await {
        Ok(_) => lease.end(),
        Err(error) => board.note(&format!(
            "the next run will sweep what is left of this one: {error:#}"
        )),
    }
}
