//! Who calls: a bearer token that is good and not revoked (RFC 6750 section 2.1).

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};

use crate::{
    domain::token::{Claims, TokenFault},
    error::Error,
    state::App,
};

/// A proven identity. Asking for it protects a route.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Claims);

impl FromRequestParts<App> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let token = bearer(&parts.headers).ok_or(Error::MissingToken)?;
        let claims = app.tokens()?.check(token).map_err(|fault| match fault {
            TokenFault::Expired => Error::TokenExpired,
            TokenFault::Invalid => Error::InvalidToken,
        })?;
        // Fails closed: where nobody can say whether the token is revoked, it is not accepted.
        if app.sessions()?.is_revoked(&claims.jti).await? {
            return Err(Error::InvalidToken);
        }
        Ok(Self(claims))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}
