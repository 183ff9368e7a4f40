//! HTTP in, HTTP out: one file a resource.

mod bulk;
mod data;
mod jobs;
mod migrations;
mod models;
mod nodes;
mod query;

use axum::Router;

pub(crate) use models::defined;

use crate::store::Store;

/// All of the service's own routes.
pub(crate) fn router(store: Store) -> Router {
    Router::new()
        .merge(models::router())
        .merge(migrations::router())
        .merge(nodes::router())
        .merge(data::router())
        .merge(bulk::router())
        .merge(jobs::router())
        .with_state(store)
}
