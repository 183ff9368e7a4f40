//! Asking the engine on behalf of a caller. What it refuses is told on as it was said.

use axum::{
    body::{Body, to_bytes},
    http::{HeaderValue, Method, Request, Response, StatusCode, header},
};
use kit::{Problem, RequestIds, Result, current_ids, upstream::Answer};
use serde::Serialize;
use serde_json::Value;

use crate::{
    domain::forwarding::Service,
    routes::caller::{Caller, unproven},
    state::App,
};

/// Longest answer that is read whole: a run's outputs.
const MOST_BYTES: usize = 64 << 20;

/// A JSON answer of 2xx.
///
/// # Errors
/// The engine's own refusal with its status, code and fields; 502 or 503 `UPSTREAM_UNAVAILABLE`.
pub(super) async fn ask(
    app: &App,
    caller: &Caller,
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
) -> Result<Answer> {
    let answer = read(app, send(app, caller, method, path, body).await?).await?;
    if answer.status.is_success() {
        Ok(answer)
    } else {
        Err(told_on(answer.status, answer.body))
    }
}

/// `GET`, its body alone.
pub(super) async fn get(app: &App, caller: &Caller, path: &str) -> Result<Value> {
    let answer = ask(app, caller, Method::GET, path, None::<&()>).await?;
    Ok(answer.body)
}

/// `POST` whose answer of 2xx is left to be read as it comes; events end with the caller's proof.
///
/// # Errors
/// Those of [`ask`].
pub(super) async fn open(app: &App, caller: &Caller, path: &str, body: &impl Serialize) -> Result<Body> {
    let answer = send(app, caller, Method::POST, path, Some(body)).await?;
    if answer.status().is_success() {
        return Ok(answer.into_body());
    }
    let refused = read(app, answer).await?;
    Err(told_on(refused.status, refused.body))
}

/// Through the proxy, and so through the breaker and the tally that passed calls go through, too.
async fn send(
    app: &App,
    caller: &Caller,
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
) -> Result<Response<Body>> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.headers_mut() = caller.identity().headers();
    let ids = current_ids();
    for (name, value) in ids.iter().flat_map(RequestIds::headers) {
        if let Ok(value) = HeaderValue::try_from(value) {
            request.headers_mut().insert(name, value);
        }
    }
    if let Some(body) = body {
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        *request.body_mut() = serde_json::to_vec(body).map_err(Problem::internal)?.into();
    }
    let path = path.parse().map_err(Problem::internal)?;
    let end = || unproven(app.clone(), caller.clone());
    app.proxy().send(Service::Workflow, path, request, end).await
}

async fn read(app: &App, answer: Response<Body>) -> Result<Answer> {
    let status = answer.status();
    let broken = |detail: String| app.proxy().broken(Service::Workflow, &detail);
    let bytes = to_bytes(answer.into_body(), MOST_BYTES).await;
    let bytes = bytes.map_err(|error| broken(error.to_string()))?;
    // Such as 204.
    if bytes.is_empty() {
        let body = Value::Null;
        return Ok(Answer { status, body });
    }
    let body = serde_json::from_slice(&bytes).map_err(|error| broken(format!("status {status}: {error}")))?;
    Ok(Answer { status, body })
}

/// The engine's refusal as the gateway's own: the correlation id is the same, since ids go along.
fn told_on(status: StatusCode, body: Value) -> Problem {
    let word = |key: &str, otherwise: &str| body[key].as_str().unwrap_or(otherwise).to_owned();
    let problem = Problem::new(
        status,
        word("code", "UPSTREAM_ERROR"),
        word("error", "the workflow engine refused"),
    );
    let Value::Object(fields) = body else {
        return problem;
    };
    let problem = fields
        .into_iter()
        .filter(|(name, _)| !matches!(name.as_str(), "code" | "error" | "correlation_id"))
        .fold(problem, |problem, (name, value)| problem.field(&name, value));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        problem.header(header::RETRY_AFTER, "1")
    } else {
        problem
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_keeps_its_words_and_fields() {
        let told =
            json!({ "error": "no", "code": "INPUTS_INVALID", "field": "count", "correlation_id": "r" });
        let problem = told_on(StatusCode::UNPROCESSABLE_ENTITY, told);
        assert_eq!(problem.status(), 422);
        let expected = json!({ "error": "no", "code": "INPUTS_INVALID", "field": "count" });
        assert_eq!(Value::Object(problem.body()), expected);
        assert_eq!(
            told_on(StatusCode::BAD_GATEWAY, json!("?")).code(),
            "UPSTREAM_ERROR"
        );
    }
}
