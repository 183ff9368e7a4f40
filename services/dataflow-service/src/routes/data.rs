//! `/data/{Model}`: the same operations as REST.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use kit::Body;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::domain::model::Model;
use crate::domain::node::{Action, Operation};
use crate::error::{Error, Result};
use crate::store::Store;

type Fields = Map<String, Value>;

/// `?limit=&offset=`.
#[derive(Debug, Deserialize)]
struct Window {
    limit: Option<i64>,
    offset: Option<i64>,
}

pub(super) fn router() -> Router<Store> {
    Router::new()
        .route("/data/{model}", post(create).get(list))
        .route("/data/{model}/{id}", get(read).patch(update).delete(delete))
}

async fn create(
    State(store): State<Store>,
    Path(model): Path<String>,
    Body(fields): Body<Fields>,
) -> Result<(StatusCode, Json<Fields>)> {
    let model = store.model(&model).await?;
    let row = run(&store, &model, Operation::Create, fields).await?;
    Ok((StatusCode::CREATED, Json(row)))
}

async fn list(
    State(store): State<Store>,
    Path(model): Path<String>,
    Query(window): Query<Window>,
) -> Result<Json<Fields>> {
    let model = store.model(&model).await?;
    let parameters = object([
        ("limit", json!(window.limit.unwrap_or(10))),
        ("offset", json!(window.offset.unwrap_or(0))),
    ]);
    run(&store, &model, Operation::List, parameters).await.map(Json)
}

async fn read(State(store): State<Store>, Path((model, id)): Path<(String, String)>) -> Result<Json<Fields>> {
    let model = store.model(&model).await?;
    let parameters = object([("id", model.id_from_path(&id))]);
    let mut row = run(&store, &model, Operation::Read, parameters).await?;
    // The node's word, not the row's; 404 says the contrary here.
    row.remove("found");
    Ok(Json(row))
}

async fn update(
    State(store): State<Store>,
    Path((model, id)): Path<(String, String)>,
    Body(fields): Body<Fields>,
) -> Result<Json<Fields>> {
    let model = store.model(&model).await?;
    let key = object([("id", model.id_from_path(&id))]);
    let parameters = object([("filter", json!(key)), ("fields", json!(fields))]);
    let result = run(&store, &model, Operation::Update, parameters).await?;
    found(&result, "updated", &model, &id)?;
    Ok(Json(result))
}

async fn delete(
    State(store): State<Store>,
    Path((model, id)): Path<(String, String)>,
) -> Result<Json<Fields>> {
    let model = store.model(&model).await?;
    let parameters = object([("id", model.id_from_path(&id))]);
    let result = run(&store, &model, Operation::Delete, parameters).await?;
    found(&result, "deleted", &model, &id)?;
    Ok(Json(result))
}

async fn run(store: &Store, model: &Model, operation: Operation, parameters: Fields) -> Result<Fields> {
    let action = Action::parse(operation, model, &parameters, store.max_page())?;
    store.run(model, action).await
}

fn found(result: &Fields, flag: &str, model: &Model, id: &str) -> Result<()> {
    match result.get(flag) {
        Some(Value::Bool(true)) => Ok(()),
        _ => Err(Error::row_not_found(&model.name, id)),
    }
}

fn object<const N: usize>(pairs: [(&str, Value); N]) -> Fields {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
