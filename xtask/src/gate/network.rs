//! The network gate: the shipped compose stack over the very digests that booted, under a project of its own.
//! All ready; every declared edge open; every other ordered pair refused; stories; each store lost and back.

mod edges;
mod loss;
pub mod matrix;
mod policy;
mod stories;
mod ways_out;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use crate::build::Built;
use crate::context::Context;
use crate::engine::Engine;
use crate::evidence::{self, Subject};
use crate::exit::Failure;
use crate::plan::Plan;
use crate::stack::{Found, Stack, cut_short, merge};
use crate::verdict::{Check, Gate, Outcome, Record};

use matrix::Pair;
pub use policy::Policy;

/// Figures for the report, by name.
type Figures = serde_json::Map<String, Value>;

/// The parts of a stack: everything that its verdicts are true of.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    pub context: &'a Context,
    pub engine: &'a Engine,
    pub plan: &'a Plan,
    pub images: &'a [Built],
    /// Name of each store's and the edge's image -> what stands behind that name now.
    pub stores: &'a BTreeMap<String, String>,
    pub policy: &'a Policy,
}

impl Parts<'_> {
    /// What the verdict on one service is true of: the whole stack.
    pub fn subject(&self, service: &str) -> Subject {
        let stories = self
            .images
            .iter()
            .map(|image| image.plan.service.dir.join("stories").display().to_string());
        let stories: Vec<String> = stories.collect();
        let stories: Vec<&str> = stories.iter().map(String::as_str).collect();
        let settings = json!({
            "stack": self.settings(self.images),
            "stories": evidence::folders(&self.context.root, &stories, ""),
            "judged": self.plan.judged().map(|image| &image.service.name).collect::<Vec<_>>(),
            "left_out": self.plan.left_out,
            "policy": self.policy,
        });
        Subject::new(
            Gate::Network,
            service,
            digests(self.images),
            settings,
            self.tools(),
        )
    }

    /// What losing one store is true of: its dependents and the store itself.
    fn loss_subject(&self, store: &str) -> Subject {
        let needs = |image: &&Built| image.plan.service.needs.iter().any(|need| need == store);
        let dependents: Vec<Built> = self.images.iter().filter(needs).cloned().collect();
        let of = format!("losing {store}");
        Subject::new(
            Gate::Network,
            &of,
            digests(&dependents),
            self.settings(&dependents),
            self.tools(),
        )
    }

    fn settings(&self, images: &[Built]) -> Value {
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
            "compose": evidence::compose_files(&self.context.root),
            "images": self.plan.bases.images,
            "stores": self.stores,
            "limits": self.plan.limits,
            "services": declared.collect::<Vec<_>>(),
        })
    }

    fn tools(&self) -> Vec<String> {
        vec![self.engine.identity(), evidence::compose_plugin()]
    }
}

fn digests(images: &[Built]) -> impl Iterator<Item = (String, String)> {
    images
        .iter()
        .map(|image| (image.plan.service.name.clone(), image.digest.clone()))
}

/// Judges the stack: a verdict for every service that the plan judges. Whatever happens inside, the stack's
/// logs are kept and its containers, networks and volumes are gone when this returns.
pub async fn check(parts: Parts<'_>) -> Vec<Record> {
    let Parts {
        context,
        engine,
        plan,
        ..
    } = parts;
    let begun = Instant::now();
    let (mut figures, mut pairs) = (Figures::new(), BTreeMap::new());
    let mut found = Found::new();
    let ended = tokio::select! {
        ended = look(parts, &mut found, &mut figures, &mut pairs) => ended,
        () = context.cancel.cancelled() => Err(Failure::undecided("interrupted", "run again").into()),
    };
    let passed = |check: &Check| check.outcome == Outcome::Passed;
    if ended.is_err() || !found.values().flatten().all(passed) {
        context.witness.scene(context, engine, Gate::Network).await;
    }
    let taking_down = context.board.step_in(Gate::Network, "taking the stack down");
    if let Err(error) = engine.sweep_resources(&context.run_id).await {
        context.board.note(&format!(
            "the stack could not be removed now; the next run will: {error:#}"
        ));
    }
    drop(taking_down);
    if let Err(error) = &ended {
        let judged = plan.judged().map(|image| image.service.name.as_str());
        cut_short(&mut found, judged, Gate::Network, error);
    }
    let took_ms = begun.elapsed().as_millis() as u64;
    let judged = plan.judged().map(|image| {
        let name = &image.service.name;
        let mut record = verdict(name, found.get(name).cloned().unwrap_or_default());
        record.figures = figures.clone();
        record.figures.insert("pairs".into(), json!(pairs.get(name)));
        record.took_ms = took_ms;
        record.log = Some("logs/network.log".to_owned());
        context.witness.clean(&mut record);
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

/// What is found stays found, whatever keeps the rest from being looked at.
async fn look(
    parts: Parts<'_>,
    found: &mut Found,
    figures: &mut Figures,
    pairs: &mut BTreeMap<String, Vec<Pair>>,
) -> Result<()> {
    let begun = Instant::now();
    let step = |words: &str| parts.context.board.step_in(Gate::Network, words);
    let starting = step("starting the stack");
    let stack = Stack::start(parts.context, parts.engine, parts.plan, parts.images, "network").await?;
    let looked = async {
        merge(found, stack.until_ready().await?);
        drop(starting);
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
            return Ok(());
        }
        let under_way = step("probing every ordered pair");
        let mut clock = Instant::now();
        let mut lap = |figures: &mut Figures, name: &str| {
            figures.insert(name.to_owned(), (clock.elapsed().as_millis() as u64).into());
            clock = Instant::now();
        };
        let (edges, told) = edges::check(&stack).await?;
        merge(found, edges);
        *pairs = told;
        lap(figures, "edges_ms");
        drop(under_way);
        let under_way = step("looking for ways out");
        merge(found, ways_out::check(&stack, parts.policy, figures).await?);
        lap(figures, "ways_out_ms");
        drop(under_way);
        let under_way = step("telling the stories");
        merge(found, stories::check(&stack).await?);
        lap(figures, "stories_ms");
        drop(under_way);
        for store in stack.stores() {
            let _under_way = step(&format!("losing {store}"));
            let mut lost = without(parts, &stack, &store).await?;
            lost.retain(|service, _| stack.is_judged(service));
            merge(found, lost);
            lap(figures, &format!("losing_{store}_ms"));
        }
        Ok(())
    };
    let looked = looked.await;
    stack.keep_logs().await;
    looked
}

/// What losing a store comes to; found once for as long as its dependents stay what they are.
async fn without(parts: Parts<'_>, stack: &Stack<'_>, store: &str) -> Result<Found> {
    let subject = parts.loss_subject(store);
    if let Some(kept) = evidence::find::<Found>(stack.context, &subject) {
        let mut found = kept.value.clone();
        for check in found.values_mut().flatten() {
            check.detail.push_str(&format!(" (found by run {})", kept.run_id));
        }
        return Ok(found);
    }
    let found = loss::check(stack, store).await?;
    if found
        .values()
        .flatten()
        .all(|check| check.outcome == Outcome::Passed)
    {
        // What changed meanwhile is kept under no name.
        if parts.loss_subject(store) == subject {
            evidence::keep(stack.context, &subject, &found);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_the_rest_from_being_looked_at_hides_no_violation() {
        let broken = Check::violated("undeclared edge a -> b", "open", "close it");
        let mut found = Found::from([("a".to_owned(), vec![broken])]);
        let error = Failure::undecided("the engine hangs", "restart it").into();
        cut_short(&mut found, ["a", "b"], Gate::Network, &error);
        assert_eq!(verdict("b", found["b"].clone()).outcome, Outcome::Undecided);
        let record = verdict("a", found["a"].clone());
        assert_eq!(record.outcome, Outcome::Violated);
        assert_eq!(record.checks[1].outcome, Outcome::Undecided);
        assert_eq!(record.checks[1].hint.as_deref(), Some("restart it"));
    }
}
