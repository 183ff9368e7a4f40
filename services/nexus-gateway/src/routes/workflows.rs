//! Workflows over HTTP: bodies in, `surface` asked, answers out. Shapes are those of the sheet's section 1.1.

use axum::{
    Json, RequestExt,
    body::HttpBody,
    extract::{FromRequest, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use contract::workflow::Mode;
use kit::{Path, Problem};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::{Caller, authenticate},
    events::UNBUFFERED,
};
use crate::{error::Error, state::App, surface};

type Answer = Result<Json<Value>, Problem>;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(root))
        .routes(routes!(list, register))
        .routes(routes!(delete))
        .routes(routes!(execute))
        .routes(routes!(execute_too))
        .routes(routes!(status))
        .routes(routes!(info))
        .routes(routes!(health))
        .routes(routes!(signal))
        .routes(routes!(query))
        .routes(routes!(unknown))
}

/// A run that is asked for. Where `inputs` are given they are bound untouched; else `parameters` are, each by its
/// name and all of them under `parameters`.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "the shape of contract::workflow::ExecuteCall, which knows no document"
)]
struct Run {
    inputs: Option<Map<String, Value>>,
    parameters: Option<Map<String, Value>>,
    /// Empty or left out (422 `CONFIG_UNSUPPORTED`): a run has no settings of its own.
    config: Option<Map<String, Value>>,
    /// `sync` (the default), `async` or `stream`.
    mode: Option<String>,
    /// Whether the run is cancelled when its caller hangs up before its end; not in mode `async`.
    cancel_on_disconnect: Option<bool>,
}

/// What this is, and where things are.
///
/// Without a credential the workflows are left out.
#[utoipa::path(
    get, path = "/", tag = "workflows", security((), ("bearer" = []), ("api_key" = [])),
    responses((status = 200, description = "`{name, version, type, workflows, links}`")),
)]
async fn root(State(app): State<App>, headers: HeaderMap) -> Answer {
    let mut body = json!({
        "name": "horme", "version": env!("CARGO_PKG_VERSION"), "type": "workflow_server",
        "links": {
            "workflows": "/workflows", "executions": "/executions", "events": "/events/stream",
            "health": "/health/services", "openapi": "/openapi.json",
        },
    });
    match authenticate(&app, &headers, None).await {
        Ok(caller) => {
            let listed = surface::list(&app, &caller).await?;
            let names = listed.as_object().into_iter().flat_map(Map::keys);
            body["workflows"] = names.cloned().collect();
        }
        Err(Error::MissingToken) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Json(body))
}

/// All workflows.
#[utoipa::path(
    get, path = "/workflows", tag = "workflows",
    responses((status = 200, description = "`{name: {type, description, version, tags, endpoints}}`: of each the version that is run")),
)]
async fn list(State(app): State<App>, caller: Caller) -> Answer {
    surface::list(&app, &caller).await.map(Json)
}

/// Registers a workflow. Needs the role `deployer`.
#[utoipa::path(
    post, path = "/workflows", tag = "workflows",
    request_body(content = Value, description = "`{name, version?, description?, tags?, inputs_schema?, nodes, connections?}`"),
    responses(
        (status = 201, description = "`{name, version, workflow_id, fingerprint}`"),
        (status = 200, description = "The very same version was there"),
        (status = 409, description = "The version has another definition"),
    ),
)]
async fn register(State(app): State<App>, caller: Caller, request: Request) -> Result<Response, Problem> {
    let answer = surface::register(&app, &caller, &body(request).await?).await?;
    Ok((answer.status, Json(answer.body)).into_response())
}

/// Removes a workflow with all its versions. Needs the role `deployer` in the tenant `default`.
#[utoipa::path(
    delete, path = "/workflows/{name}", tag = "workflows", params(("name" = String, Path)),
    responses((status = 204, description = "It is gone"), (status = 409, description = "Runs are active")),
)]
async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    surface::delete(&app, &caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Runs a workflow.
#[utoipa::path(
    post, path = "/workflows/{name}/execute", tag = "workflows", params(("name" = String, Path)),
    request_body(content = Option<Run>),
    responses(
        (status = 200, description = "Mode `sync`: `{outputs: {node: {...}}, execution_time, workflow_id, execution_id, version}`; `async`: `{execution_id, status, message}`; `stream`: server-sent events `start`, then `complete` or `error`"),
    ),
)]
async fn execute(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    run(&app, &caller, &name, request).await
}

/// Runs a workflow, as `/execute` does.
#[utoipa::path(
    post, path = "/workflows/{name}/", tag = "workflows", params(("name" = String, Path)),
    request_body(content = Option<Run>),
    responses((status = 200, description = "As of `/workflows/{name}/execute`")),
)]
async fn execute_too(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    run(&app, &caller, &name, request).await
}

async fn run(app: &App, caller: &Caller, name: &str, request: Request) -> Result<Response, Problem> {
    let call = surface::read(body(request).await?)?;
    if call.mode != Mode::Stream {
        let result = surface::run(app, caller, name, &call).await?;
        return Ok(Json(result).into_response());
    }
    let events = surface::run_stream(app, caller, name, &call).await?;
    let kind = (header::CONTENT_TYPE, "text/event-stream");
    Ok(([kind, (header::CACHE_CONTROL, "no-cache"), UNBUFFERED], events).into_response())
}

/// How a workflow's run stands.
#[utoipa::path(
    get, path = "/workflows/{name}/status/{execution_id}", tag = "workflows",
    params(("name" = String, Path), ("execution_id" = String, Path)),
    responses((status = 200, description = "`{execution_id, status: pending|running|waiting|completed|failed|cancelled, result?, error?, status_code?, ...}`")),
)]
async fn status(
    State(app): State<App>,
    caller: Caller,
    Path((name, execution)): Path<(String, String)>,
) -> Answer {
    surface::status(&app, &caller, Some(&name), &execution)
        .await
        .map(Json)
}

/// What a workflow is made of, and which inputs it takes.
#[utoipa::path(
    get, path = "/workflows/{name}/workflow/info", tag = "workflows", params(("name" = String, Path)),
    responses((status = 200, description = "`{name, version, description, tags, workflow_id, fingerprint, inputs_schema, nodes, connections}`")),
)]
async fn info(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Answer {
    surface::info(&app, &caller, &name).await.map(Json)
}

/// Whether a workflow can be run.
#[utoipa::path(
    get, path = "/workflows/{name}/health", tag = "workflows", params(("name" = String, Path)),
    responses((status = 200, description = "`{status: \"healthy\", workflow, version}`")),
)]
async fn health(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Answer {
    surface::health(&app, &caller, &name).await.map(Json)
}

/// Signals a run.
#[utoipa::path(
    post, path = "/workflows/{id}/signals/{signal}", tag = "workflows",
    params(("id" = String, Path, description = "the run's `execution_id`"), ("signal" = String, Path)),
    request_body(content = Value, description = "What the step that waits is given"),
    responses(
        (status = 202, description = "`{execution_id, signal, status}`"),
        (status = 429, description = "Over 100 signals and queries of this run within 60 s: `Retry-After` tells how long to wait"),
    ),
)]
async fn signal(
    State(app): State<App>,
    caller: Caller,
    Path((id, name)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let answer = surface::signal(&app, &caller, &id, &name, &body(request).await?).await?;
    Ok((answer.status, Json(answer.body)).into_response())
}

/// Asks a run.
#[utoipa::path(
    get, path = "/workflows/{id}/queries/{query}", tag = "workflows",
    params(
        ("id" = String, Path, description = "the run's `execution_id`"),
        ("query" = String, Path, description = "`status`, `outputs` or `history`"),
    ),
    responses(
        (status = 200, description = "`{execution_id, query, result}`"),
        (status = 429, description = "Over 100 signals and queries of this run within 60 s: `Retry-After` tells how long to wait"),
    ),
)]
async fn query(State(app): State<App>, caller: Caller, Path((id, name)): Path<(String, String)>) -> Answer {
    surface::query(&app, &caller, &id, &name).await.map(Json)
}

/// Nothing is there: the answer says what is.
#[utoipa::path(
    method(get, post, put, patch, delete), path = "/workflows/{name}/{*rest}", tag = "workflows",
    params(("name" = String, Path), ("rest" = String, Path, description = "any path that is not listed")),
    responses((status = 404, description = "`{error, code, path, message, available_endpoints, hint, documentation}`")),
)]
async fn unknown(_caller: Caller, method: Method, Path((name, rest)): Path<(String, String)>) -> Problem {
    let message = format!("{method} is served at none of this workflow's paths with this name");
    Problem::new(StatusCode::NOT_FOUND, "ENDPOINT_UNKNOWN", "no such endpoint")
        .field("path", format!("/workflows/{name}/{rest}"))
        .field("message", message)
        .field("available_endpoints", surface::endpoints(&name).to_vec())
        .field("hint", format!("run it by POST {}", surface::endpoints(&name)[0]))
        .field("documentation", "/openapi.json")
}

/// A JSON body; null where the request has none.
async fn body(request: Request) -> Result<Value, Problem> {
    if request.body().is_end_stream() {
        return Ok(Value::Null);
    }
    let kit::Body(value) = kit::Body::from_request(request.with_limited_body(), &()).await?;
    Ok(value)
}
