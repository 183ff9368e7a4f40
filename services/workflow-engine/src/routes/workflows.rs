//! `/workflows` and `/node-types`: registering definitions, reading what is registered, and deleting it.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::workflow::{Definition, Info, Listed, Registered, Versions};
use kit::Body;
use serde_json::{Value, json};

use crate::domain::step;
use crate::domain::workflow::Workflow;
use crate::error::{Error, Result};
use crate::state::AppState;
use crate::store::Registration;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/workflows", post(register).get(list))
        .route("/workflows/{name}", get(describe).delete(delete))
        .route("/workflows/{name}/info", get(info))
        .route("/workflows/{name}/versions", get(versions))
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

async fn list(State(state): State<AppState>) -> Result<Json<BTreeMap<String, Listed>>> {
    let kept = state.store.all().await?;
    let entries = kept.into_iter().map(|kept| {
        let Definition {
            name,
            version,
            description,
            tags,
            inputs_schema,
            ..
        } = kept.workflow.definition;
        let paths = ["", "/execute", "/info", "/versions"];
        let entry = Listed {
            kind: "workflow".to_owned(),
            description,
            version,
            tags,
            endpoints: paths.map(|path| format!("/workflows/{name}{path}")).to_vec(),
            inputs_schema,
        };
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

async fn info(State(state): State<AppState>, Path(name): Path<String>) -> Result<Json<Info>> {
    let kept = state.store.latest(&name).await?;
    let fingerprint = kept.workflow.fingerprint();
    let definition = kept.workflow.definition;
    Ok(Json(Info {
        name: definition.name,
        version: definition.version,
        description: definition.description,
        tags: definition.tags,
        workflow_id: kept.workflow_id,
        fingerprint,
        inputs_schema: definition.inputs_schema,
        nodes: definition.nodes,
        connections: definition.connections,
    }))
}

async fn versions(State(state): State<AppState>, Path(name): Path<String>) -> Result<Json<Versions>> {
    let versions = state.store.versions(&name).await?;
    Ok(Json(Versions { name, versions }))
}

async fn delete(State(state): State<AppState>, Path(name): Path<String>) -> Result<StatusCode> {
    state.store.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
