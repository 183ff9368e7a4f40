//! The calls in flight, until their answers' last byte: what draining waits for before it ends the streams that have no
//! end of their own.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt;
use tokio::sync::watch;

/// How many there are. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<watch::Sender<usize>>);

struct InFlight(Calls);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

impl Calls {
    fn enter(&self) -> InFlight {
        self.0.send_modify(|count| *count += 1);
        InFlight(self.clone())
    }

    /// Ends when there are none.
    pub(crate) async fn idle(&self) {
        // The sender lives in `self`, so that waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// Counts a call. Only `POST` brings one; `GET` opens a stream that nothing ends but the client, or we.
pub(crate) async fn count(State(calls): State<Calls>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let call = calls.enter();
    let answer = next.run(request).await;
    let kind = answer.headers().get(CONTENT_TYPE);
    if kind.is_none_or(|kind| !kind.as_bytes().starts_with(b"text/event-stream")) {
        return answer;
    }
    // A stream is not over with its head.
    answer.map(|body| {
        let parts = body.into_data_stream().inspect(move |_| {
            let _in_flight = &call;
        });
        Body::from_stream(parts)
    })
}
