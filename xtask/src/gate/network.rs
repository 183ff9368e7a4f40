//! The network gate: the shipped compose stack over the very digests that booted, under a project of its own.
//! All ready; every declared edge open; every other ordered pair refused; stories; each store lost and back.

mod edges;
mod loss;
mod stack;
mod story;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use crate::build::Built;
use crate::context::Context;
use crate::engine::Engine;
use crate::evidence::{self, Subject};
use crate::exit::Failure;
use crate::plan::Plan;
use crate::report::live::Board;
use crate::verdict::{Check, Gate, Outcome, Record, age};

use stack::Stack;

/// Figures for the report, by name.
type Figures = serde_json::Map<String, Value>;

/// Checks by service.
type Found = BTreeMap<String, Vec<Check>>;

/// What the verdict on one service is true of: the whole stack.
pub fn subject(context: &Context, engine: &Engine, plan: &Plan, images: &[Built], service: &str) -> Subject {
    let stories = images
        .iter()
        .map(|image| image.plan.service.dir.join("stories"))
        .collect::<Vec<_>>();
    let stories: Vec<&Path> = stories.iter().map(PathBuf::as_path).collect();
    let settings = json!({
        "stack": stack_settings(context, plan, images),
        "stories": evidence::folders(&context.root, &stories),
        "judged": plan.judged().map(|image| &image.service.name).collect::<Vec<_>>(),
        "left_out": plan.left_out,
    });
    Subject::new(Gate::Network, service, digests(images), settings, tools(engine))
}

/// What losing one store is true of: its dependents and the store itself.
fn loss_subject(context: &Context, engine: &Engine, plan: &Plan, images: &[Built], store: &str) -> Subject {
    let needs = |image: &&Built| image.plan.service.needs.iter().any(|need| need == store);
    let dependents: Vec<Built> = images.iter().filter(needs).cloned().collect();
    let settings = stack_settings(context, plan, &dependents);
    let of = format!("losing {store}");
    Subject::new(Gate::Network, &of, digests(&dependents), settings, tools(engine))
}

fn stack_settings(context: &Context, plan: &Plan, images: &[Built]) -> Value {
    let declared = images.iter().map(|image| {
        let service = &image.plan.service;
        json!([
            service.name,
            service.port,
            service.needs,
            service.calls,
            service.on_loss
        ])
    });
    json!({
        "compose": evidence::compose_files(&context.root),
        "images": plan.bases.images,
        "limits": plan.limits,
        "services": declared.collect::<Vec<_>>(),
    })
}

fn digests(images: &[Built]) -> impl Iterator<Item = (String, String)> {
    images
        .iter()
        .map(|image| (image.plan.service.name.clone(), image.digest.clone()))
}

fn tools(engine: &Engine) -> Vec<String> {
    vec![engine.identity(), evidence::compose_plugin()]
}

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
    let mut figures = Figures::new();
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
    figures: &mut Figures,
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
            .any(|check| check.outcome != Outcome::Passed)
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
        let mut clock = Instant::now();
        let mut lap = |figures: &mut Figures, name: &str| {
            figures.insert(name.to_owned(), (clock.elapsed().as_millis() as u64).into());
            clock = Instant::now();
        };
        merge(&mut found, edges::check(&stack, figures).await?);
        lap(figures, "edges_ms");
        board.progress("telling the stories");
        merge(&mut found, story::check(&stack).await?);
        lap(figures, "stories_ms");
        for store in stack.stores() {
            board.progress(&format!("losing {store}"));
            let mut lost = without(&stack, &store).await?;
            lost.retain(|service, _| stack.is_judged(service));
            merge(&mut found, lost);
            lap(figures, &format!("losing_{store}_ms"));
        }
        Ok(found)
    };
    let found = looked.await;
    stack.keep_logs().await;
    found
}

/// What losing a store comes to; found once for as long as its dependents stay what they are.
async fn without(stack: &Stack<'_>, store: &str) -> Result<Found> {
    let subject = loss_subject(stack.context, stack.engine, stack.plan, stack.images, store);
    if let Some(kept) = evidence::find::<Found>(stack.context, &subject) {
        let mut found = kept.value.clone();
        for check in found.values_mut().flatten() {
            check
                .detail
                .push_str(&format!(" (seen {} ago, run {})", age(kept.age_s()), kept.run_id));
        }
        return Ok(found);
    }
    let found = loss::check(stack, store).await?;
    if found
        .values()
        .flatten()
        .all(|check| check.outcome == Outcome::Passed)
    {
        evidence::keep(stack.context, &subject, &found);
    }
    Ok(found)
}

fn merge(into: &mut Found, more: Found) {
    for (service, checks) in more {
        into.entry(service).or_default().extend(checks);
    }
}
