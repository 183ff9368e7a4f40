//! Running workflows, and reading runs back.

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::workflow::{ExecuteAnswer, ExecuteCall};
use kit::Body;
use serde_json::Value;

use crate::error::Result;
use crate::run;
use crate::state::AppState;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/workflows/{name}/execute", post(execute))
        .route("/executions/{id}", get(read))
}

async fn execute(
    State(state): State<AppState>,
    Path(name): Path<String>,
    call: Option<Body<ExecuteCall>>,
) -> Result<Json<ExecuteAnswer>> {
    let call = call.map(|Body(call)| call).unwrap_or_default();
    run::execute(&state, &name, call).await.map(Json)
}

async fn read(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<Value>> {
    state.store.execution(&id).await.map(Json)
}
