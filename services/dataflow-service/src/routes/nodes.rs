//! `/nodes`: the models' operations in the form in which workflows call them.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::dataflow::{NodeAnswer, NodeCall};
use kit::{Body, Identity, Path};
use serde_json::{Value, json};

use crate::domain::call::Action;
use crate::domain::node;
use crate::domain::schema;
use crate::error::{Error, Result};
use crate::store::Store;

pub(super) fn router() -> Router<Store> {
    Router::new()
        .route("/nodes", get(list))
        .route("/nodes/{node}", get(describe))
        .route("/nodes/{node}/execute", post(execute))
}

async fn list(State(store): State<Store>) -> Result<Json<Value>> {
    let models = store.all().await?;
    let nodes: Vec<_> = models.iter().flat_map(node::names).collect();
    Ok(Json(json!({ "nodes": nodes })))
}

/// The node's parameters and result as JSON Schema.
async fn describe(State(store): State<Store>, Path(name): Path<String>) -> Result<Json<Value>> {
    for (model, word, operation) in node::meanings(&name) {
        if let Some(model) = store.find(model).await? {
            return Ok(Json(schema::of_node(&model, word, operation, store.max_page())));
        }
    }
    Err(Error::node_unknown(&name))
}

async fn execute(
    State(store): State<Store>,
    identity: Identity,
    Path(name): Path<String>,
    Body(call): Body<NodeCall>,
) -> Result<Json<NodeAnswer>> {
    for (model, _, operation) in node::meanings(&name) {
        let Some(model) = store.find(model).await? else {
            continue;
        };
        let call = Action::parse(operation, &model, call.parameters, store.max_page())?;
        let result = store.run(&identity, &model, call.action).await?;
        return Ok(Json(NodeAnswer {
            result,
            warnings: call.warnings,
        }));
    }
    Err(Error::node_unknown(&name))
}
