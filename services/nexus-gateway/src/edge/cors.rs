//! Calls from web pages of other origins (Fetch standard, section 3.3): preflights are answered here; answers are
//! marked for the origins that are listed. Credentials of the browser are never asked for: tokens travel in headers.

use axum::{
    extract::Request,
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
            VARY,
        },
    },
    response::{IntoResponse, Response},
};
use kit::Problem;

use crate::domain::origins::Origins;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, x-api-key, idempotency-key, x-session-id, x-request-id, traceparent, last-event-id",
);
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, retry-after, ratelimit, ratelimit-policy, idempotency-replayed, location",
);
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The page's origin, where it may call.
pub(super) fn allowed(origins: &Origins, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    origins.allow(origin.as_bytes()).then(|| origin.clone())
}

/// Whether a browser asks what it may send.
pub(super) fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    *request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to it; the origin is added by `mark`.
pub(super) fn preflight(allowed: bool) -> Response {
    if !allowed {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "ORIGIN_REFUSED",
            "pages of this origin may not call",
        )
        .into_response();
    }
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
        (ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Lets the page read the answer.
pub(super) fn mark(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    let Some(origin) = origin else { return };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(VARY, HeaderValue::from_static("origin"));
}
