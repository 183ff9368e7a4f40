//! Sending the page and its files, and the headers that bind a browser.

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use kit::{Path, Problem};

use crate::assets;

/// Only our own files, no inline code or style, no frames, no forms, calls to our own server alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (
        header::STRICT_TRANSPORT_SECURITY,
        "max-age=31536000; includeSubDomains",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// The page itself is asked for every time: it names the files that belong together.
pub(crate) async fn index() -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Html(assets::index())).into_response()
}

/// A file whose name holds its hash never changes.
pub(crate) async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    let Some(asset) = assets::find(&name) else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", "no such file"));
    };
    let headers = [
        (header::CONTENT_TYPE, asset.kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, asset.text).into_response())
}

/// Puts the browser's rules on every answer.
pub(crate) async fn harden(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
