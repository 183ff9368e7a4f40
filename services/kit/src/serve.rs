//! The common routes and layers, listening, and the orderly end: ready turns 503, requests in flight finish
//! within `DRAIN_TIMEOUT`.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::settings::Common;
use crate::{Health, Problem, Routes, connections, metrics, telemetry};

/// How long a name to listen on may take to appear (a container's network comes up beside it).
const NAME_PATIENCE: Duration = Duration::from_secs(15);

/// A service's own routes with the routes and layers that all services have.
pub fn with_common_routes(own: impl Into<Routes>, health: &Health, common: &Common) -> Router {
    let (own, around) = own.into().into_parts();
    let probes = Router::new()
        .route("/live", get(live))
        .route("/health", get(live))
        .route("/healthz", get(live))
        .route("/startup", get(live))
        .route("/ready", get(ready))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .with_state(health.clone())
        .route("/metrics", get(metrics::page));
    let all = own
        .merge(probes)
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", "no such resource"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "METHOD_NOT_ALLOWED",
                "the resource has no such method",
            )
        })
        .layer(from_fn_with_state(
            Terms {
                health: health.clone(),
                time: common.request_timeout,
                body: DefaultBodyLimit::max(common.body_limit_bytes),
            },
            admitted,
        ));
    around(all).layer(from_fn(observed))
}

// Each layer of a router copies all that lie within it for every request, so that what belongs together is one.

/// Gives a request its ids, its log line and its metrics.
async fn observed(request: Request, next: Next) -> Response {
    telemetry::trace(request, |request| metrics::measure(request, next)).await
}

async fn live(State(health): State<Health>) -> Response {
    let info = health.info();
    Json(json!({ "status": "healthy", "service": info.name, "version": info.version })).into_response()
}

async fn ready(State(health): State<Health>) -> Response {
    health.readiness().into_response()
}

async fn version(State(health): State<Health>) -> Response {
    let info = health.info();
    Json(json!({ "name": info.name, "version": info.version, "revision": info.revision })).into_response()
}

/// On what a request is let in.
#[derive(Clone)]
struct Terms {
    health: Health,
    time: Duration,
    body: DefaultBodyLimit,
}

/// Counts what is in flight, limits its body, and gives it `REQUEST_TIMEOUT` to produce its answer's head. While
/// draining, probes alone are answered; new work is refused.
async fn admitted(State(terms): State<Terms>, mut request: Request, next: Next) -> Response {
    let probe = telemetry::is_probe(request.uri().path());
    let in_flight = if probe { None } else { terms.health.enter() };
    if in_flight.is_none() && !probe {
        return Problem::unavailable("DRAINING", "the service is ending", "told to end")
            .header(header::CONNECTION, "close")
            .into_response();
    }
    terms.body.apply(&mut request);
    match tokio::time::timeout(terms.time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("REQUEST_TIMEOUT", "the request took too long", "deadline passed")
            .into_response(),
    }
}

/// Serves until told to end. From then on `/ready` is 503; the port stays open until the requests in flight are
/// answered, so that who asks is told.
///
/// # Errors
/// The address cannot be bound, or its name does not resolve in time.
pub(crate) async fn serve(router: Router, health: Health, common: &Common) -> Result<(), String> {
    let address = resolve(&common.host, common.port).await?;
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    info!(%address, version = health.info().version, revision = health.info().revision, "listening");
    let (told, mut end) = tokio::sync::watch::channel(false);
    let serving = connections::accept(listener, router, common.max_connections, async move {
        told_to_end().await;
        health.drain();
        info!("draining");
        told.send_replace(true);
        health.idle().await;
    });
    let limit = common.drain_timeout;
    let late = async {
        // The sender lives as long as the server does: an error means that serving has ended already.
        let _ = end.wait_for(|told| *told).await;
        tokio::time::sleep(limit).await;
    };
    tokio::select! {
        () = serving => {}
        () = late => warn!(limit_s = limit.as_secs(), "requests still in flight were dropped"),
    }
    info!("ended");
    Ok(())
}

/// The address to listen on: a number as it is; a name by looking it up until it appears.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    let begun = tokio::time::Instant::now();
    loop {
        let error = match tokio::net::lookup_host((host, port)).await {
            Ok(mut found) => match found.next() {
                Some(address) => return Ok(address),
                None => "it has no address".to_owned(),
            },
            Err(error) => error.to_string(),
        };
        if begun.elapsed() > NAME_PATIENCE {
            return Err(format!("HOST: cannot resolve '{host}': {error}"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        warn!("signals cannot be received; only SIGKILL will end this process");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
