//! Who calls: an API key, or a bearer token that is good and not revoked (RFC 6750 section 2.1), as a type that only
//! proof makes.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, header, request::Parts},
};

use super::users;
use crate::{
    domain::{
        apikey,
        client::ClientAddr,
        roles::Role,
        secret,
        token::{Claims, TokenFault, now_s},
    },
    error::Error,
    state::App,
    store::Entry,
};

pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// How often the credential of a stream is looked at again.
const CHECK: Duration = Duration::from_secs(5);

/// What proved an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    /// An access token.
    Token,
    /// A key, by its hash.
    ApiKey([u8; 32]),
}

/// The edge has asked for the key of a request, and it is none; a request's extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BadKey;

/// A proven identity. Asking for it protects a route: 401 where there is none. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Name of the user.
    pub(crate) user: Arc<str>,
    /// What the user may do.
    pub(crate) role: Role,
    /// The tenant whose data the user sees.
    pub(crate) tenant: Arc<str>,
    /// The token's own name, by which it is revoked; or the key's id.
    pub(crate) jti: Arc<str>,
    /// The login that the token came from; none where another issuer made it, or where it is a key.
    pub(crate) family: Option<Arc<str>>,
    /// Seconds since 1970, `u64::MAX` where a key never expires; from then on the identity is proven no more.
    pub(crate) expires_at_s: u64,
    /// What proved it.
    pub(crate) via: Credential,
}

impl Caller {
    /// # Errors
    /// 403 where the caller's role is lower; the answer does not say which would do.
    pub(crate) fn must_be(&self, role: Role) -> Result<(), Error> {
        if self.role >= role {
            return Ok(());
        }
        Err(Error::Forbidden)
    }

    /// For what takes something away from all tenants.
    ///
    /// # Errors
    /// 403 as of [`Caller::must_be`], and in any tenant but the operators' own.
    pub(crate) fn must_be_of_the_operators(&self, role: Role) -> Result<(), Error> {
        self.must_be(role)?;
        match users::scope(self) {
            None => Ok(()),
            Some(_) => Err(Error::Forbidden),
        }
    }

    /// # Errors
    /// 403 where it is a key that calls: what is about logins and keys needs a token.
    pub(crate) fn must_have_logged_in(&self) -> Result<(), Error> {
        match self.via {
            Credential::Token => Ok(()),
            Credential::ApiKey(_) => Err(Error::Forbidden),
        }
    }

    /// An entry for the audit log: that the caller did something, and it went well.
    pub(crate) fn did(&self, action: &str, target: Option<&str>, client: Option<ClientAddr>) -> Entry {
        Entry {
            user: Some(self.user.to_string()),
            tenant: Some(self.tenant.to_string()),
            action: action.to_owned(),
            target: target.map(str::to_owned),
            outcome: "ok".to_owned(),
            client: client.map(|client| client.0),
        }
    }

    /// The identity as services behind the gateway receive it, for `Upstream::call_as`.
    pub(crate) fn identity(&self) -> kit::Identity {
        kit::Identity {
            user: Some(self.user.to_string()),
            tenant: Some(self.tenant.to_string()),
            role: Some(self.role.as_str().to_owned()),
        }
    }

    /// Seconds until the proof ends; 0 when it has.
    pub(crate) fn remaining_s(&self) -> u64 {
        self.expires_at_s.saturating_sub(now_s())
    }

    /// For connections that outlive a request: whether the proof still holds, for the very same rights. A token's end
    /// is known here; a key is asked for again, and then known for some seconds.
    ///
    /// # Errors
    /// 401 where it does not; 503 where nobody can tell.
    pub(crate) async fn still_good(&self, app: &App) -> Result<(), Error> {
        let Credential::ApiKey(hash) = self.via else {
            return self.unrevoked(app);
        };
        let owner = app.api_keys()?.owner_of(&self.jti, hash).await?;
        owner
            .filter(|owner| owner.role == self.role && owner.tenant == self.tenant)
            .map(drop)
            .ok_or(Error::InvalidApiKey)
    }

    /// Of a token: whether it has neither expired nor been revoked.
    fn unrevoked(&self, app: &App) -> Result<(), Error> {
        if self.remaining_s() == 0 {
            return Err(Error::TokenExpired);
        }
        // Fails closed: where nobody can say whether the token is revoked, it is not accepted.
        match app.revocations()?.is_revoked(&self.jti, self.family.as_deref())? {
            true => Err(Error::InvalidToken),
            false => Ok(()),
        }
    }

    fn of(claims: &Claims) -> Self {
        Self {
            user: claims.sub.as_str().into(),
            role: claims.role,
            tenant: claims.tenant.as_str().into(),
            jti: claims.jti.as_str().into(),
            family: claims.fam.as_deref().map(Into::into),
            expires_at_s: claims.exp,
            via: Credential::Token,
        }
    }
}

/// Proves who calls by what the headers hold: `X-API-Key` before `Authorization: Bearer`; or by `extra`, a token from
/// elsewhere (a WebSocket's subprotocol or query), which is looked at last. A key or token that is not good is refused,
/// whatever else is there.
///
/// # Errors
/// 401 with the codes of the sheet's section 1.2; 503 where it cannot be decided.
pub(crate) async fn authenticate(
    app: &App,
    headers: &HeaderMap,
    extra: Option<&str>,
) -> Result<Caller, Error> {
    if let Some(key) = headers.get(&API_KEY) {
        return by_key(app, key.to_str().map_err(|_| Error::InvalidApiKey)?).await;
    }
    let token = bearer(headers).or(extra).ok_or(Error::MissingToken)?;
    let checked = app.tokens()?.check(token).await;
    let claims = checked.map_err(|fault| match fault {
        TokenFault::Expired => Error::TokenExpired,
        TokenFault::UnknownKey | TokenFault::Invalid => Error::InvalidToken,
    })?;
    let caller = Caller::of(&claims);
    caller.unrevoked(app)?;
    Ok(caller)
}

async fn by_key(app: &App, key: &str) -> Result<Caller, Error> {
    let id = apikey::id(key).ok_or(Error::InvalidApiKey)?;
    let hash = secret::hash(key);
    let owner = app.api_keys()?.owner_of(id, hash).await?;
    let owner = owner.ok_or(Error::InvalidApiKey)?;
    Ok(Caller {
        user: owner.user.clone(),
        role: owner.role,
        tenant: owner.tenant.clone(),
        jti: owner.id.clone(),
        family: None,
        expires_at_s: owner.expires_at_s,
        via: Credential::ApiKey(hash),
    })
}

/// Ends when the caller's proof does.
pub(crate) async fn unproven(app: App, caller: Caller) {
    while caller.still_good(&app).await.is_ok() {
        let left = Duration::from_secs(caller.remaining_s());
        tokio::time::sleep(CHECK.min(left)).await;
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        proven(app, parts).await
    }
}

/// What a layer has found out already, which leaves it among the request's extensions; else as [`authenticate`].
pub(super) async fn proven(app: &App, parts: &Parts) -> Result<Caller, Error> {
    if let Some(caller) = parts.extensions.get::<Caller>() {
        return Ok(caller.clone());
    }
    if parts.extensions.get::<BadKey>().is_some() {
        return Err(Error::InvalidApiKey);
    }
    authenticate(app, &parts.headers, None).await
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}
