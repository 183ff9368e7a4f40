//! `/data/{Model}`: the same operations as REST.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use kit::{Body, Identity, Path};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::query::Query;
use crate::domain::call::Action;
use crate::domain::model::Model;
use crate::domain::node::Operation;
use crate::domain::search::Search;
use crate::error::{Error, Result};
use crate::store::Store;

type Fields = Map<String, Value>;

/// `?limit=&offset=`. Conditions are for `POST /data/{model}/query`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    limit: Option<i64>,
    offset: Option<i64>,
}

pub(super) fn router() -> Router<Store> {
    Router::new()
        .route("/data/{model}", post(create).get(list))
        .route("/data/{model}/query", by_post(Operation::List))
        .route("/data/{model}/count", by_post(Operation::Count))
        .route("/data/{model}/upsert", by_post(Operation::Upsert))
        .route("/data/{model}/search", post(search))
        .route("/data/{model}/{id}", get(read).patch(update).delete(delete))
}

/// A node's parameters as a body, and its result as the answer.
fn by_post(operation: Operation) -> MethodRouter<Store> {
    post(
        async move |State(store): State<Store>,
                    identity: Identity,
                    Path(model): Path<String>,
                    Body(parameters): Body<Fields>| {
            let model = store.model(&model).await?;
            run(&store, &identity, &model, operation, parameters)
                .await
                .map(Json)
        },
    )
}

/// The nearest rows to a vector.
async fn search(
    State(store): State<Store>,
    identity: Identity,
    Path(model): Path<String>,
    Body(parameters): Body<Fields>,
) -> Result<Json<Fields>> {
    let model = store.model(&model).await?;
    let search = Search::parse(&model, &parameters, store.max_page())?;
    store
        .run(&identity, &model, Action::Search(search))
        .await
        .map(Json)
}

async fn create(
    State(store): State<Store>,
    identity: Identity,
    Path(model): Path<String>,
    Body(fields): Body<Fields>,
) -> Result<(StatusCode, Json<Fields>)> {
    let model = store.model(&model).await?;
    let row = run(&store, &identity, &model, Operation::Create, fields).await?;
    Ok((StatusCode::CREATED, Json(row)))
}

async fn list(
    State(store): State<Store>,
    identity: Identity,
    Path(model): Path<String>,
    Query(window): Query<Window>,
) -> Result<Json<Fields>> {
    let model = store.model(&model).await?;
    let parameters = object([
        ("limit", json!(window.limit.unwrap_or(10))),
        ("offset", json!(window.offset.unwrap_or(0))),
    ]);
    run(&store, &identity, &model, Operation::List, parameters)
        .await
        .map(Json)
}

async fn read(
    State(store): State<Store>,
    identity: Identity,
    Path((model, id)): Path<(String, String)>,
) -> Result<Json<Fields>> {
    let model = store.model(&model).await?;
    let parameters = object([("id", model.id_from_path(&id))]);
    let mut row = run(&store, &identity, &model, Operation::Read, parameters).await?;
    // The node's word, not the row's; 404 says the contrary here.
    row.remove("found");
    Ok(Json(row))
}

async fn update(
    State(store): State<Store>,
    identity: Identity,
    Path((model, id)): Path<(String, String)>,
    Body(fields): Body<Fields>,
) -> Result<Json<Fields>> {
    let model = store.model(&model).await?;
    let key = object([("id", model.id_from_path(&id))]);
    let parameters = object([("filter", json!(key)), ("fields", json!(fields))]);
    let result = run(&store, &identity, &model, Operation::Update, parameters).await?;
    found(&result, "updated", &model)?;
    Ok(Json(result))
}

async fn delete(
    State(store): State<Store>,
    identity: Identity,
    Path((model, id)): Path<(String, String)>,
) -> Result<Json<Fields>> {
    let model = store.model(&model).await?;
    let parameters = object([("id", model.id_from_path(&id))]);
    let result = run(&store, &identity, &model, Operation::Delete, parameters).await?;
    found(&result, "deleted", &model)?;
    Ok(Json(result))
}

async fn run(
    store: &Store,
    identity: &Identity,
    model: &Model,
    operation: Operation,
    parameters: Fields,
) -> Result<Fields> {
    let call = Action::parse(operation, model, parameters, store.max_page())?;
    let mut result = store.run(identity, model, call.action).await?;
    if !call.warnings.is_empty() {
        // Fields' names begin with a letter.
        result.insert("_warnings".to_owned(), json!(call.warnings));
    }
    Ok(result)
}

fn found(result: &Fields, flag: &str, model: &Model) -> Result<()> {
    match result.get(flag) {
        Some(Value::Bool(true)) => Ok(()),
        _ => Err(Error::row_not_found(&model.name)),
    }
}

fn object<const N: usize>(pairs: [(&str, Value); N]) -> Fields {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
