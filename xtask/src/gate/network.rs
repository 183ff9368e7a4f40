//! The network gate: the shipped compose stack over the very digests that booted, under a project of its own.
//! All ready; every declared edge open; every other ordered pair refused; stories; each store lost and back.

mod edges;
mod loss;
mod stack;
mod story;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;

use crate::build::Built;
use crate::context::Context;
use crate::engine::Engine;
use crate::exit::Failure;
use crate::plan::Plan;
use crate::report::live::Board;
use crate::verdict::{Check, Gate, Record};

use stack::Stack;

/// Checks by service.
type Found = BTreeMap<String, Vec<Check>>;

/// Judges the stack: a verdict for every service that the plan judges. Whatever happens inside, the stack's
/// logs are kept and its containers, networks and volumes are gone when this returns.
pub async fn check(
    context: &Context,
    engine: &Engine,
    plan: &Plan,
    images: &[Built],
    board: &Board,
) -> Vec<Record> {
    let begun = Instant::now();
    let mut figures = serde_json::Map::new();
    let found = tokio::select! {
        found = look(context, engine, plan, images, board, &mut figures) => found,
        () = context.cancel.cancelled() => Err(Failure::undecided("interrupted", "run again").into()),
    };
    if let Err(error) = engine.sweep_resources(&context.run_id).await {
        board.note(&format!(
            "the stack could not be removed now; the next run will: {error:#}"
        ));
    }
    let took_ms = begun.elapsed().as_millis() as u64;
    let judged = plan.judged().map(|image| {
        let name = &image.service.name;
        let mut record = match &found {
            Ok(found) => verdict(name, found.get(name).cloned().unwrap_or_default()),
            Err(error) => undecided(name, error),
        };
        record.figures = figures.clone();
        record.took_ms = took_ms;
        record.log = Some("logs/network.log".to_owned());
        record
    });
    judged.collect()
}

fn verdict(service: &str, checks: Vec<Check>) -> Record {
    let open = checks
        .iter()
        .filter(|check| check.name.starts_with("reaches"))
        .count();
    Record::from_checks(
        service,
        Gate::Network,
        checks,
        format!("{open} edge{} open, rest refused", crate::catalogue::plural(open)),
    )
}

fn undecided(service: &str, error: &anyhow::Error) -> Record {
    let hint = error
        .downcast_ref::<Failure>()
        .and_then(|failure| failure.hint.clone());
    Record::undecided(
        service,
        Gate::Network,
        format!("{error:#}"),
        hint.unwrap_or_else(|| "see logs/network.log".to_owned()),
    )
}

async fn look(
    context: &Context,
    engine: &Engine,
    plan: &Plan,
    images: &[Built],
    board: &Board,
    figures: &mut serde_json::Map<String, serde_json::Value>,
) -> Result<Found> {
    let begun = Instant::now();
    board.progress("starting the stack");
    let stack = Stack::start(context, engine, plan, images).await?;
    let looked = async {
        let mut found = stack.until_ready().await?;
        figures.insert(
            "stack_ready_ms".into(),
            (begun.elapsed().as_millis() as u64).into(),
        );
        if found
            .values()
            .flatten()
            .any(|check| check.outcome != crate::verdict::Outcome::Passed)
        {
            // What never became ready makes every further answer meaningless; the rest stays undecided.
            let reason = Check::undecided(
                "stack",
                "another service of the stack is not ready",
                "mend that one first",
            );
            for service in stack.judged() {
                found.entry(service.to_owned()).or_default().push(reason.clone());
            }
            return Ok(found);
        }
        board.progress("probing every ordered pair");
        merge(&mut found, edges::check(&stack, figures).await?);
        board.progress("telling the stories");
        merge(&mut found, story::check(&stack).await?);
        for store in stack.stores() {
            board.progress(&format!("losing {store}"));
            merge(&mut found, loss::check(&stack, &store).await?);
        }
        Ok(found)
    };
    let found = looked.await;
    stack.keep_logs().await;
    found
}

fn merge(into: &mut Found, more: Found) {
    for (service, checks) in more {
        into.entry(service).or_default().extend(checks);
    }
}
