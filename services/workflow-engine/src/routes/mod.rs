//! HTTP in, HTTP out: one file a resource.

mod executions;
mod streams;
mod workflows;

use axum::Router;

use crate::state::AppState;

/// All of the service's own routes.
pub(crate) fn router(state: AppState) -> Router {
    Router::new()
        .merge(workflows::router())
        .merge(executions::router())
        .with_state(state)
}
