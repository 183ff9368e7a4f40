//! `/migrations`: what a new definition would change, changing it, taking it back, and what has been changed.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use contract::dataflow::Definition;
use kit::{Body, Path};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::models::{checked, registered};
use super::query::Query;
use crate::domain::fault::Fault;
use crate::error::Result;
use crate::store::{Consent, Migration, Outcome, Store};

/// Body of `POST /migrations/apply`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Apply {
    name: String,
    fields: Map<String, Value>,
    #[serde(default)]
    config: Map<String, Value>,
    /// Also what breaks callers or loses values.
    #[serde(default)]
    confirm: bool,
}

/// `?confirm=true`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirm {
    #[serde(default)]
    confirm: bool,
}

/// `?model=Product`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    model: Option<String>,
}

pub(super) fn router() -> Router<Store> {
    Router::new()
        .route("/migrations", get(list))
        .route("/migrations/plan", post(plan))
        .route("/migrations/apply", post(apply))
        .route("/migrations/rollback/{version}", post(roll_back))
        .route("/models/{name}", delete(remove))
}

/// The newest first.
async fn list(State(store): State<Store>, Query(which): Query<Which>) -> Result<Json<Value>> {
    let migrations = store.migrations(which.model.as_deref()).await?;
    Ok(Json(json!({ "migrations": migrations })))
}

async fn plan(State(store): State<Store>, Body(definition): Body<Definition>) -> Result<Json<Value>> {
    let planned = store.plan(checked(&store, &definition).await?).await?;
    Ok(Json(planned.shown()))
}

async fn apply(State(store): State<Store>, Body(apply): Body<Apply>) -> Result<Response> {
    let definition = Definition {
        name: apply.name,
        fields: apply.fields,
        config: apply.config,
    };
    let outcome = store
        .migrate(checked(&store, &definition).await?, consent(apply.confirm))
        .await?;
    Ok(answer(outcome))
}

async fn roll_back(
    State(store): State<Store>,
    Path(version): Path<i64>,
    Query(Confirm { confirm }): Query<Confirm>,
) -> Result<Response> {
    Ok(answer(store.roll_back(version, consent(confirm)).await?))
}

/// The model, its table and its rows: `?confirm=true` is needed in any case.
async fn remove(
    State(store): State<Store>,
    Path(name): Path<String>,
    Query(Confirm { confirm }): Query<Confirm>,
) -> Result<Response> {
    Ok(answer(store.remove(&name, consent(confirm)).await?))
}

fn consent(confirmed: bool) -> Consent {
    if confirmed {
        Consent::Confirmed
    } else {
        Consent::Asked
    }
}

/// `{model, table, nodes, migration}`: 201 where the model is new, 200 otherwise, and 202 where it takes long and
/// goes on: `GET /migrations` tells its end.
pub(super) fn answer(outcome: Outcome) -> Response {
    answer_with(outcome, &[])
}

/// As `answer`, with what the definition should better say.
pub(super) fn answer_with(outcome: Outcome, warnings: &[Fault]) -> Response {
    let with = |model: &_, migration: Option<&Migration>| {
        let mut body = json!(registered(model));
        if let Some(object) = body.as_object_mut() {
            object.insert("migration".to_owned(), json!(migration));
            if !warnings.is_empty() {
                let told: Vec<Value> = warnings.iter().map(Fault::to_json).collect();
                object.insert("warnings".to_owned(), Value::Array(told));
            }
        }
        Json(body)
    };
    match outcome {
        Outcome::Known(model) => with(&model, None).into_response(),
        Outcome::New(model, migration) => {
            (StatusCode::CREATED, with(&model, Some(&migration))).into_response()
        }
        Outcome::Changed(model, migration) => with(&model, Some(&migration)).into_response(),
        Outcome::Gone(migration) => {
            Json(json!({ "model": migration.model, "removed": true, "migration": migration })).into_response()
        }
        Outcome::Running => {
            let told = json!({ "status": "pending", "message": "it goes on: GET /migrations tells its end" });
            (StatusCode::ACCEPTED, Json(told)).into_response()
        }
    }
}
