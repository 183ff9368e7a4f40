//! What happens to runs and rows, as server-sent events (WHATWG HTML section 9.2).

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use futures_util::{Stream, StreamExt, stream};
use kit::{Problem, Query};
use serde::Deserialize;
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::caller::{Caller, unproven};
use crate::{
    domain::interest::{Filter, Malformed},
    state::App,
    store::events::{Heard, Place, Subscription},
};

const KEEP_ALIVE: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// nginx hands a stream on as it comes.
pub(super) const UNBUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(events))
}

#[derive(Deserialize)]
struct Wanted {
    event_type: Option<String>,
}

impl From<Malformed> for Problem {
    fn from(malformed: Malformed) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "EVENT_TYPE_INVALID",
            malformed.0,
        )
    }
}

/// Runs and changes of data, as they happen.
///
/// Of the caller's tenant, and those that belong to none. The stream ends with the credential and with the gateway.
#[utoipa::path(
    get, path = "/events/stream", tag = "events",
    params(
        ("event_type" = Option<String>, Query, description = "types, separated by commas; `dataflow.*` is all that begin so; absent: all"),
        ("Last-Event-ID" = Option<String>, Header, description = "the last `id` that was heard: the stream goes on after it"),
    ),
    responses((status = 200, description = "`id`, `event` (the type) and `data` (the event as JSON) of each; `lagged` with `{missed}` where events were lost to a slow listener", content_type = "text/event-stream")),
)]
async fn events(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let filter = Filter::parse(&caller.tenant, wanted.event_type.as_deref())?;
    let events = app.events()?;
    let subscription = match headers.get(LAST_EVENT_ID) {
        None => events.subscribe(filter),
        Some(value) => events.resume(filter, place(value.to_str().unwrap_or_default())?),
    };
    let stream = told(subscription).take_until(Box::pin(over(app.clone(), caller)));
    let stream = Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(([UNBUFFERED], stream).into_response())
}

fn place(text: &str) -> Result<Place, Problem> {
    Place::parse(text).ok_or_else(|| {
        let message = "Last-Event-ID: expected an id of this stream, such as 1700000000000-0";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "EVENT_ID_INVALID", message)
    })
}

fn told(subscription: Subscription) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    stream::unfold(subscription, async |mut subscription| {
        let event = match subscription.next().await {
            Heard::Event(told) => sse::Event::default()
                .id(told.place.to_string())
                .event(&told.event.kind)
                .data(serde_json::to_string(&told.event).unwrap_or_default()),
            Heard::Lagged(missed) => sse::Event::default()
                .event("lagged")
                .data(json!({ "missed": missed }).to_string()),
            Heard::Ended => return None,
        };
        Some((Ok(event), subscription))
    })
}

/// Ends when the caller's proof does, or when the gateway is told to end.
async fn over(app: App, caller: Caller) {
    let health = app.health().clone();
    tokio::select! {
        () = health.draining() => {}
        () = unproven(app, caller) => {}
    }
}
