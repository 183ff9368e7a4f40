//! Who answers which path.

mod executions;
mod workflows;

use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::domain::step::KINDS;
use crate::state::Engine;

/// The service's own routes.
pub(crate) fn router(engine: Engine) -> Router {
    Router::new()
        .route("/workflows", get(workflows::list).post(workflows::register))
        .route(
            "/workflows/{name}",
            get(workflows::show).delete(workflows::remove),
        )
        .route("/workflows/{name}/versions", get(workflows::versions))
        .route("/workflows/{name}/execute", post(executions::execute))
        .route("/executions/{id}", get(executions::show))
        .route("/node-types", get(node_types))
        .with_state(engine)
}

async fn node_types() -> Json<Value> {
    let kinds = KINDS.iter().map(|kind| {
        let config: Value = kind
            .config
            .iter()
            .map(|(key, expects)| (*key, *expects))
            .collect();
        json!({ "type": kind.name, "description": kind.description, "config": config })
    });
    Json(kinds.collect())
}
