//! `GET /api/health`: what the gateway says of all services, for the page. Answered without the gateway too.

use axum::{Json, extract::State, http::Method, http::header, response::IntoResponse, response::Response};
use kit::upstream::Upstream;
use serde_json::{Value, json};

/// `{"status": "healthy"|"degraded"|"unavailable", "gateway": "reachable"|"unreachable", "services": {name: word}}`.
pub(crate) async fn ask(State(gateway): State<Upstream>) -> Response {
    let answer = gateway.call(Method::GET, "/health/services", None::<&()>).await;
    let body = match answer {
        Ok(answer) if answer.status.is_success() && answer.body["services"].is_object() => {
            reachable(&answer.body)
        }
        _ => json!({ "status": "unavailable", "gateway": "unreachable", "services": {} }),
    };
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn reachable(said: &Value) -> Value {
    json!({ "status": said["status"], "gateway": "reachable", "services": said["services"] })
}
