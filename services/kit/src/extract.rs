//! Reading a request's path and query, with a problem response where they cannot be read. `body.rs` reads bodies.

use axum::extract::path::ErrorKind;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{self, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use serde::de::DeserializeOwned;

use crate::Problem;

/// Parameters of the path. Unlike axum's own extractor it answers with the error response that all services share:
/// 400 `INVALID_PATH`, which names the parameter and what was expected of it, never what was sent.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

/// Parameters of the query: 422 `INVALID_QUERY` where they cannot be read, as with [`Path`].
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(extract::Path(value)) => Ok(Path(value)),
            Err(rejection) => Err(path_problem(&rejection)),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Query::from_uri(&parts.uri)
    }
}

impl<T: DeserializeOwned> Query<T> {
    /// For handlers that have a whole request in hand.
    ///
    /// # Errors
    /// 422 `INVALID_QUERY`.
    pub fn from_uri(uri: &Uri) -> Result<Self, Problem> {
        match extract::Query::try_from_uri(uri) {
            Ok(extract::Query(value)) => Ok(Query(value)),
            Err(rejection) => Err(query_problem(&rejection)),
        }
    }
}

fn path_problem(rejection: &PathRejection) -> Problem {
    let PathRejection::FailedToDeserializePathParams(failure) = rejection else {
        return Problem::internal(rejection);
    };
    let fault = match failure.kind() {
        ErrorKind::ParseErrorAtKey {
            key, expected_type, ..
        } => format!("{key}: expected {expected_type}"),
        ErrorKind::ParseErrorAtIndex {
            index, expected_type, ..
        } => format!("parameter {}: expected {expected_type}", index + 1),
        ErrorKind::ParseError { expected_type, .. } => format!("expected {expected_type}"),
        ErrorKind::InvalidUtf8InPathParam { key } => format!("{key}: expected UTF-8"),
        ErrorKind::DeserializeError { key, message, .. } => format!("{key}: {}", without_found(message)),
        ErrorKind::Message(message) => without_found(message),
        // Of the handler, not of the request.
        mistake => return Problem::internal(mistake),
    };
    let message = format!("the path cannot be read: {fault}");
    Problem::new(StatusCode::BAD_REQUEST, "INVALID_PATH", message)
}

fn query_problem(rejection: &QueryRejection) -> Problem {
    let text = rejection.body_text();
    // axum's words, for which there is no other way to the parameter's name.
    let fault = text
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(&text);
    let message = format!("the query cannot be read: {}", without_found(fault));
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_QUERY", message)
}

/// A deserializer's words without the value that it found: it may be a password. serde writes
/// "invalid type: integer `1`, expected a string"; what is expected is the program's own, and comes last.
pub(crate) fn without_found(text: &str) -> String {
    const BEFORE_A_VALUE: [&str; 3] = ["invalid type", "invalid value", "unknown variant"];
    let Some(kept) = BEFORE_A_VALUE
        .iter()
        .filter_map(|words| Some(text.find(words)? + words.len()))
        .min()
    else {
        return text.to_owned();
    };
    let expected = text.rfind(", expected ").filter(|start| *start >= kept);
    format!("{}{}", &text[..kept], expected.map_or("", |start| &text[start..]))
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use axum::{Router, body::Body, http::Request};
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        limit: u32,
        #[serde(default)]
        order: Order,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Order {
        #[default]
        Up,
        Down,
    }

    #[derive(Debug, Deserialize)]
    struct Row {
        id: i64,
    }

    fn refusal(query: &str) -> (u16, String) {
        let read = Query::<Page>::from_uri(&format!("/rows?{query}").parse().unwrap());
        let problem = read.map(|page| page.0).unwrap_err();
        (problem.status().as_u16(), problem.to_string())
    }

    #[test]
    fn a_query_is_refused_by_the_parameters_name_and_without_its_value() {
        let read = Query::<Page>::from_uri(&"/rows?limit=7&order=down".parse().unwrap()).unwrap();
        assert!(matches!(
            read.0,
            Page {
                limit: 7,
                order: Order::Down
            }
        ));
        let expected = [
            ("limit=geheim", "limit: invalid digit found in string"),
            ("order=up", "missing field `limit`"),
            (
                "limit=1&order=geheim",
                "order: unknown variant, expected `up` or `down`",
            ),
        ];
        for (query, fault) in expected {
            let message = format!("the query cannot be read: {fault} (INVALID_QUERY)");
            assert_eq!(refusal(query), (422, message));
        }
        assert!(refusal("limit=1&x=geheim").1.contains("unknown field `x`"));
    }

    async fn asked(path: &str) -> (u16, String) {
        let routes = Router::new()
            .route("/one/{id}", get(async |Path(id): Path<i64>| id.to_string()))
            .route(
                "/named/{id}",
                get(async |Path(row): Path<Row>| row.id.to_string()),
            )
            .route(
                "/two/{name}/{id}",
                get(async |Path((name, id)): Path<(String, i64)>| format!("{name}{id}")),
            )
            .route("/none", get(async |Path(id): Path<i64>| id.to_string()));
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let answer = TowerToHyperService::new(routes).call(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 1000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_path_is_refused_by_the_parameters_name_and_without_its_value() {
        assert_eq!(asked("/two/a/7").await, (200, "a7".to_owned()));
        for (path, fault) in [
            ("/one/geheim", "expected i64"),
            ("/named/geheim", "id: expected i64"),
            ("/two/a/geheim", "parameter 2: expected i64"),
            ("/named/%ff", "id: expected UTF-8"),
        ] {
            let (status, body) = asked(path).await;
            assert_eq!(status, 400, "{path}: {body}");
            assert!(body.contains("INVALID_PATH"), "{path}: {body}");
            let message = format!("the path cannot be read: {fault}\"");
            assert!(body.contains(&message), "{path}: {body}");
        }
        assert_eq!(asked("/none").await.0, 500, "a mistake of ours");
    }

    #[test]
    fn a_value_is_taken_out_whatever_is_in_it() {
        let text = "a: invalid type: string \"x, expected y\", expected u8 at line 1 column 2";
        assert_eq!(
            without_found(text),
            "a: invalid type, expected u8 at line 1 column 2"
        );
        assert_eq!(without_found("missing field `a`"), "missing field `a`");
    }
}
