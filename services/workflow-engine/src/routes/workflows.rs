//! `/workflows`: register, list, show, remove.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use contract::workflow::{Definition, Registered};
use kit::{Body, Problem, Result};
use serde_json::{Value, json};

use crate::domain::fingerprint;
use crate::domain::plan::Plan;
use crate::state::Engine;
use crate::store::{Registration, Removal, Stored, Summary};

/// 201; 200 where the same definition is there already; 409 where the version has another one; 422 with every fault.
pub(crate) async fn register(
    State(engine): State<Engine>,
    Body(definition): Body<Definition>,
) -> Result<(StatusCode, Json<Registered>)> {
    Plan::new(&definition).map_err(refused)?;
    let fingerprint = fingerprint::of(&definition).map_err(Problem::internal)?;
    let (status, kept) = match engine.store.register(&definition, &fingerprint).await? {
        Registration::Created(kept) => (StatusCode::CREATED, kept),
        Registration::Unchanged(kept) => (StatusCode::OK, kept),
        Registration::Taken => return Err(taken(&definition)),
    };
    let registered = Registered {
        name: kept.name,
        version: kept.version,
        workflow_id: kept.workflow_id,
        fingerprint: kept.fingerprint,
    };
    Ok((status, Json(registered)))
}

fn refused(faults: Vec<String>) -> Problem {
    let message = format!("the workflow cannot run: {}", faults.join("; "));
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_WORKFLOW", message).field("faults", faults)
}

fn taken(definition: &Definition) -> Problem {
    let Definition { name, version, .. } = definition;
    let message =
        format!("workflow '{name}' has another definition under version {version}; give it a new version");
    Problem::new(StatusCode::CONFLICT, "WORKFLOW_EXISTS", message)
}

pub(crate) async fn list(State(engine): State<Engine>) -> Result<Json<Value>> {
    let workflows: Vec<Summary> = engine.store.workflows().await?;
    Ok(Json(json!({ "workflows": workflows, "count": workflows.len() })))
}

pub(crate) async fn show(State(engine): State<Engine>, Path(name): Path<String>) -> Result<Json<Stored>> {
    find(&engine, &name).await.map(Json)
}

pub(crate) async fn versions(State(engine): State<Engine>, Path(name): Path<String>) -> Result<Json<Value>> {
    let versions = engine.store.versions(&name).await?;
    if versions.is_empty() {
        return Err(unknown(&name));
    }
    Ok(Json(json!({ "versions": versions })))
}

/// 204; 409 while one of its executions is under way.
pub(crate) async fn remove(State(engine): State<Engine>, Path(name): Path<String>) -> Result<StatusCode> {
    match engine.store.remove(&name).await? {
        Removal::Removed => Ok(StatusCode::NO_CONTENT),
        Removal::Unknown => Err(unknown(&name)),
        Removal::Running => Err(Problem::new(
            StatusCode::CONFLICT,
            "WORKFLOW_RUNNING",
            format!("workflow '{name}' has an execution under way"),
        )),
    }
}

/// The newest version, or 404.
pub(crate) async fn find(engine: &Engine, name: &str) -> Result<Stored> {
    engine.store.newest(name).await?.ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Problem {
    let message = format!("there is no workflow '{name}'");
    Problem::new(StatusCode::NOT_FOUND, "WORKFLOW_NOT_FOUND", message)
}
