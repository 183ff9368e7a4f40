//! Headers of every answer that tell browsers what not to do with it (the sheet's section 1.2), and the limit on those
//! of a request.

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    },
};
use axum::response::{IntoResponse, Response};
use kit::Problem;

const SECURE: [(HeaderName, HeaderValue); 6] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (
        STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=31536000"),
    ),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=()"),
    ),
];

/// A request's headers may have so many bytes. The server refuses much longer heads by itself; where it stops depends
/// on how the bytes arrive.
pub(super) const MOST_BYTES: usize = 64 * 1024;

/// The headers' size as they were sent, roughly.
pub(super) fn bytes(headers: &HeaderMap) -> usize {
    let sizes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    sizes.sum()
}

/// 431.
pub(super) fn too_large() -> Response {
    Problem::new(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "HEADERS_TOO_LARGE",
        "the headers are too large",
    )
    .into_response()
}

/// Adds them; a page that has a policy of its own keeps it.
pub(super) fn secure(headers: &mut HeaderMap) {
    for (name, value) in SECURE {
        headers.entry(name).or_insert(value);
    }
}
