//! Passing calls on: the caller's token becomes headers that services trust, bodies stream both ways.

use axum::{
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, uri::PathAndQuery},
    response::Response,
};
use kit::{Problem, RequestIds};
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::caller::{Caller, unproven};
use crate::{
    domain::{
        client::ClientAddr,
        forwarding::{self, Change, Service},
        headers::{self, Identity, Origin},
        roles::Role,
    },
    edge::Secure,
    error::Error,
    state::App,
};

/// Longest definition of a model that is looked into.
const MOST_DEFINED_BYTES: usize = 1 << 20;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(dataflow))
        .routes(routes!(classify))
        .routes(routes!(classify_below))
        .routes(routes!(mcp))
}

/// Models, nodes and rows: passed on to the dataflow service. Changing models, migrations and jobs takes the role
/// `deployer`; what removes a model or loses values takes it in the tenant `default`.
#[utoipa::path(
    method(get, post, put, patch, delete), path = "/api/dataflow/{*rest}", tag = "services",
    params(("rest" = String, Path, description = "a path of the dataflow service below /models, /nodes, /data, /migrations or /jobs")),
    responses((status = 200, description = "The service's own answer")),
)]
async fn dataflow(State(app): State<App>, caller: Caller, mut request: Request) -> Result<Response, Problem> {
    match forwarding::change(request.method(), request.uri().path()) {
        Change::Nothing => {}
        Change::Adds => caller.must_be(Role::Deployer)?,
        Change::Removes => caller.must_be_of_the_operators(Role::Deployer)?,
        Change::AddsUnlessConfirmed => {
            caller.must_be(Role::Deployer)?;
            if caller.must_be_of_the_operators(Role::Deployer).is_err() {
                request = unconfirmed(request).await?;
            }
        }
    }
    forward(&app, &caller, request).await
}

/// The same call, unless its body confirms that values may be lost.
async fn unconfirmed(request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MOST_DEFINED_BYTES).await.map_err(|_| {
        let message = format!("a definition that arrives whole in {MOST_DEFINED_BYTES} bytes was expected");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", message)
    })?;
    // What cannot be read is the service's to refuse; what is said twice it refuses, too.
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    match said.get("confirm") {
        None | Some(Value::Bool(false)) => Ok(Request::from_parts(parts, body.into())),
        Some(_) => Err(Error::Forbidden.into()),
    }
}

/// Codes for a text: passed on to the classification service.
#[utoipa::path(
    method(get, post), path = "/api/classify", tag = "services",
    responses((status = 200, description = "The service's own answer")),
)]
async fn classify(State(app): State<App>, caller: Caller, request: Request) -> Result<Response, Problem> {
    forward(&app, &caller, request).await
}

/// Codes and their catalogue: passed on to the classification service.
#[utoipa::path(
    method(get, post), path = "/api/classify/{*rest}", tag = "services",
    params(("rest" = String, Path, description = "a path of the classification service")),
    responses((status = 200, description = "The service's own answer")),
)]
async fn classify_below(
    State(app): State<App>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    forward(&app, &caller, request).await
}

/// Tools by the Model Context Protocol: passed on to the MCP server.
#[utoipa::path(
    method(get, post, delete), path = "/mcp", tag = "services",
    responses((status = 200, description = "The server's own answer, or a stream of them")),
)]
async fn mcp(State(app): State<App>, caller: Caller, request: Request) -> Result<Response, Problem> {
    forward(&app, &caller, request).await
}

/// Passes a call on to the service that its path leads to.
async fn forward(app: &App, caller: &Caller, request: Request) -> Result<Response, Problem> {
    let path = request.uri().path();
    let Some((service, own)) = forwarding::destination(path) else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "NOT_FOUND",
            "no such resource",
        ));
    };
    let target = match request.uri().path_and_query() {
        Some(whole) if own.len() == path.len() => whole.clone(),
        // The service's own path is the end of ours, and the query follows it.
        Some(whole) => target(&whole.as_str()[path.len() - own.len()..])?,
        None => target(own)?,
    };
    send(app, caller, service, target, request).await
}

/// Passes a call on to `path` of a service, with the caller's query, and its answer back; bodies stream.
///
/// # Errors
/// 400 `UPGRADE_REFUSED`, 413 `BODY_TOO_LARGE`; 502 and 503 `UPSTREAM_UNAVAILABLE`.
pub(crate) async fn pass(
    app: &App,
    caller: &Caller,
    service: Service,
    path: &str,
    request: Request,
) -> Result<Response, Problem> {
    let target = match request.uri().query() {
        Some(query) => target(&format!("{path}?{query}"))?,
        None => target(path)?,
    };
    send(app, caller, service, target, request).await
}

fn target(text: &str) -> Result<PathAndQuery, Problem> {
    text.parse()
        .map_err(|_| Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", "no such resource"))
}

async fn send(
    app: &App,
    caller: &Caller,
    service: Service,
    target: PathAndQuery,
    mut request: Request,
) -> Result<Response, Problem> {
    if headers::asks_for_upgrade(request.headers()) {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "UPGRADE_REFUSED",
            "no other protocol is passed on",
        ));
    }
    let identity = Identity {
        user: &caller.user,
        tenant: &caller.tenant,
        role: caller.role.as_str(),
    };
    let origin = Origin {
        client: request.extensions().get::<ClientAddr>().map(|client| client.0),
        https: request.extensions().get::<Secure>().is_some(),
    };
    let ids = request.extensions().get::<RequestIds>().map(RequestIds::headers);
    headers::to_service(request.headers_mut(), identity, origin);
    for (name, value) in ids.into_iter().flatten() {
        if let Ok(value) = HeaderValue::from_maybe_shared(value.into_bytes()) {
            request.headers_mut().insert(name, value);
        }
    }
    // What the gateway knows of the call stays with it.
    request.extensions_mut().clear();
    let end = || unproven(app.clone(), caller.clone());
    let mut answer = app.proxy().send(service, target, request, end).await?;
    answer.extensions_mut().clear();
    headers::to_caller(answer.headers_mut());
    Ok(answer)
}
