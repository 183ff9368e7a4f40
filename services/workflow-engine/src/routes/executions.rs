//! Running a workflow, and asking how it went.

use axum::Json;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use contract::workflow::ExecuteCall;
use kit::{Body, Problem, Result};
use serde_json::json;

use crate::domain::{binding, suggest};
use crate::executions;
use crate::routes::workflows;
use crate::state::Engine;
use crate::store::Execution;

const MODES: [&str; 2] = ["sync", "async"];

/// `sync` (the default) answers with the outputs, `async` with 202 and the execution's id.
pub(crate) async fn execute(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response> {
    let call = read(request).await?;
    let mode = call.mode.as_deref().unwrap_or("sync");
    if !MODES.contains(&mode) {
        let message = format!("unknown mode '{mode}'{}", suggest::hint(mode, MODES));
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "INVALID_MODE",
            message,
        ));
    }
    let stored = workflows::find(&engine, &name).await?;
    let given = binding::bound(call.inputs, call.parameters);
    let begun = executions::begin(&engine, stored, given).await?;
    if mode == "async" {
        let answer = json!({
            "execution_id": begun.execution_id,
            "status": "pending",
            "message": format!("ask /executions/{}", begun.execution_id),
        });
        return Ok((StatusCode::ACCEPTED, Json(answer)).into_response());
    }
    Ok(Json(begun.ended().await?).into_response())
}

/// A request without a body gives nothing to the run.
async fn read(request: Request) -> Result<ExecuteCall> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    if !chunked && length.is_none_or(|length| length == "0") {
        return Ok(ExecuteCall::default());
    }
    Body::from_request(request, &()).await.map(|Body(call)| call)
}

pub(crate) async fn show(State(engine): State<Engine>, Path(id): Path<String>) -> Result<Json<Execution>> {
    let execution = engine.store.execution(&id).await?;
    execution.map(Json).ok_or_else(|| {
        let message = format!("there is no execution '{id}'");
        Problem::new(StatusCode::NOT_FOUND, "EXECUTION_NOT_FOUND", message)
    })
}
