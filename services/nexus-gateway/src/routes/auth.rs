//! Logging in, going on without a password, and logging out.

use std::time::Duration;

use axum::{
    Extension, Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use kit::Body;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{caller::Caller, hashing, to_its_end};
use crate::{
    domain::{
        client::ClientAddr,
        password::{self, MAX_PASSWORD_BYTES},
        roles::Role,
        secret,
        token::{Subject, now_s},
    },
    error::Error,
    state::App,
    store::{Account, Change, Entry, Revoked, Rotation, User},
};

const REFRESH_PREFIX: &str = "hr_";

type Client = Option<Extension<ClientAddr>>;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(me))
        .routes(routes!(change_password))
}

#[derive(Deserialize, ToSchema)]
struct Credentials {
    #[schema(example = "ada")]
    username: String,
    password: String,
}

#[derive(Deserialize, ToSchema)]
struct Refresh {
    /// As the last login or refresh gave it.
    refresh_token: String,
}

#[derive(Deserialize, ToSchema)]
struct Passwords {
    /// The one of now.
    password: String,
    /// 12 to 1024 bytes.
    new_password: String,
}

/// Tokens as RFC 6749 section 5.1 names them.
#[derive(Serialize, ToSchema)]
struct Tokens {
    /// For `Authorization: Bearer`.
    access_token: String,
    /// Good once, for `POST /auth/refresh`.
    refresh_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds until the access token expires.
    #[schema(example = 3600)]
    expires_in: u64,
}

#[derive(Serialize, ToSchema)]
struct Me {
    username: String,
    role: Role,
    tenant: String,
    /// Seconds until the token or key expires; absent where it never does.
    expires_in: Option<u64>,
}

/// Logs in
///
/// 10 attempts of a name and 100 of a client's address in 5 minutes, then 429.
#[utoipa::path(post, path = "/auth/login", tag = "accounts", security(()), request_body = Credentials,
    responses((status = 200, description = "Tokens", body = Tokens)))]
async fn login(
    State(app): State<App>,
    client: Client,
    Body(sent): Body<Credentials>,
) -> Result<Response, Error> {
    app.tokens()?.can_issue()?;
    let (accounts, attempts) = (app.accounts()?, app.attempts()?);
    let address = client.map(|Extension(client)| client.0);
    // What was typed as a name may be anything: only names that exist are written down.
    let mut entry = Entry {
        action: "auth.login".to_owned(),
        outcome: "refused".to_owned(),
        client: address,
        ..Entry::default()
    };
    if !password::is_username(&sent.username) || sent.password.len() > MAX_PASSWORD_BYTES {
        app.record(entry);
        return Err(Error::BadCredentials);
    }
    if let Some(wait_s) = attempts.count(&sent.username, address).await? {
        return Err(Error::Throttled(wait_s));
    }
    let user = accounts.find(&sent.username).await?;
    entry.user = user.is_some().then(|| sent.username.clone());
    entry.tenant = user.as_ref().map(|user| user.tenant.clone());
    let stored = user.as_ref().map(|user| user.password_hash.clone());
    let good = hashing::verify(&app, stored, sent.password).await?;
    let Some(user) = user.filter(|user| good && !user.disabled) else {
        app.record(entry);
        return Err(Error::BadCredentials);
    };
    attempts.forget(&sent.username).await?;
    let Some(answer) = begin(&app, &sent.username, &user.password_hash).await? else {
        app.record(entry);
        return Err(Error::BadCredentials);
    };
    entry.outcome = "ok".to_owned();
    app.record(entry);
    Ok(answer)
}

/// A new family of tokens; `None` where the account was changed meanwhile.
async fn begin(app: &App, username: &str, password_hash: &str) -> Result<Option<Response>, Error> {
    let family = uuid::Uuid::new_v4().simple().to_string();
    let refresh = secret::new(REFRESH_PREFIX).map_err(Error::Internal)?;
    let ttl_s = app.refresh_ttl().as_secs();
    let begun = app
        .refresh_tokens()?
        .begin(username, password_hash, &refresh, &family, ttl_s)
        .await?;
    // Role and tenant are those of this step: the password was looked at a while ago.
    let Some(User { role, tenant, .. }) = begun else {
        return Ok(None);
    };
    let subject = Subject {
        user: username,
        role,
        tenant: &tenant,
        family: &family,
    };
    granted(app, subject, refresh).map(Some)
}

fn granted(app: &App, subject: Subject<'_>, refresh_token: String) -> Result<Response, Error> {
    let tokens = app.tokens()?;
    let jti = uuid::Uuid::new_v4().simple().to_string();
    let body = Tokens {
        access_token: tokens.issue(subject, &jti)?,
        refresh_token,
        token_type: "Bearer",
        expires_in: tokens.ttl_s(),
    };
    // RFC 6749 section 5.1: answers with tokens are not stored.
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// New tokens for a refresh token
///
/// Each refresh token is good once. Using one again, even because an answer was lost, ends the login that it came
/// from with all its tokens: nobody can tell a retry from a theft.
#[utoipa::path(post, path = "/auth/refresh", tag = "accounts", security(()), request_body = Refresh,
    responses((status = 200, description = "Tokens", body = Tokens)))]
async fn refresh(
    State(app): State<App>,
    client: Client,
    Body(sent): Body<Refresh>,
) -> Result<Response, Error> {
    app.tokens()?.can_issue()?;
    let next = secret::new(REFRESH_PREFIX).map_err(Error::Internal)?;
    let ttl_s = app.refresh_ttl().as_secs();
    match app
        .refresh_tokens()?
        .rotate(&sent.refresh_token, &next, ttl_s)
        .await?
    {
        Rotation::Refused => Err(Error::InvalidRefresh),
        Rotation::Next {
            username,
            role,
            tenant,
            family,
        } => {
            let subject = Subject {
                user: &username,
                role,
                tenant: &tenant,
                family: &family,
            };
            granted(&app, subject, next)
        }
        Rotation::Reused {
            username,
            tenant,
            family,
        } => {
            tracing::warn!(user = %username, "a refresh token was used twice; its login is ended");
            app.record(Entry {
                user: Some(username),
                tenant: Some(tenant),
                action: "auth.refresh.reuse".to_owned(),
                outcome: "refused".to_owned(),
                client: client.map(|Extension(client)| client.0),
                ..Entry::default()
            });
            revoke(&app, &[family]).await?;
            Err(Error::InvalidRefresh)
        }
    }
}

/// Logs out
///
/// Ends the login that the token came from, with all its tokens; and the one of a `refresh_token`, where one is sent.
#[utoipa::path(post, path = "/auth/logout", tag = "accounts", request_body = Option<Refresh>,
    responses((status = 204, description = "Logged out")))]
async fn logout(
    State(app): State<App>,
    client: Client,
    caller: Caller,
    sent: Option<Body<Refresh>>,
) -> Result<StatusCode, Error> {
    caller.must_have_logged_in()?;
    let client = client.map(|Extension(client)| client);
    let work = log_out(app.clone(), client, caller, sent.map(|Body(sent)| sent));
    to_its_end(&app, work).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn log_out(
    app: App,
    client: Option<ClientAddr>,
    caller: Caller,
    sent: Option<Refresh>,
) -> Result<(), Error> {
    let mut families: Vec<String> = caller.family.iter().map(|family| family.to_string()).collect();
    if let Some(sent) = sent {
        let other = app
            .refresh_tokens()?
            .family_of(&caller.user, &sent.refresh_token)
            .await?;
        families.extend(other);
    }
    // First where it stays: where that fails nothing is done, and can be done again.
    for family in &families {
        app.refresh_tokens()?.end(&caller.user, family).await?;
    }
    let mut revoked: Vec<Revoked<'_>> = families.iter().map(|family| Revoked::Family(family)).collect();
    revoked.push(Revoked::Token(&caller.jti));
    app.revocations()?
        .revoke(&revoked, caller.expires_at_s.max(now_s() + app.tokens()?.ttl_s()))
        .await?;
    app.record(caller.did("auth.logout", None, client));
    Ok(())
}

/// Who the caller is
#[utoipa::path(get, path = "/auth/me", tag = "accounts",
    responses((status = 200, description = "The identity that the token or key proved", body = Me)))]
async fn me(caller: Caller) -> Json<Me> {
    Json(Me {
        username: caller.user.to_string(),
        role: caller.role,
        tenant: caller.tenant.to_string(),
        expires_in: (caller.expires_at_s != u64::MAX).then(|| caller.remaining_s()),
    })
}

/// Changes the caller's password
///
/// Ends all logins of the user, this one included. API keys stay.
#[utoipa::path(post, path = "/auth/password", tag = "accounts", request_body = Passwords,
    responses((status = 204, description = "Changed")))]
async fn change_password(
    State(app): State<App>,
    client: Client,
    caller: Caller,
    Body(sent): Body<Passwords>,
) -> Result<StatusCode, Error> {
    caller.must_have_logged_in()?;
    let client = client.map(|Extension(client)| client);
    let (accounts, attempts) = (app.accounts()?, app.attempts()?);
    if let Some(wait_s) = attempts
        .count(&caller.user, client.map(|client| client.0))
        .await?
    {
        return Err(Error::Throttled(wait_s));
    }
    let stored = accounts.find(&caller.user).await?.map(|user| user.password_hash);
    if sent.password.len() > MAX_PASSWORD_BYTES || !hashing::verify(&app, stored, sent.password).await? {
        return Err(Error::BadCredentials);
    }
    attempts.forget(&caller.user).await?;
    let change = Change {
        password_hash: Some(hashing::hash(&app, "new_password", sent.new_password).await?),
        ..Change::default()
    };
    let entry = caller.did("user.password", Some(&caller.user), client);
    change_account(&app, caller.user.to_string(), None, change, entry).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes an account and ends the logins that are wrong after it: refresh tokens, and the access tokens that came
/// with them. Where the caller goes away it is done to its end all the same; `None` where there is no such account.
pub(super) async fn change_account(
    app: &App,
    username: String,
    tenant: Option<String>,
    change: Change,
    entry: Entry,
) -> Result<Option<Account>, Error> {
    let (own, token_ttl) = (app.clone(), Duration::from_secs(app.tokens()?.ttl_s()));
    let work = async move {
        let app = own;
        let changing = app
            .accounts()?
            .change(&username, tenant.as_deref(), &change, token_ttl)
            .await?;
        let Some(changing) = changing else {
            return Ok(None);
        };
        // Told before the change is kept: whoever dies in between has ended logins too early, and none too late; and
        // the same call can be made again.
        revoke(&app, &changing.ended).await?;
        let account = changing.keep().await?;
        app.api_keys()?.forget_user(&username);
        app.record(entry);
        Ok(Some(account))
    };
    to_its_end(app, work).await
}

/// For as long as a token of ours may live.
async fn revoke(app: &App, families: &[String]) -> Result<(), Error> {
    let families: Vec<Revoked<'_>> = families.iter().map(|family| Revoked::Family(family)).collect();
    let until_s = now_s() + app.tokens()?.ttl_s();
    Ok(app.revocations()?.revoke(&families, until_s).await?)
}
