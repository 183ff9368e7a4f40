//! `/nodes`: the models' operations in the form in which workflows call them.

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::dataflow::{NodeAnswer, NodeCall};
use kit::Body;
use serde_json::{Value, json};

use crate::domain::node::{self, Action};
use crate::error::{Error, Result};
use crate::store::Store;

pub(super) fn router() -> Router<Store> {
    Router::new()
        .route("/nodes", get(list))
        .route("/nodes/{node}/execute", post(execute))
}

async fn list(State(store): State<Store>) -> Result<Json<Value>> {
    let models = store.all().await?;
    let nodes: Vec<_> = models.iter().flat_map(node::names).collect();
    Ok(Json(json!({ "nodes": nodes })))
}

async fn execute(
    State(store): State<Store>,
    Path(name): Path<String>,
    Body(call): Body<NodeCall>,
) -> Result<Json<NodeAnswer>> {
    for (model, operation) in node::meanings(&name) {
        let Some(model) = store.find(model).await? else {
            continue;
        };
        let operation = operation.ok_or_else(|| Error::not_implemented(&name))?;
        let action = Action::parse(operation, &model, &call.parameters, store.max_page())?;
        let result = store.run(&model, action).await?;
        return Ok(Json(NodeAnswer { result }));
    }
    Err(Error::node_unknown(&name))
}
