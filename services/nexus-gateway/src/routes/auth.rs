//! Logging in and out.

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use kit::Body;
use serde::Deserialize;
use serde_json::json;

use super::caller::Caller;
use crate::{
    domain::password::{self, MAX_PASSWORD_BYTES},
    error::Error,
    state::App,
    store::User,
};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/auth/login", post(login))
        .route("/auth/logout", post(logout))
        .route("/auth/me", get(me))
}

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: String,
}

/// `{username, password}` -> `{access_token, token_type, expires_in}`.
async fn login(State(app): State<App>, Body(sent): Body<Credentials>) -> Result<Response, Error> {
    let (tokens, users, sessions) = (app.tokens()?, app.users()?, app.sessions()?);
    if !password::is_username(&sent.username) || sent.password.len() > MAX_PASSWORD_BYTES {
        return Err(Error::BadCredentials);
    }
    if let Some(wait_s) = sessions.count_attempt(&sent.username).await? {
        return Err(Error::Throttled(wait_s));
    }
    let user = users.find(&sent.username).await?;
    let username = sent.username.clone();
    let Some(user) = matching(&app, user, sent.password).await? else {
        tracing::warn!(user = %username, "login refused");
        return Err(Error::BadCredentials);
    };
    sessions.forget_attempts(&username).await?;
    let jti = uuid::Uuid::new_v4().simple().to_string();
    let token = tokens.issue(&username, &user.role, &user.tenant, &jti);
    let token = token.map_err(|error| Error::Internal(error.to_string()))?;
    tracing::info!(user = %username, "logged in");
    let body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": tokens.ttl_s() });
    // RFC 6749 section 5.1: answers with tokens are not stored.
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// The user whose password it is. An unknown user costs the same time.
async fn matching(app: &App, user: Option<User>, password: String) -> Result<Option<User>, Error> {
    let internal = |error: &dyn std::fmt::Display| Error::Internal(error.to_string());
    let _permit = app.hashing().acquire().await.map_err(|error| internal(&error))?;
    let hashing = tokio::task::spawn_blocking(move || {
        let stored = user.as_ref().map(|user| user.password_hash.as_str());
        if password::verify(&password, stored) {
            user
        } else {
            None
        }
    });
    hashing.await.map_err(|error| internal(&error))
}

/// Revokes the caller's token.
async fn logout(State(app): State<App>, Caller(claims): Caller) -> Result<StatusCode, Error> {
    app.sessions()?.revoke(&claims.jti, claims.remaining_s()).await?;
    tracing::info!(user = %claims.sub, "logged out");
    Ok(StatusCode::NO_CONTENT)
}

/// Who the caller is.
async fn me(Caller(claims): Caller) -> Response {
    let body = json!({
        "username": claims.sub,
        "role": claims.role,
        "tenant": claims.tenant,
        "expires_in": claims.remaining_s(),
    });
    Json(body).into_response()
}
