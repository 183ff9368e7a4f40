//! `/models`: registering models and reading what is registered.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::dataflow::ModelRegistered;
use kit::Body;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::domain::model::Model;
use crate::domain::node;
use crate::error::Result;
use crate::store::{Registration, Store};

/// Body of `POST /models`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    name: String,
    fields: Map<String, Value>,
}

pub(super) fn router() -> Router<Store> {
    Router::new()
        .route("/models", post(register).get(list))
        .route("/models/{name}", get(describe))
}

/// 201 where the model is new, 200 where the very same definition was there.
async fn register(
    State(store): State<Store>,
    Body(definition): Body<Definition>,
) -> Result<(StatusCode, Json<ModelRegistered>)> {
    let model = Model::define(&definition.name, &definition.fields)?;
    Ok(match store.register(model).await? {
        Registration::New(model) => (StatusCode::CREATED, Json(registered(&model))),
        Registration::Known(model) => (StatusCode::OK, Json(registered(&model))),
    })
}

async fn list(State(store): State<Store>) -> Result<Json<Value>> {
    let models = store.all().await?;
    let models: Vec<_> = models.iter().map(registered).collect();
    Ok(Json(json!({ "models": models })))
}

async fn describe(State(store): State<Store>, Path(name): Path<String>) -> Result<Json<Value>> {
    let model = store.model(&name).await?;
    let registered = registered(&model);
    Ok(Json(json!({
        "model": registered.model, "table": registered.table, "nodes": registered.nodes, "fields": model.fields,
    })))
}

fn registered(model: &Model) -> ModelRegistered {
    ModelRegistered {
        model: model.name.clone(),
        table: model.table(),
        nodes: node::names(model),
    }
}
