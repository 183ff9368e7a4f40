//! Runs: the engine's own answers, passed on.

use axum::{
    Json,
    extract::{Request, State},
    response::Response,
};
use kit::{Path, Problem};
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{caller::Caller, proxy};
use crate::{domain::call::execution_id, domain::forwarding::Service, state::App, surface};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read))
        .routes(routes!(events))
        .routes(routes!(cancel))
}

/// The caller's tenant's runs, the last begun first.
#[utoipa::path(
    get, path = "/executions", tag = "workflows",
    params(
        ("workflow" = Option<String>, Query, description = "of this workflow alone"),
        ("status" = Option<String>, Query, description = "pending, running, waiting, completed, failed or cancelled"),
        ("limit" = Option<u32>, Query, description = "how many at most"),
    ),
    responses((status = 200, description = "`{executions: [...]}`, without their results")),
)]
async fn list(State(app): State<App>, caller: Caller, request: Request) -> Result<Response, Problem> {
    proxy::pass(&app, &caller, Service::Workflow, "/executions", request).await
}

/// One run.
#[utoipa::path(
    get, path = "/executions/{id}", tag = "workflows", params(("id" = String, Path)),
    responses((status = 200, description = "Its status, and its result or error once it has ended")),
)]
async fn read(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    pass(&app, &caller, &id, "", request).await
}

/// One run's history, and what follows as it happens.
#[utoipa::path(
    get, path = "/executions/{id}/events", tag = "workflows",
    params(
        ("id" = String, Path),
        ("Last-Event-ID" = Option<String>, Header, description = "the last `id` that was heard"),
    ),
    responses((status = 200, description = "An event for each step", content_type = "text/event-stream")),
)]
async fn events(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    pass(&app, &caller, &id, "/events", request).await
}

/// Cancels a run.
#[utoipa::path(
    post, path = "/executions/{id}/cancel", tag = "workflows", params(("id" = String, Path)),
    responses((status = 200, description = "The run"), (status = 409, description = "It has ended: `EXECUTION_ENDED`")),
)]
async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    surface::cancel(&app, &caller, &id).await.map(Json)
}

async fn pass(
    app: &App,
    caller: &Caller,
    id: &str,
    part: &str,
    request: Request,
) -> Result<Response, Problem> {
    execution_id(id)?;
    let path = format!("/executions/{id}{part}");
    proxy::pass(app, caller, Service::Workflow, &path, request).await
}
