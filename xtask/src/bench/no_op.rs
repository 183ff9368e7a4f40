//! Nothing changed: our main job against the bare bake of the same targets.

use anyhow::Result;

use super::Bench;
use super::measure::{in_turn, timed};
use super::row::{Row, Samples};

const CASE: &str = "no-op";

pub async fn measure(bench: &Bench<'_>) -> Vec<Row> {
    let row = Row::new(CASE, "`cargo xtask ci`", "at most 1 s; ratio below 1, aim 0.5")
        .against("`docker buildx bake` of the same targets")
        .note("every gate has its verdict already; the bake finds every step cached");
    vec![row.measured(samples(bench).await)]
}

async fn samples(bench: &Bench<'_>) -> Result<Samples> {
    // The first may have to build and to look; from the second on all is known.
    for _ in 0..2 {
        timed(bench.context, &bench.xtask(CASE, &["ci"])).await?;
    }
    let bake = bench.bake(CASE, &bench.context.root, &bench.plan)?;
    timed(bench.context, &bake).await?;
    in_turn(
        bench.repeat,
        async |_| timed(bench.context, &bench.xtask(CASE, &["ci"])).await,
        async |_| timed(bench.context, &bake).await,
    )
    .await
}
