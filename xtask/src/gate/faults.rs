//! The faults gate: each store of the running stack killed, frozen, cut off, slowed and reset in turn, under
//! traffic. Dependents do what their `on_loss` says, stay live, answer in time, and come back by themselves;
//! what a client was told is stored is there afterwards.

mod judging;
mod relay;
pub mod table;
mod traffic;
mod trouble;

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum;
use serde_json::json;

use crate::build::Built;
use crate::cli::FaultKind;
use crate::context::Context;
use crate::engine::Engine;
use crate::exit::Failure;
use crate::plan::Plan;
use crate::stack::{Found, Stack, cut_short, merge};
use crate::verdict::{Check, Gate, Outcome, Record};

use relay::Relay;
use table::Row;
use traffic::Source;
use trouble::Trouble;

/// Refuses a store that no judged service needs, and services that need none: there is nothing to trouble.
///
/// # Errors
/// Exit 2, with the stores that there are.
pub fn refuse_unknown(context: &Context, plan: &Plan) -> Result<()> {
    let needs = plan.judged().flat_map(|image| &image.service.needs);
    refuse(&context.options.stores, &needs.collect())
}

fn refuse(asked: &[String], known: &BTreeSet<&String>) -> Result<()> {
    if known.is_empty() {
        let what = "none of these services needs a store: there are no faults to look at";
        return Err(Failure::usage(what, "--service: one with `needs` in its Cargo.toml").into());
    }
    match asked.iter().find(|store| !known.contains(store)) {
        None => Ok(()),
        Some(store) => {
            let known: Vec<&str> = known.iter().map(|store| store.as_str()).collect();
            let hint = format!("the stores are: {}", known.join(", "));
            Err(Failure::usage(format!("--store: no service needs '{store}'"), hint).into())
        }
    }
}

/// Judges the stack under every fault: a verdict for every service that the plan judges. Whatever happens
/// inside, the stack's logs are kept and all that was started is gone when this returns.
pub async fn check(context: &Context, engine: &Engine, plan: &Plan, images: &[Built]) -> Vec<Record> {
    let begun = Instant::now();
    let (mut found, mut rows) = (Found::new(), Vec::new());
    let ended = tokio::select! {
        ended = look(context, engine, plan, images, &mut found, &mut rows) => ended,
        () = context.cancel.cancelled() => Err(Failure::undecided("interrupted", "run again").into()),
    };
    let passed = |check: &Check| check.outcome == Outcome::Passed;
    if ended.is_err() || !found.values().flatten().all(passed) {
        context.witness.scene(context, engine, Gate::Faults).await;
    }
    let taking_down = context.board.step_in(Gate::Faults, "taking the stack down");
    if let Err(error) = engine.sweep_resources(&context.run_id).await {
        context.board.note(&format!(
            "the stack could not be removed now; the next run will: {error:#}"
        ));
    }
    drop(taking_down);
    let names: Vec<&str> = plan.judged().map(|image| image.service.name.as_str()).collect();
    if let Err(error) = &ended {
        cut_short(&mut found, names.iter().copied(), Gate::Faults, error);
    }
    let count = rows.len();
    let mut records: Vec<Record> = names
        .iter()
        .map(|name| verdict(name, found.remove(*name).unwrap_or_default(), count, begun))
        .collect();
    records
        .iter_mut()
        .for_each(|record| context.witness.clean(record));
    // Kept once: it is about the stack.
    if let Some(first) = records.first_mut() {
        first.figures.insert("faults".to_owned(), json!(rows));
    }
    records
}

fn verdict(service: &str, checks: Vec<Check>, faults: usize, begun: Instant) -> Record {
    let reason = format!("{faults} fault{}", crate::catalogue::plural(faults));
    let mut record = Record::from_checks(service, Gate::Faults, checks, reason);
    record.took_ms = begun.elapsed().as_millis() as u64;
    record.log = Some("logs/faults.log".to_owned());
    record
}

async fn look(
    context: &Context,
    engine: &Engine,
    plan: &Plan,
    images: &[Built],
    found: &mut Found,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let starting = context.board.step_in(Gate::Faults, "starting the stack");
    let stack = Stack::start(context, engine, plan, images, "faults").await?;
    let looked = async {
        let ready = stack.until_ready().await?;
        drop(starting);
        let unready = ready.iter().find_map(|(service, checks)| {
            let bad = checks.iter().find(|check| check.outcome != Outcome::Passed)?;
            Some(format!(
                "{service} is not ready without any fault: {}",
                bad.detail
            ))
        });
        if let Some(unready) = unready {
            return Err(Failure::undecided(unready, "`cargo xtask network` says more").into());
        }
        let sources = Source::prepare(&stack).await?;
        if sources.is_empty() {
            let what = "no requests are sent: none of the judged services has services/<name>/faults/*.json";
            let why = Failure::undecided(what, "write one").into();
            cut_short(found, stack.judged(), Gate::Faults, &why);
        }
        for store in chosen(&stack) {
            each(&stack, &store, &sources, found, rows).await?;
        }
        Ok(())
    };
    let looked = looked.await;
    stack.keep_logs().await;
    looked
}

/// The stores that judged services need, as far as they were asked for.
fn chosen(stack: &Stack<'_>) -> Vec<String> {
    let asked = &stack.context.options.stores;
    let mut stores = stack.stores();
    stores.retain(|store| asked.is_empty() || asked.contains(store));
    stores
}

/// Every fault of one store: first those that act on the store itself, then those that need a relay before it.
async fn each(
    stack: &Stack<'_>,
    store: &str,
    sources: &[Source],
    found: &mut Found,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let asked = &stack.context.options.faults;
    let kinds = FaultKind::value_variants().iter().copied();
    let kinds: Vec<FaultKind> = kinds
        .filter(|kind| asked.is_empty() || asked.contains(kind))
        .collect();
    let board = &stack.context.board;
    let mut relay = None;
    for kind in kinds {
        let _under_way = board.step_in(Gate::Faults, &format!("{store} {}", word(kind)));
        if matches!(kind, FaultKind::Slowed | FaultKind::Reset) && relay.is_none() {
            relay = Some(Relay::insert(stack, store).await?);
        }
        let trouble = Trouble::new(stack, store, kind, relay.as_ref()).await?;
        let (row, checks) = trouble.run(sources).await?;
        board.note(&row.line());
        let judged = checks.into_iter().filter(|(service, _)| stack.is_judged(service));
        merge(found, judged.collect());
        let is_back = row.recovered_ms.is_some();
        rows.push(row);
        if !is_back {
            // Every further fault would have to wait for it again, and could not be told from this one.
            let what = format!(
                "not all came back after {store} {}: no more was looked at",
                word(kind)
            );
            return Err(Failure::undecided(what, "mend its recovery first").into());
        }
    }
    if let Some(relay) = relay {
        relay.remove().await?;
    }
    Ok(())
}

/// A fault's name, as it is asked for.
fn word(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Killed => "killed",
        FaultKind::Frozen => "frozen",
        FaultKind::Cut => "cut",
        FaultKind::Slowed => "slowed",
        FaultKind::Reset => "reset",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_none_of_them_needs_is_refused_and_so_are_services_without_any() {
        let vault = "vault".to_owned();
        let known = BTreeSet::from([&vault]);
        assert!(refuse(&[], &known).is_ok());
        assert!(refuse(&["vault".to_owned()], &known).is_ok());
        let unknown = refuse(&["attic".to_owned()], &known).unwrap_err();
        assert_eq!(crate::exit::explain(&unknown).0, crate::exit::Exit::Usage);
        let none = refuse(&[], &BTreeSet::new()).unwrap_err();
        assert_eq!(crate::exit::explain(&none).0, crate::exit::Exit::Usage);
    }
}
