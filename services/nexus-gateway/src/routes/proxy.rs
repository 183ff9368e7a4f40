//! Passing calls on: the caller's token becomes headers that services trust, bodies stream both ways.

use axum::RequestExt;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::Response,
    routing::any,
};
use futures_util::StreamExt;
use kit::{Problem, upstream::Upstream};

use super::caller::Caller;
use crate::{
    domain::forwarding::{self, Identity},
    state::App,
};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/workflows", any(forward))
        .route("/workflows/{*rest}", any(forward))
        .route("/executions/{id}", any(forward))
        .route("/api/dataflow/{*rest}", any(forward))
        .route("/api/classify", any(forward))
        .route("/api/classify/{*rest}", any(forward))
        .route("/mcp", any(forward))
}

async fn forward(
    State(app): State<App>,
    Caller(claims): Caller,
    request: Request,
) -> Result<Response, Problem> {
    let Some((service, path)) = forwarding::destination(request.uri().path()) else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "NOT_FOUND",
            "no such resource",
        ));
    };
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let upstream = app.upstream(service);
    let (mut parts, body) = request.with_limited_body().into_parts();
    let identity = Identity {
        user: &claims.sub,
        tenant: &claims.tenant,
        role: &claims.role,
    };
    let had_body = has_body(&parts.headers);
    forwarding::to_service(&mut parts.headers, identity);
    let mut call = upstream
        .request(parts.method.clone(), &target)?
        .headers(parts.headers);
    // Only what has no body and changes nothing may be sent twice.
    let retries = u8::from(!had_body && matches!(parts.method, Method::GET | Method::HEAD));
    if had_body {
        call = call.body(reqwest::Body::wrap_stream(body.into_data_stream()));
    }
    let answer = tokio::time::timeout(app.upstream_timeout(), send(upstream, call, retries)).await;
    let answer =
        answer.map_err(|_| upstream.unavailable(StatusCode::SERVICE_UNAVAILABLE, "no answer in time"))??;
    Ok(passed_back(&app, answer))
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

async fn send(
    upstream: &Upstream,
    call: reqwest::RequestBuilder,
    retries: u8,
) -> Result<reqwest::Response, Problem> {
    let again = if retries > 0 { call.try_clone() } else { None };
    match (call.send().await, again) {
        (Ok(answer), _) => Ok(answer),
        (Err(_), Some(again)) => again.send().await.map_err(|error| failed(upstream, &error)),
        (Err(error), None) => Err(failed(upstream, &error)),
    }
}

/// A body over the limit breaks the call from the caller's side; everything else is the service's.
fn failed(upstream: &Upstream, error: &reqwest::Error) -> Problem {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(one) = cause {
        // Named by its words: its type belongs to a library that is not ours to depend on.
        if one.to_string() == "length limit exceeded" {
            return Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "BODY_TOO_LARGE",
                "the body is too large",
            );
        }
        cause = one.source();
    }
    let status = if error.is_connect() {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::BAD_GATEWAY
    };
    upstream.unavailable(status, &error.to_string())
}

fn passed_back(app: &App, answer: reqwest::Response) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    forwarding::to_caller(response.headers_mut());
    let endless = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let stream = answer.bytes_stream();
    *response.body_mut() = if endless {
        // An event stream would outlast any drain; its client is told to come back by its end.
        let health = app.health().clone();
        Body::from_stream(stream.take_until(Box::pin(async move { health.draining().await })))
    } else {
        Body::from_stream(stream)
    };
    response
}
