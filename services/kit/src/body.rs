//! Reading a request's JSON body, with a problem response where it cannot be read.

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use crate::Problem;
use crate::extract::without_found;

/// A JSON body. Unlike axum's own extractor it answers with the error response that all services share:
/// 400 `BAD_JSON`, 413 `BODY_TOO_LARGE`, 415 `UNSUPPORTED_MEDIA_TYPE`, 422 `INVALID_BODY`.
#[derive(Debug, Clone, Copy)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match <axum::Json<T> as FromRequest<S>>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Body(value)),
            Err(rejection) => Err(problem(&rejection)),
        }
    }
}

/// `Option<Body<T>>`: a request without `Content-Type` has no body.
impl<T: DeserializeOwned, S: Send + Sync> OptionalFromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        match <axum::Json<T> as OptionalFromRequest<S>>::from_request(request, state).await {
            Ok(value) => Ok(value.map(|axum::Json(value)| Body(value))),
            Err(rejection) => Err(problem(&rejection)),
        }
    }
}

fn problem(rejection: &JsonRejection) -> Problem {
    let status = rejection.status();
    let code = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "BODY_TOO_LARGE",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "UNSUPPORTED_MEDIA_TYPE",
        StatusCode::UNPROCESSABLE_ENTITY => "INVALID_BODY",
        _ => "BAD_JSON",
    };
    Problem::new(status, code, without_found(&rejection.body_text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(kind: &str, text: &'static str) -> Result<Vec<u8>, (u16, String)> {
        let request = Request::builder().header("content-type", kind);
        let request = request.body(axum::body::Body::from(text)).unwrap();
        let read = <Body<Vec<u8>> as FromRequest<()>>::from_request(request, &()).await;
        read.map(|body| body.0)
            .map_err(|problem| (problem.status().as_u16(), problem.code().to_owned()))
    }

    #[tokio::test]
    async fn what_was_sent_is_not_told() {
        for text in ["{\"password\": 87654321}", "{\"password\": [\"87654321\"]}"] {
            let request = Request::builder().header("content-type", "application/json");
            let request = request.body(axum::body::Body::from(text)).unwrap();
            type Login = std::collections::BTreeMap<String, String>;
            let read = <Body<Login> as FromRequest<()>>::from_request(request, &()).await;
            let message = read.unwrap_err().message().to_owned();
            assert!(
                message.contains("password: invalid type, expected a string at line 1"),
                "{message}"
            );
            assert!(!message.contains("8765"), "{message}");
        }
    }

    #[tokio::test]
    async fn each_way_of_being_unreadable_has_its_code() {
        assert_eq!(read("application/json", "[1]").await, Ok(vec![1]));
        let refused = |status, code: &str| Err((status, code.to_owned()));
        assert_eq!(read("application/json", "[1").await, refused(400, "BAD_JSON"));
        assert_eq!(read("application/json", "{}").await, refused(422, "INVALID_BODY"));
        assert_eq!(
            read("text/plain", "[1]").await,
            refused(415, "UNSUPPORTED_MEDIA_TYPE")
        );
    }
}
