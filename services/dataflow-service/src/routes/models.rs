//! `/models`: registering models and reading what is registered.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::dataflow::{Definition, ModelRegistered};
use kit::{Body, Path};
use serde::Deserialize;
use serde_json::{Value, json};

use super::migrations::answer_with;
use super::query::Query;
use crate::domain::model::Model;
use crate::domain::{node, schema, validation};
use crate::error::Result;
use crate::store::Store;

pub(super) fn router() -> Router<Store> {
    Router::new()
        .route("/models", post(register).get(list))
        .route("/models/{name}", get(describe))
        .route("/models/{name}/schema", get(describe_rows))
}

/// `?strict=true`: what is only advised is demanded.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strictness {
    #[serde(default)]
    strict: bool,
}

/// 201 where the model is new, 200 where the very same definition was there, or where the model could be migrated to
/// this one without asking.
async fn register(
    State(store): State<Store>,
    Query(Strictness { strict }): Query<Strictness>,
    Body(definition): Body<Definition>,
) -> Result<Response> {
    let model = checked(&store, &definition).await?;
    let warnings = validation::warnings(&definition, &model);
    if strict && !warnings.is_empty() {
        return Err(warnings.into());
    }
    Ok(answer_with(store.register(model).await?, &warnings))
}

/// The model that a definition defines.
pub(crate) fn defined(definition: &Definition) -> Result<Model> {
    Ok(Model::from_definition(definition)?)
}

/// As `defined`; and what it refers to exists.
pub(super) async fn checked(store: &Store, definition: &Definition) -> Result<Model> {
    let model = defined(definition)?;
    let mut known = BTreeMap::new();
    for reference in model
        .fields
        .values()
        .filter_map(|field| field.references.as_ref())
    {
        if let Some(referred) = store.find(&reference.model).await? {
            known.insert(reference.model.clone(), Model::clone(&referred));
        }
    }
    let faults = validation::references(&model, &known);
    if faults.is_empty() {
        Ok(model)
    } else {
        Err(faults.into())
    }
}

/// JSON Schema of a row.
async fn describe_rows(State(store): State<Store>, Path(name): Path<String>) -> Result<Json<Value>> {
    Ok(Json(schema::of_model(&*store.model(&name).await?)))
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
        "config": model.config,
    })))
}

pub(super) fn registered(model: &Model) -> ModelRegistered {
    ModelRegistered {
        model: model.name.clone(),
        table: model.table(),
        nodes: node::names(model),
    }
}
