//! API keys of the caller: for programs, which do not log in. A key has its owner's role and tenant.

use axum::{
    Extension, Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use kit::{Body, Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::caller::Caller;
use crate::{
    domain::{apikey, client::ClientAddr},
    error::Error,
    state::App,
    store::ApiKey,
};

/// Ten years.
const MAX_TTL_S: u64 = 10 * 366 * 86_400;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(remove))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct New {
    /// 1 to 64 characters.
    name: String,
    /// Seconds, at most ten years; it never expires where it is absent.
    expires_in: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct Created {
    /// The key itself, told this once.
    key: String,
    #[serde(flatten)]
    shown: ApiKey,
}

#[derive(Serialize, ToSchema)]
struct Keys {
    /// The oldest first.
    keys: Vec<ApiKey>,
}

/// Makes an API key
///
/// Only after a login: a key makes no keys.
#[utoipa::path(post, path = "/auth/keys", tag = "accounts", request_body = New,
    responses((status = 201, description = "The key, for `X-API-Key`", body = Created),
        (status = 409, description = "100 keys are there already")))]
async fn create(
    State(app): State<App>,
    client: Option<Extension<ClientAddr>>,
    caller: Caller,
    Body(new): Body<New>,
) -> Result<Response, Error> {
    caller.must_have_logged_in()?;
    if !apikey::is_name(&new.name) {
        return Err(Error::Unacceptable(
            "name",
            "expected 1 to 64 characters".to_owned(),
        ));
    }
    if new
        .expires_in
        .is_some_and(|ttl_s| !(1..=MAX_TTL_S).contains(&ttl_s))
    {
        let expected = format!("expected seconds from 1 to {MAX_TTL_S}");
        return Err(Error::Unacceptable("expires_in", expected));
    }
    let made = apikey::new().map_err(Error::Internal)?;
    let stored = app
        .api_keys()?
        .create(&caller.user, &new.name, &made, new.expires_in)
        .await?;
    let shown = stored.ok_or(Error::NoMoreKeys)?;
    app.record(caller.did(
        "key.create",
        Some(&shown.id),
        client.map(|Extension(client)| client),
    ));
    let body = Created { key: made.key, shown };
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, Json(body)).into_response())
}

/// Lists the caller's API keys
#[utoipa::path(get, path = "/auth/keys", tag = "accounts",
    responses((status = 200, description = "Never the keys themselves", body = Keys)))]
async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Keys>, Error> {
    let keys = app.api_keys()?.list(&caller.user).await?;
    Ok(Json(Keys { keys }))
}

/// Removes an API key of the caller
///
/// It is refused at once here, and within 5 s by other replicas.
#[utoipa::path(delete, path = "/auth/keys/{id}", tag = "accounts",
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 204, description = "Removed"), (status = 404, description = "No such key")))]
async fn remove(
    State(app): State<App>,
    client: Option<Extension<ClientAddr>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    caller.must_have_logged_in()?;
    if !apikey::is_id(&id) || !app.api_keys()?.remove(&caller.user, &id).await? {
        return Err(Error::NotFound("no such key"));
    }
    app.record(caller.did("key.remove", Some(&id), client.map(|Extension(client)| client)));
    Ok(StatusCode::NO_CONTENT)
}
