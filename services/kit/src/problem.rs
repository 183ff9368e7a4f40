//! One error response for all services: `{"error", "code", "correlation_id"}`. Public words go out; what only
//! the log may know stays there.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::telemetry::current_ids;

/// A handler's result.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

/// An error as the caller sees it.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: String,
    message: String,
    fields: Map<String, Value>,
    headers: Vec<(HeaderName, String)>,
}

impl Problem {
    /// `code` is for programs (`UPPER_SNAKE` or `DF-701`), `message` for people; both are public.
    pub fn new(status: StatusCode, code: impl Into<String>, message: impl Into<String>) -> Self {
        Problem {
            status,
            code: code.into(),
            message: message.into(),
            fields: Map::new(),
            headers: Vec::new(),
        }
    }

    /// 500 with nothing but a correlation id; `detail` goes to the log.
    pub fn internal(detail: impl std::fmt::Display) -> Self {
        tracing::error!(%detail, "internal error");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL_ERROR",
            "internal error",
        )
    }

    /// 503 with `Retry-After`; `detail` goes to the log.
    pub fn unavailable(code: &str, message: &str, detail: impl std::fmt::Display) -> Self {
        tracing::warn!(%detail, code, "unavailable");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, message).header(header::RETRY_AFTER, "1")
    }

    /// One more public field in the body.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// One more header in the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The status that it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The words for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The code for programs.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What the caller sees but for the correlation id: `{"error", "code", ...}`.
    pub fn body(&self) -> Map<String, Value> {
        let mut body = self.fields.clone();
        body.insert("error".to_owned(), self.message.as_str().into());
        body.insert("code".to_owned(), self.code.as_str().into());
        body
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let correlation_id = current_ids().map(|ids| ids.request_id);
        let mut body = json!({ "error": self.message, "code": self.code, "correlation_id": correlation_id });
        if let Some(object) = body.as_object_mut() {
            object.extend(self.fields);
        }
        let mut response = (self.status, Json(body)).into_response();
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
