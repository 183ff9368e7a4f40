//! The gateway's routes, a file a subject.

mod auth;
mod board;
mod caller;
mod proxy;

use axum::Router;

use crate::state::App;

pub(crate) fn all() -> Router<App> {
    Router::new()
        .merge(auth::routes())
        .merge(board::routes())
        .merge(proxy::routes())
}
