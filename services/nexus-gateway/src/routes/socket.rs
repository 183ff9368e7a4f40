//! Opening `/ws`: who calls and from which page is settled before the connection is one (services.md 6.1, 7).

use axum::{
    Extension,
    extract::{Query, State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{HeaderMap, StatusCode, Uri, header},
    response::Response,
};
use kit::{Problem, RequestIds};
use serde::Deserialize;
use sessions::Channel;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::{Caller, authenticate},
    sessions::{SESSION_ID, used},
};
use crate::{
    domain::client::ClientAddr,
    state::App,
    ws::{self, BAD_PATH, MAX_MESSAGE_BYTES, MAX_UNSENT_BYTES, Opened, READ_BUFFER_BYTES},
};

/// The subprotocol by which browsers, which cannot set headers, send a token: `bearer, <token>`.
const BEARER: &str = "bearer";
/// A frame's header, beside its payload.
const FRAME_HEADER_BYTES: usize = 14;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(connect))
        .routes(routes!(connect_below))
}

type Client = Option<Extension<ClientAddr>>;
type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

#[derive(Deserialize)]
struct Asked {
    token: Option<String>,
}

/// Calls and events over one connection, as JSON.
///
/// Messages: `{"id", "method", "params"}`, answered by `{"id", "result"}` or
/// `{"id", "error": {"code", "message", "data"}}`; events are `{"event", "data"}`. Methods: each workflow by its
/// name, `workflow.*`, `session.*`, `subscribe`, `unsubscribe`, `ping`. A token may also be sent as the
/// subprotocols `bearer, <token>`, or as `?token=`.
#[utoipa::path(
    get, path = "/ws", tag = "events",
    params(("token" = Option<String>, Query, description = "For clients that cannot set headers")),
    responses(
        (status = 101, description = "The connection is open"),
        (status = 403, description = "`ORIGIN_REFUSED`: not a page that may connect", body = crate::openapi::Problem),
        (status = 426, description = "`UPGRADE_REQUIRED`: not a WebSocket's opening", body = crate::openapi::Problem),
    ),
)]
async fn connect(
    State(app): State<App>,
    client: Client,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    open(app, client, &uri, &headers, upgrade, None).await
}

/// Closed at once with 4004: there is `/ws` alone.
#[utoipa::path(
    get, path = "/ws/{*rest}", tag = "events", params(("rest" = String, Path)),
    responses((status = 101, description = "The connection is open, and closes")),
)]
async fn connect_below(
    State(app): State<App>,
    client: Client,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    open(app, client, &uri, &headers, upgrade, Some(BAD_PATH)).await
}

async fn open(
    app: App,
    client: Client,
    uri: &Uri,
    headers: &HeaderMap,
    upgrade: Upgrade,
    refused: Option<ws::Close>,
) -> Result<Response, Problem> {
    from_a_known_page(&app, headers)?;
    let caller = proven(&app, uri, headers).await?;
    let upgrade = upgrade.map_err(|rejection| {
        Problem::new(
            StatusCode::UPGRADE_REQUIRED,
            "UPGRADE_REQUIRED",
            rejection.body_text(),
        )
        .header(header::UPGRADE, "websocket")
    })?;
    let session = match headers.get(SESSION_ID) {
        Some(id) => {
            used(&app, &caller, id, Channel::Websocket).await?;
            id.to_str().ok().map(str::to_owned)
        }
        None => None,
    };
    let opened = Opened {
        place: app.sockets().enter(&caller),
        in_flight: app.health().enter(),
        ids: kit::current_ids().unwrap_or_else(|| RequestIds::from_headers(headers)),
        client: client.map(|Extension(client)| client),
        app,
        caller,
        session,
        refused,
    };
    let upgrade = upgrade
        .protocols([BEARER])
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES)
        // Every message is written at once; what cannot be is bounded, and counted before it gets here.
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_UNSENT_BYTES + FRAME_HEADER_BYTES);
    let serve = |socket| kit::with_ids(opened.ids.clone(), ws::serve(opened, socket));
    Ok(upgrade.on_upgrade(serve))
}

/// Browsers always say which page opens a connection; who sends no `Origin` is none. The answer does not repeat it.
fn from_a_known_page(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let origins = &app.sockets().settings().origins;
    let mut sent = headers.get_all(header::ORIGIN).iter();
    if sent.all(|origin| origin.to_str().is_ok_and(|origin| origins.allow(origin))) {
        return Ok(());
    }
    let message = "connections from this page are not allowed; WS_ALLOWED_ORIGINS lists those that are";
    Err(Problem::new(StatusCode::FORBIDDEN, "ORIGIN_REFUSED", message))
}

async fn proven(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<Caller, Problem> {
    let asked = Query::<Asked>::try_from_uri(uri).ok();
    let queried = asked.and_then(|asked| asked.0.token);
    let extra = subprotocol(headers).or(queried.as_deref());
    Ok(authenticate(app, headers, extra).await?)
}

/// The token of `Sec-WebSocket-Protocol: bearer, <token>`.
fn subprotocol(headers: &HeaderMap) -> Option<&str> {
    let sent = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut items = sent
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    items.find(|item| item.eq_ignore_ascii_case(BEARER))?;
    items.next().filter(|token| !token.is_empty())
}
