//! What can go wrong at the gateway itself, and how each is answered: public words out, details to the log.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use kit::Problem;

use crate::store::MOST_KEYS;

/// A failure of the gateway; those of services are passed on or are `kit`'s.
#[derive(Debug)]
pub(crate) enum Error {
    /// No bearer token was sent.
    MissingToken,
    /// The token was good once.
    TokenExpired,
    /// The token is not ours, was changed, or is revoked.
    InvalidToken,
    /// The API key is none, or is over.
    InvalidApiKey,
    /// The refresh token is none, was used, or is over.
    InvalidRefresh,
    /// User or password are wrong; which one is not told.
    BadCredentials,
    /// Who calls is known, and may not do this.
    Forbidden,
    /// What was sent cannot be; which field, and what is expected.
    Unacceptable(&'static str, String),
    /// The name of a user is taken.
    Taken,
    /// An account has as many keys as it may have.
    NoMoreKeys,
    /// It is not there, or is not the caller's to see.
    NotFound(&'static str),
    /// Too many attempts for this name; how long to wait, in seconds.
    Throttled(u64),
    /// A setting that this call needs is absent.
    NotConfigured(&'static str),
    /// PostgreSQL does not answer.
    Users(sqlx::Error),
    /// Redis does not answer: nobody can tell whether a token is revoked, so none is accepted.
    Sessions(redis::RedisError),
    /// A fault of ours.
    Internal(String),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Users(error)
    }
}

impl From<redis::RedisError> for Error {
    fn from(error: redis::RedisError) -> Self {
        Self::Sessions(error)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::MissingToken => unauthorized("missing_token", "a bearer token is required"),
            Error::TokenExpired => unauthorized("token_expired", "the token has expired"),
            Error::InvalidToken => unauthorized("invalid_token", "the token is not valid"),
            Error::InvalidApiKey => unauthorized("invalid_api_key", "the API key is not valid"),
            Error::InvalidRefresh => unauthorized("invalid_refresh_token", "the refresh token is not valid"),
            Error::BadCredentials => unauthorized("invalid_credentials", "user or password are wrong"),
            // Which role would do is not told.
            Error::Forbidden => Problem::new(StatusCode::FORBIDDEN, "FORBIDDEN", "not allowed"),
            Error::Unacceptable(field, expected) => {
                let told = format!("{field}: {expected}");
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_FIELD", told).field("field", field)
            }
            Error::Taken => Problem::new(StatusCode::CONFLICT, "USER_EXISTS", "the name is taken"),
            Error::NoMoreKeys => Problem::new(
                StatusCode::CONFLICT,
                "TOO_MANY_KEYS",
                format!("an account of this gateway has at most {MOST_KEYS} keys"),
            ),
            Error::NotFound(what) => Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", what),
            Error::Throttled(wait_s) => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "TOO_MANY_ATTEMPTS",
                "too many attempts to log in",
            )
            .header(header::RETRY_AFTER, wait_s.to_string()),
            Error::NotConfigured(setting) => Problem::unavailable(
                "NOT_CONFIGURED",
                "the gateway is not configured",
                format!("{setting} is not set"),
            ),
            Error::Users(error) => {
                Problem::unavailable("USER_STORE_UNAVAILABLE", "the user store does not answer", error)
            }
            Error::Sessions(error) => Problem::unavailable(
                "SESSION_STORE_UNAVAILABLE",
                "the session store does not answer",
                error,
            ),
            Error::Internal(detail) => Problem::internal(detail),
        }
    }
}

/// 401 with the challenge that RFC 6750 section 3 asks for.
fn unauthorized(code: &str, message: &str) -> Problem {
    let challenge = match code {
        "token_expired" | "invalid_token" => "Bearer error=\"invalid_token\"",
        _ => "Bearer",
    };
    Problem::new(StatusCode::UNAUTHORIZED, code, message).header(header::WWW_AUTHENTICATE, challenge)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}
