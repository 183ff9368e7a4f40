//! The interface's own description: a document for programs, a page for people.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{docs, state::App};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(document))
        .routes(routes!(page))
}

/// The OpenAPI 3.1 document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "documentation", security(()),
    responses((status = 200, description = "This document", content_type = "application/json")),
)]
async fn document(State(app): State<App>) -> Response {
    let [document, _] = app.documents();
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}

/// The document as a page.
#[utoipa::path(
    get, path = "/docs", tag = "documentation", security(()),
    responses((status = 200, description = "A page of HTML, without a script", content_type = "text/html")),
)]
async fn page(State(app): State<App>) -> Response {
    let [_, page] = app.documents();
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, docs::policy()),
    ];
    (headers, page).into_response()
}
