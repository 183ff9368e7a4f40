//! The classifier's routes, a file a subject.

mod classify;
mod codes;

use axum::Router;

use crate::state::App;

pub(crate) fn all() -> Router<App> {
    Router::new().merge(classify::routes()).merge(codes::routes())
}
