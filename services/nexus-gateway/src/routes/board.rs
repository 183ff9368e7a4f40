//! How the gateway and the services behind it are, in a word each: public, and without any detail.

use std::time::Duration;

use axum::{Json, Router, extract::State, routing::get};
use futures_util::future::join_all;
use kit::upstream::Upstream;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use axum::http::Method;

use crate::{domain::forwarding::Service, state::App};

/// Callers within this time share an answer, so that no crowd of callers becomes four times as many calls.
const FRESH: Duration = Duration::from_secs(1);
/// What a service may say of itself; anything else counts as unreachable.
const WORDS: [&str; 4] = ["ready", "degraded", "not-ready", "draining"];

pub(super) fn routes() -> Router<App> {
    Router::new().route("/health/services", get(board))
}

/// `{"status": "healthy"|"degraded", "services": {name: word}}`.
async fn board(State(app): State<App>) -> Json<Value> {
    let mut kept = app.board().lock().await;
    if let Some((at, body)) = kept.as_ref()
        && at.elapsed() < FRESH
    {
        return Json(body.clone());
    }
    let body = ask(&app).await;
    *kept = Some((Instant::now(), body.clone()));
    Json(body)
}

async fn ask(app: &App) -> Value {
    let own = serde_json::to_value(&app.health().readiness().1.0).unwrap_or_default();
    let mut words = vec![("nexus-gateway", word(&own))];
    let asked = Service::ALL.map(|service| async move { (service.name(), probe(app.probe(service)).await) });
    words.extend(join_all(asked).await);
    let healthy = words.iter().all(|(_, word)| *word == "ready");
    let services: Map<String, Value> = words
        .into_iter()
        .map(|(name, word)| (name.to_owned(), json!(word)))
        .collect();
    json!({ "status": if healthy { "healthy" } else { "degraded" }, "services": services })
}

async fn probe(service: &Upstream) -> &'static str {
    match service.call(Method::GET, "/ready", None::<&()>).await {
        Ok(answer) => word(&answer.body),
        Err(_) => "unreachable",
    }
}

fn word(readiness: &Value) -> &'static str {
    let said = readiness["status"].as_str().unwrap_or_default();
    WORDS
        .into_iter()
        .find(|word| *word == said)
        .unwrap_or("unreachable")
}
