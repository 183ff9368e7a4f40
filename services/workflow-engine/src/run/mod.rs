//! A run, from its beginning to its end. It is spawned, so that it ends, and is recorded, even if the caller does
//! not wait; while the process drains it is waited for as a request is.

mod attached;
mod journal;
mod keeper;
mod nodes;

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use contract::workflow::{ExecuteAnswer, ExecuteCall, Mode, Status};
use kit::{Health, Identity, Problem};
use metrics::counter;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::domain::binding::{Outputs, inputs_of};
use crate::domain::inputs;
use crate::error::{Error, Result};
use crate::state::AppState;
use crate::store::{self, Ending, Entry, Store};
use attached::Attached;
use journal::Journal;
use nodes::Steps;

pub(crate) use keeper::Runs;

/// How long, and how often, the end of a run is tried to be recorded after the first time.
const RECORD_WITHIN: Duration = Duration::from_secs(600);
const RECORD_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A run that has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) execution_id: String,
    pub(crate) workflow_id: String,
    pub(crate) version: String,
    ended: JoinHandle<Result<ExecuteAnswer, Problem>>,
    attached: Option<Attached>,
}

impl Begun {
    /// Waits for its end. Nothing happens to the run when the waiting is given up, unless it was begun as attached to
    /// its caller.
    pub(crate) async fn ended(self) -> Result<ExecuteAnswer, Problem> {
        let ended = self.ended.await;
        if let Some(attached) = self.attached {
            attached.detach();
        }
        ended.unwrap_or_else(|error| Err(Problem::internal(error)))
    }
}

/// What a run is of.
#[derive(Debug)]
struct Run {
    execution_id: String,
    kept: store::Kept,
    inputs: Map<String, Value>,
    identity: Identity,
    mode: Mode,
    /// Whether it is cancelled when its caller hangs up.
    attached: bool,
}

/// Begins a run: it is recorded, and on its way. What is recorded is run: a caller who hangs up meanwhile drops this
/// future, but not the task that does both.
pub(crate) async fn begin(
    state: &AppState,
    name: &str,
    call: ExecuteCall,
    identity: Identity,
) -> Result<Begun> {
    if call.config.as_ref().is_some_and(|config| !config.is_empty()) {
        return Err(Error::config_unsupported());
    }
    let kept = state.store.latest(name).await?;
    let mode = call.mode;
    let attached = call.cancel_on_disconnect && mode != Mode::Async;
    let inputs = inputs_of(call);
    let definition = &kept.workflow.definition;
    let faults = inputs::faults(&inputs, definition.inputs_schema.as_ref());
    if !faults.is_empty() {
        return Err(Error::inputs_invalid(faults));
    }
    let run = Run {
        execution_id: uuid::Uuid::new_v4().to_string(),
        kept,
        inputs,
        identity,
        mode,
        attached,
    };
    let beginning = tokio::spawn(kit::carrying_ids(on_its_way(state.clone(), run)));
    beginning
        .await
        .unwrap_or_else(|error| Err(Error::Broken(error.to_string())))
}

async fn on_its_way(state: AppState, run: Run) -> Result<Begun> {
    let status = match run.mode {
        Mode::Async => Status::Pending,
        Mode::Sync | Mode::Stream => Status::Running,
    };
    let begun = state
        .store
        .begin(&run.execution_id, &run.kept, status, &run.inputs, &run.identity)
        .await?;
    let definition = &run.kept.workflow.definition;
    if !begun {
        return Err(Error::workflow_unknown(&definition.name, &[]));
    }
    let (execution_id, workflow_id) = (run.execution_id.clone(), run.kept.workflow_id.clone());
    let version = definition.version.clone();
    let attached = run
        .attached
        .then(|| Attached::new(&state.store, &execution_id, &run.identity));
    let ended = tokio::spawn(kit::carrying_ids(counted(state, run)));
    Ok(Begun {
        execution_id,
        workflow_id,
        version,
        ended,
        attached,
    })
}

async fn counted(state: AppState, run: Run) -> Result<ExecuteAnswer, Problem> {
    let ended = recorded(state, run).await;
    let outcome = match &ended {
        Ok(_) => "completed",
        Err(problem) => match problem.code() {
            "RUN_CANCELLED" => "cancelled",
            "RUN_TIMEOUT" => "timeout",
            "INTERRUPTED" => "interrupted",
            _ => "failed",
        },
    };
    counter!("workflow_runs_total", "outcome" => outcome).increment(1);
    ended
}

async fn recorded(state: AppState, run: Run) -> Result<ExecuteAnswer, Problem> {
    // `None` while draining: the request that brought the run is still waited for.
    let held = state.health.enter();
    let kept = state.runs.keep(&run.execution_id);
    let (journal, told) = Journal::new();
    let (store, id) = (state.store.clone(), run.execution_id.clone());
    let writing = tokio::spawn(journal::write(store, id, journal.waiting(), told));
    let begun = Instant::now();
    journal.tell("run.started", None, None);
    let ended = tokio::select! {
        ended = course(&state, &run, &journal) => ended,
        () = kept.lost() => return Err(gone(&state.store, &run).await),
    };
    let took = begun.elapsed().as_secs_f64();
    let ended = ended
        .map_err(|problem| problem.field("execution_id", run.execution_id.as_str()))
        .map(|outputs| answer(&run, outputs, took));
    let last = last_entry(&journal, &ended);
    drop(journal);
    let mut rest = writing.await.unwrap_or_default();
    if ended.is_ok() {
        // The run's own outputs have it.
        rest.entries.iter_mut().for_each(|entry| entry.output = None);
    }
    rest.entries.push(last);
    let id = run.execution_id.as_str();
    tracing::info!(
        execution_id = id,
        took_s = took,
        completed = ended.is_ok(),
        "run ended"
    );
    let ending = match Ending::of(&ended, took) {
        Ok(ending) => ending,
        Err(error) => return Err(error.into_problem()),
    };
    match state.store.end(id, &ending, &rest.entries, rest.followed).await {
        Ok(true) => ended,
        Ok(false) => Err(gone(&state.store, &run).await),
        Err(error) => {
            // What the nodes did is done: the caller is told of that, not of our record.
            tracing::error!(execution_id = id, %error, "the end of a run could not be recorded yet");
            let again = record(state.store.clone(), run.execution_id, ending, rest.entries);
            tokio::spawn(async move {
                again.await;
                drop((kept, held));
            });
            ended
        }
    }
}

fn answer(run: &Run, outputs: Outputs, took_s: f64) -> ExecuteAnswer {
    ExecuteAnswer {
        outputs,
        execution_time: took_s,
        workflow_id: run.kept.workflow_id.clone(),
        execution_id: run.execution_id.clone(),
        version: run.kept.workflow.definition.version.clone(),
    }
}

fn last_entry(journal: &Journal, ended: &Result<ExecuteAnswer, Problem>) -> Entry {
    match ended {
        Ok(_) => journal.entry("run.completed", None, None, None),
        Err(problem) => journal.entry("run.failed", None, Some(store::error_of(problem)), None),
    }
}

/// The nodes, as long as they may take.
async fn course(state: &AppState, run: &Run, journal: &Journal) -> Result<Outputs, Problem> {
    let steps = Steps {
        workflow: &run.kept.workflow,
        inputs: &run.inputs,
        identity: &run.identity,
        execution_id: &run.execution_id,
        dataflow: &state.dataflow,
        store: &state.store,
        bell: &state.bell,
        journal,
    };
    let limit = state.max_runtime;
    tokio::select! {
        ended = steps.run() => ended,
        () = worked_for(limit, journal.waiting(), run.mode == Mode::Sync) => {
            let message = format!("the run took longer than {} s", limit.as_secs());
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "RUN_TIMEOUT", message))
        }
        () = ending_while_waiting(&state.health, journal.waiting()) => Err(Error::interrupted()),
    }
}

/// Ends when a run has worked for as long as it may. The time in which it only waits for a signal does not count,
/// unless its caller waits, too.
async fn worked_for(limit: Duration, mut waiting: watch::Receiver<usize>, always: bool) {
    if always {
        return tokio::time::sleep(limit).await;
    }
    let mut left = limit;
    loop {
        // The journal, and with it the sender, lives as long as the run.
        let _ = waiting.wait_for(|count| *count == 0).await;
        let begun = Instant::now();
        tokio::select! {
            () = tokio::time::sleep(left) => return,
            _ = waiting.wait_for(|count| *count > 0) => left = left.saturating_sub(begun.elapsed()),
        }
    }
}

/// Ends when the process is told to end and the run waits for a signal: that would outlast any drain.
async fn ending_while_waiting(health: &Health, mut waiting: watch::Receiver<usize>) {
    health.draining().await;
    // The journal, and with it the sender, lives as long as the run.
    let _ = waiting.wait_for(|count| *count > 0).await;
}

/// Why a run ended that somebody else has ended.
async fn gone(store: &Store, run: &Run) -> Problem {
    let found = store.execution(&run.execution_id, &run.identity).await;
    let problem = match found {
        Ok(found) if found.status == Status::Cancelled => Error::cancelled(),
        _ => Error::interrupted(),
    };
    problem.field("execution_id", run.execution_id.as_str())
}

/// Tries again to record an end, until the database is back.
async fn record(store: Store, execution_id: String, ending: Ending, entries: Vec<Entry>) {
    let trying = async {
        loop {
            tokio::time::sleep(RECORD_AGAIN_AFTER).await;
            match store.end(&execution_id, &ending, &entries, true).await {
                Ok(_) => return,
                Err(error) => tracing::debug!(execution_id, %error, "an end could not be recorded"),
            }
        }
    };
    if tokio::time::timeout(RECORD_WITHIN, trying).await.is_err() {
        tracing::error!(execution_id, "the end of a run was never recorded");
    }
}
