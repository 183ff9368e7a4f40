//! How the gateway and the services behind it are, in a word each: public, and without any detail.

use std::time::Duration;

use axum::{Json, extract::State};
use futures_util::future::join_all;
use kit::upstream::Upstream;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use axum::http::Method;

use crate::{
    domain::{breaker::Position, forwarding::Service},
    state::App,
};

/// Callers within this time share an answer, so that no crowd of callers becomes four times as many calls.
const FRESH: Duration = Duration::from_secs(1);
/// What a service may say of itself; anything else counts as unreachable.
const WORDS: [&str; 4] = ["ready", "degraded", "not-ready", "draining"];

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(board))
}

/// How all are.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of an answer that is kept as JSON")]
struct Board {
    /// `healthy` where every service is ready, else `degraded`.
    status: String,
    /// A word for each service: ready, degraded, not-ready, draining, unreachable.
    services: std::collections::BTreeMap<String, String>,
    /// Whether calls pass to each service behind the gateway: closed (they do), half-open (one does), open (none).
    breakers: std::collections::BTreeMap<String, String>,
}

/// How the gateway and each service behind it is.
#[utoipa::path(
    get, path = "/health/services", tag = "health", security(()),
    responses((status = 200, description = "A word for each", body = Board)),
)]
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
    let breakers = Service::ALL.map(|service| {
        let word = match app.proxy().position(service) {
            Position::Closed => "closed",
            Position::HalfOpen => "half-open",
            Position::Open => "open",
        };
        (service.name().to_owned(), json!(word))
    });
    let breakers: Map<String, Value> = breakers.into_iter().collect();
    let status = if healthy { "healthy" } else { "degraded" };
    json!({ "status": status, "services": services, "breakers": breakers })
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
