//! Running workflows; reading runs back, cancelling, signalling and asking them.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::workflow::{
    Accepted, ExecuteCall, Execution, Executions, Happening, Mode, QueryAnswer, Signalled, Status,
};
use kit::{Body, Identity, Problem};
use serde_json::{Value, json};

use super::streams;
use crate::error::{Error, Result};
use crate::run;
use crate::state::AppState;
use crate::store::Wanted;

/// On answers that tell of a run's own failure, whatever their status: the engine is well, and no reason to leave it
/// alone.
const RUN_FAILED: HeaderName = HeaderName::from_static("x-run-failed");
/// The queries that a run answers.
const QUERIES: [&str; 3] = ["status", "outputs", "history"];
/// Happenings that the query `history` tells at most; the events of a run tell all.
const MOST_HAPPENINGS: usize = 2000;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/workflows/{name}/execute", post(execute))
        .route("/executions", get(list))
        .route("/executions/{id}", get(read))
        .route("/executions/{id}/events", get(streams::follow))
        .route("/executions/{id}/cancel", post(cancel))
        .route("/executions/{id}/signals/{signal}", post(signal))
        .route("/executions/{id}/queries/{query}", get(query))
}

async fn execute(
    State(state): State<AppState>,
    Path(name): Path<String>,
    identity: Identity,
    call: Option<Body<ExecuteCall>>,
) -> Result<Response> {
    let call = call.map(|Body(call)| call).unwrap_or_default();
    let mode = call.mode;
    let begun = run::begin(&state, &name, call, identity).await?;
    Ok(match mode {
        Mode::Sync => Json(begun.ended().await.map_err(of_the_run)?).into_response(),
        Mode::Async => Json(Accepted {
            message: format!("GET /executions/{} tells of its end", begun.execution_id),
            execution_id: begun.execution_id,
            status: Status::Pending,
        })
        .into_response(),
        Mode::Stream => streams::course(begun),
    })
}

fn of_the_run(problem: Problem) -> Problem {
    problem.header(RUN_FAILED, "1")
}

async fn list(
    State(state): State<AppState>,
    identity: Identity,
    wanted: std::result::Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Executions>> {
    let Query(wanted) = wanted.map_err(|rejection| Error::query_invalid(rejection.body_text()))?;
    let executions = state.store.executions(&wanted, &identity).await?;
    Ok(Json(Executions { executions }))
}

async fn read(
    State(state): State<AppState>,
    Path(id): Path<String>,
    identity: Identity,
) -> Result<Json<Execution>> {
    state.store.execution(&id, &identity).await.map(Json)
}

/// Cancelling what is cancelled changes nothing; what has ended otherwise is a conflict.
async fn cancel(
    State(state): State<AppState>,
    Path(id): Path<String>,
    identity: Identity,
) -> Result<Json<Execution>> {
    state.store.cancel(&id, &identity).await?;
    let execution = state.store.execution(&id, &identity).await?;
    match execution.status {
        Status::Cancelled => Ok(Json(execution)),
        status => Err(Error::execution_ended(status)),
    }
}

async fn signal(
    State(state): State<AppState>,
    Path((id, signal)): Path<(String, String)>,
    identity: Identity,
    payload: Option<Body<Value>>,
) -> Result<(StatusCode, Json<Signalled>)> {
    let (_, kept) = state.store.run(&id, &identity).await?;
    let known: Vec<&str> = kept.workflow.signals().collect();
    if !known.contains(&signal.as_str()) {
        return Err(Error::signal_unknown(&signal, &known));
    }
    let payload = payload.map_or(Value::Null, |Body(payload)| payload);
    if !state.store.signal(&id, &signal, &payload, &identity).await? {
        let (status, _) = state.store.run(&id, &identity).await?;
        return Err(match status {
            Status::Pending | Status::Running | Status::Waiting => Error::too_many_signals(),
            ended => Error::execution_ended(ended),
        });
    }
    let answer = Signalled {
        execution_id: id,
        signal,
        status: "accepted".to_owned(),
    };
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

async fn query(
    State(state): State<AppState>,
    Path((id, query)): Path<(String, String)>,
    identity: Identity,
) -> Result<Json<QueryAnswer>> {
    // Whose run it is comes before what is asked of it.
    let (status, _) = state.store.run(&id, &identity).await?;
    let result = match query.as_str() {
        "status" => {
            let waiting_for = match status {
                Status::Waiting => state.store.waiting_for(&id).await?,
                _ => Vec::new(),
            };
            json!({ "status": status, "waiting_for": waiting_for })
        }
        "outputs" => Value::Object(state.store.outputs(&id).await?),
        "history" => json!(history(&state, &id).await?),
        unknown => return Err(Error::query_unknown(unknown, &QUERIES)),
    };
    Ok(Json(QueryAnswer {
        execution_id: id,
        query,
        result,
    }))
}

async fn history(state: &AppState, execution_id: &str) -> Result<Vec<Happening>> {
    let mut all: Vec<Happening> = Vec::new();
    while all.len() < MOST_HAPPENINGS {
        let after = all.last().map_or(0, |last| last.id);
        let (batch, _) = state.store.history(execution_id, after).await?;
        if batch.is_empty() {
            break;
        }
        all.extend(batch);
    }
    Ok(all)
}
