//! Stand-ins for the services behind the gateway.

use axum::{
    Json, Router,
    body::Body,
    extract::Request,
    http::header,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Notify;

/// A service that answers every call with what it received, and `/ready` with ready.
pub(crate) async fn echo() -> String {
    let ready = async || Json(json!({ "status": "ready" }));
    let finish = Arc::new(Notify::new());
    let finished = finish.clone();
    let router = Router::new()
        .route("/ready", get(ready))
        .route(
            "/data/redirect",
            any(async || ([(header::LOCATION, "/elsewhere")], "").into_response_with(302)),
        )
        .route("/data/stream", any(stream))
        .route("/data/work", any(async move || work(finished)))
        .route("/data/finish", any(async move || finish.notify_one()))
        .fallback(received);
    serve(router).await
}

/// A service that accepts connections and never answers.
pub(crate) async fn silent() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("the port that was bound");
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    format!("http://{address}")
}

/// A service that sends back what it receives, as it receives it.
pub(crate) async fn mirror() -> String {
    serve(Router::new().fallback(async |request: Request| request.into_body())).await
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("the port that was bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn received(request: Request) -> Json<Value> {
    let (parts, body) = request.into_parts();
    let headers: serde_json::Map<String, Value> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
        .collect();
    let bytes = axum::body::to_bytes(body, usize::MAX)
        .await
        .map(|bytes| bytes.len())
        .unwrap_or_default();
    let uri = parts.uri.to_string();
    Json(json!({ "method": parts.method.as_str(), "uri": uri, "headers": headers, "bytes": bytes }))
}

/// An event at once, and then none for ever.
async fn stream() -> Response {
    use futures_util::StreamExt;
    let first = futures_util::stream::once(async { Ok::<_, std::io::Error>("data: first\n\n") });
    let body = Body::from_stream(first.chain(futures_util::stream::pending()));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// An event at once, and a last one once `/data/finish` is called.
fn work(finished: Arc<Notify>) -> Response {
    use futures_util::{StreamExt, stream::once};
    let first = once(async { Ok::<_, std::io::Error>("data: first\n\n") });
    let last = once(async move {
        finished.notified().await;
        Ok("data: last\n\n")
    });
    let body = Body::from_stream(first.chain(last));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// An answer with another status.
trait WithStatus: IntoResponse + Sized {
    fn into_response_with(self, status: u16) -> Response {
        let mut response = self.into_response();
        *response.status_mut() = status.try_into().expect("a status");
        response
    }
}

impl<T: IntoResponse> WithStatus for T {}
