//! HTTP in, HTTP out: one file a resource.

mod data;
mod models;
mod nodes;

use axum::Router;

use crate::store::Store;

/// All of the service's own routes.
pub(crate) fn router(store: Store) -> Router {
    Router::new()
        .merge(models::router())
        .merge(nodes::router())
        .merge(data::router())
        .with_state(store)
}
