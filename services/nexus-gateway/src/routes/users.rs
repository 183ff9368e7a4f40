//! Users, for administrators: one of the tenant `default` manages all users, any other those of the own tenant.

use axum::{Extension, Json, extract::State, http::StatusCode};
use kit::{Body, Path, Query};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{auth, caller::Caller, hashing};
use crate::{
    domain::{client::ClientAddr, password, roles::Role},
    error::Error,
    state::App,
    store::{Account, Change},
};

/// Users on a page, unless asked for fewer or more; and at most.
const PAGE: i64 = 100;
const MOST: i64 = 1000;
/// Its administrators manage all users.
const FIRST_TENANT: &str = "default";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(change))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct New {
    /// 1 to 64 letters, digits or `_ . @ -`, the first a letter or digit.
    username: String,
    /// 12 to 1024 bytes.
    password: String,
    /// `user` where it is absent.
    role: Option<Role>,
    /// The caller's own where it is absent.
    tenant: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Changed {
    /// Ends all logins of the user, and the user's API keys do not pass.
    disabled: Option<bool>,
    /// Ends all logins of the user.
    role: Option<Role>,
    /// 12 to 1024 bytes. Ends all logins of the user.
    password: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Page {
    /// The last name of the page before.
    after: Option<String>,
    /// 1 to 1000.
    limit: Option<i64>,
}

#[derive(Serialize, ToSchema)]
struct Users {
    /// In the order of their names.
    users: Vec<Account>,
}

/// Creates a user
#[utoipa::path(post, path = "/users", tag = "accounts", request_body = New,
    responses((status = 201, description = "Created", body = Account), (status = 409, description = "The name is taken")))]
async fn create(
    State(app): State<App>,
    client: Option<Extension<ClientAddr>>,
    caller: Caller,
    Body(new): Body<New>,
) -> Result<(StatusCode, Json<Account>), Error> {
    caller.must_be(Role::Admin)?;
    let tenant = new.tenant.unwrap_or_else(|| caller.tenant.to_string());
    if scope(&caller).is_some_and(|own| own != tenant) {
        return Err(Error::Forbidden);
    }
    let faults = [
        (
            password::is_username(&new.username),
            "username",
            "1 to 64 letters, digits or _ . @ -, the first a letter or digit",
        ),
        (
            kit::is_tenant(&tenant),
            "tenant",
            "1 to 64 letters, digits, _ or -, the first a letter or digit",
        ),
    ];
    if let Some((_, field, expected)) = faults.into_iter().find(|(good, ..)| !good) {
        return Err(Error::Unacceptable(field, format!("expected {expected}")));
    }
    let hash = hashing::hash(&app, "password", new.password).await?;
    let role = new.role.unwrap_or(Role::User);
    let created = app
        .accounts()?
        .create(&new.username, &hash, role, &tenant)
        .await?;
    let account = created.ok_or(Error::Taken)?;
    app.record(caller.did(
        "user.create",
        Some(&account.username),
        client.map(|Extension(client)| client),
    ));
    Ok((StatusCode::CREATED, Json(account)))
}

/// Lists users
#[utoipa::path(get, path = "/users", tag = "accounts", params(Page),
    responses((status = 200, description = "Users that the caller may manage", body = Users)))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Json<Users>, Error> {
    caller.must_be(Role::Admin)?;
    let limit = page.limit.unwrap_or(PAGE).clamp(1, MOST);
    let after = page.after.unwrap_or_default();
    if !password::is_username(&after) && !after.is_empty() {
        return Err(Error::Unacceptable("after", "expected a user's name".to_owned()));
    }
    let users = app.accounts()?.list(scope(&caller), &after, limit).await?;
    Ok(Json(Users { users }))
}

/// Disables, enables or changes a user
#[utoipa::path(patch, path = "/users/{name}", tag = "accounts", request_body = Changed,
    params(("name" = String, Path, description = "The user's name")),
    responses((status = 200, description = "As it is now", body = Account), (status = 404, description = "No such user")))]
async fn change(
    State(app): State<App>,
    client: Option<Extension<ClientAddr>>,
    caller: Caller,
    Path(name): Path<String>,
    Body(changed): Body<Changed>,
) -> Result<Json<Account>, Error> {
    caller.must_be(Role::Admin)?;
    if !password::is_username(&name) {
        return Err(no_such_user());
    }
    // Whoever takes the own rights away may be the last who had them.
    if name == *caller.user && (changed.disabled == Some(true) || changed.role.is_some()) {
        return Err(Error::Unacceptable(
            "name",
            "nobody disables or demotes the own account".to_owned(),
        ));
    }
    let password_hash = match changed.password {
        Some(password) => Some(hashing::hash(&app, "password", password).await?),
        None => None,
    };
    let change = Change {
        disabled: changed.disabled,
        role: changed.role,
        password_hash,
    };
    let entry = caller.did("user.change", Some(&name), client.map(|Extension(client)| client));
    let tenant = scope(&caller).map(str::to_owned);
    let account = auth::change_account(&app, name, tenant, change, entry).await?;
    account.map(Json).ok_or_else(no_such_user)
}

fn no_such_user() -> Error {
    Error::NotFound("no such user")
}

/// The tenant whose users and records a caller sees; `None` is all.
pub(super) fn scope(caller: &Caller) -> Option<&str> {
    (&*caller.tenant != FIRST_TENANT).then_some(&*caller.tenant)
}
