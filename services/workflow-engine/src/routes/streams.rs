//! Server-sent events (HTML Living Standard, 9.2): a run's course to who began it, and any run's history to who
//! follows it. When the process is told to end, the course goes on to its run's end, which is waited for; who follows
//! is told to follow elsewhere. A run does not end with them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use contract::workflow::Happening;
use futures_util::stream::{Stream, StreamExt, once, unfold};
use kit::Identity;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::run::Begun;
use crate::state::AppState;
use crate::store::{self, Rings, Store};

const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// How often a followed run is looked at where no ring told of it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// `start`, then `complete` or `error`.
pub(super) fn course(begun: Begun) -> Response {
    let start = json!({
        "workflow_id": begun.workflow_id,
        "version": begun.version,
        "timestamp": now(),
        "execution_id": begun.execution_id,
    });
    let start = event("1", "start", &start);
    let end = async move {
        match begun.ended().await {
            Ok(answer) => event("2", "complete", &json!({ "result": answer, "timestamp": now() })),
            Err(problem) => {
                let error = store::error_of(&problem);
                event("2", "error", &json!({ "error": error, "timestamp": now() }))
            }
        }
    };
    answer(once(ready(start)).chain(once(end)))
}

/// `GET /executions/{id}/events`: what happened after the event that `Last-Event-ID` names, and what follows, to
/// the run's end.
pub(super) async fn follow(
    State(state): State<AppState>,
    Path(id): Path<String>,
    identity: Identity,
    headers: HeaderMap,
) -> Result<Response> {
    let rings = state.bell.listen();
    state.store.execution(&id, &identity).await?;
    let following = Following {
        after: last_event_id(&headers)?,
        store: state.store.clone(),
        execution_id: id,
        rings,
        read: VecDeque::new(),
    };
    let health = state.health.clone();
    let ended = Box::pin(async move { health.draining().await });
    Ok(answer(unfold(following, Following::next).take_until(ended)))
}

fn last_event_id(headers: &HeaderMap) -> Result<i64> {
    let Some(id) = headers.get("last-event-id") else {
        return Ok(0);
    };
    let id = id.to_str().ok().and_then(|id| id.parse().ok());
    id.ok_or_else(|| Error::query_invalid("Last-Event-ID must be the id of an event of this run".to_owned()))
}

struct Following {
    store: Store,
    execution_id: String,
    after: i64,
    rings: Rings,
    read: VecDeque<Happening>,
}

impl Following {
    async fn next(mut self) -> Option<(Event, Self)> {
        loop {
            if let Some(happening) = self.read.pop_front() {
                self.after = happening.id;
                let told = event(&happening.id.to_string(), &happening.kind, &json!(happening));
                return Some((told, self));
            }
            match self.store.history(&self.execution_id, self.after).await {
                Ok((read, false)) if read.is_empty() => return None,
                Ok((read, _)) if !read.is_empty() => {
                    self.read = read.into();
                    continue;
                }
                Ok(_) => {}
                // It may come back; the client goes when it has waited enough.
                Err(error) => tracing::debug!(%error, "a run cannot be followed"),
            }
            self.rings.rung_for(&self.execution_id, LOOK_EVERY).await;
        }
    }
}

fn event(id: &str, name: &str, data: &Value) -> Event {
    // JSON has no line breaks outside its texts, and in them they are escaped.
    Event::default().id(id).event(name).data(data.to_string())
}

fn answer(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let events = events.map(Ok::<_, Infallible>);
    let pulse = KeepAlive::new().interval(KEEP_ALIVE_EVERY).text("keepalive");
    // Proxies of nginx's kind pass events on at once.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    (unbuffered, Sse::new(events).keep_alive(pulse)).into_response()
}

/// RFC 3339, UTC.
fn now() -> String {
    jiff::Timestamp::now().to_string()
}
