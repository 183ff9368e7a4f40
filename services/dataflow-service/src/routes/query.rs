//! A request's query, refused with the code that parameters have everywhere here.

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use kit::Problem;
use serde::de::DeserializeOwned;

use crate::domain::fault::PARAMETER;

/// As `kit::Query`; what it refuses is DF-101.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> Query<T> {
    pub(super) fn from_uri(uri: &Uri) -> Result<Self, Problem> {
        match kit::Query::from_uri(uri) {
            Ok(kit::Query(value)) => Ok(Query(value)),
            Err(refused) => Err(Problem::new(refused.status(), PARAMETER, refused.message())),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Query::from_uri(&parts.uri)
    }
}
