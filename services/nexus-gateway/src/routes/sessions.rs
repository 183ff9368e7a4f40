//! Sessions over HTTP, and the header by which any call joins one.

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use kit::{Body, Path, Problem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sessions::{Channel, Entry, New, Owner, Patch, Session};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::caller::{Caller, proven};
use crate::{error::Error, state::App};

/// Names the session that a call is part of.
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
/// Says which channel a call comes by, where that is the command line.
const CHANNEL: HeaderName = HeaderName::from_static("x-channel");

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, end))
        .routes(routes!(history))
        .routes(routes!(join))
}

/// Whose sessions a caller sees.
pub(crate) fn owner(caller: &Caller) -> Owner {
    Owner {
        user: caller.user.to_string(),
        tenant: caller.tenant.to_string(),
    }
}

/// A session as the settings say, made by `channel`.
pub(crate) fn new(app: &App, channel: Channel, shared_data: Map<String, Value>) -> New {
    let settings = app.session_settings();
    New {
        ttl: settings.ttl,
        mode: settings.mode,
        channel,
        shared_data,
    }
}

/// What a new session holds.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Create {
    #[serde(default)]
    #[schema(value_type = Object)]
    pub(crate) shared_data: Map<String, Value>,
}

/// What a channel says of itself.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Join {
    #[serde(default)]
    #[schema(value_type = Object)]
    context: Map<String, Value>,
}

#[derive(Serialize, ToSchema)]
struct Sessions {
    sessions: Vec<Session>,
}

#[derive(Serialize, ToSchema)]
struct History {
    events: Vec<Entry>,
}

/// The caller's sessions.
#[utoipa::path(
    get, path = "/sessions", tag = "sessions",
    responses((status = 200, description = "The one that ends last comes first", body = Sessions)),
)]
async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Sessions>, Problem> {
    let sessions = app
        .shared_sessions()?
        .list(&owner(&caller))
        .await
        .map_err(problem)?;
    Ok(Json(Sessions { sessions }))
}

/// A new session.
#[utoipa::path(
    post, path = "/sessions", tag = "sessions", request_body(content = Option<Create>),
    responses(
        (status = 201, description = "It is there", body = Session),
        (status = 409, description = "`SESSION_LIMIT`: the user has too many", body = crate::openapi::Problem),
    ),
)]
async fn create(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Option<Body<Create>>,
) -> Result<Response, Problem> {
    let shared_data = body.map(|body| body.0.shared_data).unwrap_or_default();
    let new = new(&app, channel(&headers, "/sessions"), shared_data);
    let made = app.shared_sessions()?.create(&owner(&caller), &new).await;
    let made = made.map_err(problem)?;
    let location = format!("/sessions/{}", made.session_id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(made)).into_response())
}

/// A session; asking for it is a use of it.
#[utoipa::path(
    get, path = "/sessions/{id}", tag = "sessions", params(("id" = String, Path)),
    responses(
        (status = 200, description = "As every channel sees it", body = Session),
        (status = 404, description = "Ended, expired, or somebody else's", body = crate::openapi::Problem),
    ),
)]
async fn get(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Session>, Problem> {
    let channel = channel(&headers, "/sessions");
    let found = app.shared_sessions()?.get(&owner(&caller), &id, channel).await;
    found.map(Json).map_err(problem)
}

/// Changes what a session holds: names one by one, `null` takes one away.
#[utoipa::path(
    patch, path = "/sessions/{id}", tag = "sessions", params(("id" = String, Path)), request_body = Patch,
    responses(
        (status = 200, description = "As it is now", body = Session),
        (status = 409, description = "`SESSION_CHANGED`: not at `expected_version`", body = crate::openapi::Problem),
        (status = 413, description = "`SESSION_TOO_LARGE`: more than 64 KiB", body = crate::openapi::Problem),
    ),
)]
async fn update(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
    Body(patch): Body<Patch>,
) -> Result<Json<Session>, Problem> {
    let channel = channel(&headers, "/sessions");
    let changed = app
        .shared_sessions()?
        .update(&owner(&caller), &id, channel, &patch)
        .await;
    changed.map(Json).map_err(problem)
}

/// Ends a session, for every channel at once.
#[utoipa::path(
    delete, path = "/sessions/{id}", tag = "sessions", params(("id" = String, Path)),
    responses((status = 204, description = "It is gone")),
)]
async fn end(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let ended = app.shared_sessions()?.end(&owner(&caller), &id).await;
    ended.map_err(problem)?;
    Ok(StatusCode::NO_CONTENT)
}

/// What happened to a session, the oldest first; 1000 entries at most.
#[utoipa::path(
    get, path = "/sessions/{id}/events", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, description = "Its history", body = History)),
)]
async fn history(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<History>, Problem> {
    let channel = channel(&headers, "/sessions");
    let events = app
        .shared_sessions()?
        .history(&owner(&caller), &id, channel)
        .await;
    let events = events.map_err(problem)?;
    Ok(Json(History { events }))
}

/// Joins a channel to a session, with what it says of itself.
#[utoipa::path(
    post, path = "/sessions/{id}/channels/{channel}", tag = "sessions",
    params(("id" = String, Path), ("channel" = Channel, Path)), request_body(content = Option<Join>),
    responses((status = 200, description = "With the channel among its `active_channels`", body = Session)),
)]
async fn join(
    State(app): State<App>,
    caller: Caller,
    Path((id, channel)): Path<(String, String)>,
    body: Option<Body<Join>>,
) -> Result<Json<Session>, Problem> {
    let channel: Channel = channel.parse().map_err(|()| {
        let known = Channel::ALL.map(Channel::name).join(", ");
        let message = format!("no such channel; there are {known}");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "UNKNOWN_CHANNEL", message)
    })?;
    let context = body.map(|body| body.0.context).unwrap_or_default();
    let joined = app
        .shared_sessions()?
        .join(&owner(&caller), &id, channel, &context)
        .await;
    joined.map(Json).map_err(problem)
}

/// A call with `X-Session-ID` is a use of that session by the call's channel; one that names no session of the
/// caller's is refused. Services behind the gateway receive the header once, checked.
pub(crate) async fn follow(app: &App, request: Request, next: Next) -> Response {
    // `/ws` looks at it itself, once it knows whose connection it is.
    if !request.headers().contains_key(SESSION_ID) || request.uri().path().starts_with("/ws") {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    match checked(app, &parts).await {
        Ok(Some((caller, id))) => {
            parts.headers.insert(SESSION_ID, id);
            parts.extensions.insert(caller);
        }
        // Not proven: the route decides whether it must be. The header goes no further.
        Ok(None) => drop(parts.headers.remove(SESSION_ID)),
        Err(problem) => return problem.into_response(),
    }
    next.run(Request::from_parts(parts, body)).await
}

async fn checked(app: &App, parts: &Parts) -> Result<Option<(Caller, HeaderValue)>, Problem> {
    let caller = proven(app, parts).await.ok();
    let (Some(caller), Some(id)) = (caller, parts.headers.get(SESSION_ID)) else {
        return Ok(None);
    };
    let channel = channel(&parts.headers, parts.uri.path());
    used(app, &caller, id, channel).await?;
    Ok(Some((caller, id.clone())))
}

/// A use of the session that a header names.
pub(crate) async fn used(
    app: &App,
    caller: &Caller,
    id: &HeaderValue,
    channel: Channel,
) -> Result<(), Problem> {
    // What is no text names no session.
    let id = id.to_str().unwrap_or_default();
    let touched = app.shared_sessions()?.touch(&owner(caller), id, channel).await;
    touched.map_err(problem)
}

/// The channel by which a call came.
fn channel(headers: &HeaderMap, path: &str) -> Channel {
    if path == "/mcp" {
        return Channel::Mcp;
    }
    let cli = headers.get(CHANNEL).is_some_and(|channel| channel == "cli");
    if cli { Channel::Cli } else { Channel::Api }
}

/// How each failure is answered.
pub(crate) fn problem(error: sessions::Error) -> Problem {
    use sessions::Error as Fault;
    let message = error.to_string();
    match error {
        Fault::NotFound => Problem::new(StatusCode::NOT_FOUND, "SESSION_NOT_FOUND", message),
        Fault::Changed { version } => {
            Problem::new(StatusCode::CONFLICT, "SESSION_CHANGED", message).field("version", version)
        }
        Fault::TooLarge { limit } => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "SESSION_TOO_LARGE", message).field("limit", limit)
        }
        Fault::TooMany { limit } => {
            Problem::new(StatusCode::CONFLICT, "SESSION_LIMIT", message).field("limit", limit)
        }
        Fault::Store(error) => Error::Sessions(error).into(),
        Fault::Malformed(_) => Problem::internal(message),
    }
}
