//! One execution from its beginning to its noted end. It runs on a task of its own: a caller that hangs up does
//! not leave it half done.

use std::time::Instant;

use axum::http::StatusCode;
use contract::workflow::ExecuteAnswer;
use kit::{Problem, Result};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use tracing::error;
use uuid::Uuid;

use crate::domain::plan::Plan;
use crate::runner::{self, Outputs};
use crate::state::Engine;
use crate::store::{Ended, Stored};

/// An execution that is under way.
#[derive(Debug)]
pub(crate) struct Begun {
    pub execution_id: String,
    task: JoinHandle<Result<ExecuteAnswer>>,
}

impl Begun {
    /// Waits for its end.
    ///
    /// # Errors
    /// The problem that it failed with, with its `execution_id`.
    pub(crate) async fn ended(self) -> Result<ExecuteAnswer> {
        let ended = self
            .task
            .await
            .unwrap_or_else(|error| Err(Problem::internal(error)));
        ended.map_err(|problem| problem.field("execution_id", self.execution_id))
    }
}

/// Begins an execution of `stored` with what it is `given`.
///
/// # Errors
/// It cannot be noted in the database, or the kept definition cannot run any more.
pub(crate) async fn begin(engine: &Engine, stored: Stored, given: Map<String, Value>) -> Result<Begun> {
    let plan = Plan::new(&stored.definition).map_err(|faults| Problem::internal(faults.join("; ")))?;
    let execution_id = Uuid::new_v4().to_string();
    engine
        .store
        .begin(&execution_id, &stored.workflow_id, engine.run_timeout)
        .await?;
    let work = execute(engine.clone(), stored, plan, given, execution_id.clone());
    Ok(Begun {
        execution_id,
        task: tokio::spawn(kit::carrying_ids(work)),
    })
}

async fn execute(
    engine: Engine,
    stored: Stored,
    plan: Plan,
    given: Map<String, Value>,
    execution_id: String,
) -> Result<ExecuteAnswer> {
    let begun = Instant::now();
    let run = runner::run(&plan, &given, &engine.dataflow);
    let ended = match tokio::time::timeout(engine.run_timeout, run).await {
        Ok(ended) => ended,
        Err(_) => Err(Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "RUN_TIMEOUT",
            format!("the run took longer than {} s", engine.run_timeout.as_secs()),
        )),
    };
    note(&engine, &execution_id, &ended).await;
    Ok(ExecuteAnswer {
        outputs: ended?,
        execution_time: begun.elapsed().as_secs_f64(),
        workflow_id: stored.workflow_id,
        execution_id,
        version: stored.definition.version,
    })
}

/// What the run did has happened: its answer stands even where its end cannot be noted.
async fn note(engine: &Engine, execution_id: &str, ended: &Result<Outputs>) {
    let noted = match ended {
        Ok(outputs) => {
            engine
                .store
                .end(execution_id, Ended::Completed(&json!(outputs)))
                .await
        }
        Err(problem) => {
            let words = json!({ "error": problem.message(), "code": problem.code() });
            engine.store.end(execution_id, Ended::Failed(&words)).await
        }
    };
    if let Err(problem) = noted {
        error!(execution_id, %problem, "the end of an execution could not be noted");
    }
}
