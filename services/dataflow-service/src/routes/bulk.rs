//! `/data/{Model}/bulk/...`: many rows in one call, as the bulk nodes take them.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use kit::{Body, Identity, Path};
use serde_json::{Map, Value};

use crate::domain::bulk::{Bulk, BulkOperation};
use crate::error::Result;
use crate::store::Store;

type Fields = Map<String, Value>;

pub(super) fn router() -> Router<Store> {
    let route = |operation| {
        post(
            async move |State(store): State<Store>,
                        Path(model): Path<String>,
                        identity: Identity,
                        Body(parameters): Body<Fields>| {
                run(&store, &identity, &model, operation, parameters)
                    .await
                    .map(Json)
            },
        )
    };
    Router::new()
        .route("/data/{model}/bulk/create", route(BulkOperation::Create))
        .route("/data/{model}/bulk/update", route(BulkOperation::Update))
        .route("/data/{model}/bulk/delete", route(BulkOperation::Delete))
        .route("/data/{model}/bulk/upsert", route(BulkOperation::Upsert))
}

async fn run(
    store: &Store,
    identity: &Identity,
    model: &str,
    operation: BulkOperation,
    parameters: Fields,
) -> Result<Fields> {
    let model = store.model(model).await?;
    let bulk = Bulk::parse(operation, &model, parameters)?;
    store.run_bulk(identity, &model, &bulk).await
}
