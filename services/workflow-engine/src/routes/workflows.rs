//! `/workflows` and `/node-types`: registering definitions and reading what is registered.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::workflow::{Definition, Registered};
use kit::Body;
use serde_json::{Map, Value, json};

use crate::domain::step;
use crate::domain::workflow::Workflow;
use crate::error::{Error, Result};
use crate::state::AppState;
use crate::store::Registration;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/workflows", post(register).get(list))
        .route("/workflows/{name}", get(describe))
        .route("/node-types", get(async || Json(step::catalogue())))
}

/// 201 where the version is new, 200 where the very same definition was there.
async fn register(
    State(state): State<AppState>,
    Body(definition): Body<Definition>,
) -> Result<(StatusCode, Json<Registered>)> {
    let workflow = Workflow::define(definition).map_err(Error::invalid)?;
    Ok(match state.store.register(&workflow).await? {
        Registration::New(registered) => (StatusCode::CREATED, Json(registered)),
        Registration::Known(registered) => (StatusCode::OK, Json(registered)),
    })
}

async fn list(State(state): State<AppState>) -> Result<Json<Map<String, Value>>> {
    let kept = state.store.all().await?;
    let entries = kept.into_iter().map(|kept| {
        let Definition {
            name,
            version,
            description,
            ..
        } = kept.workflow.definition;
        let endpoints = [format!("/workflows/{name}"), format!("/workflows/{name}/execute")];
        let entry = json!({
            "type": "workflow", "description": description, "version": version, "endpoints": endpoints,
        });
        (name, entry)
    });
    Ok(Json(entries.collect()))
}

async fn describe(State(state): State<AppState>, Path(name): Path<String>) -> Result<Json<Value>> {
    let kept = state.store.latest(&name).await?;
    Ok(Json(json!({
        "workflow_id": kept.workflow_id,
        "fingerprint": kept.workflow.fingerprint(),
        "definition": kept.workflow.definition,
    })))
}
