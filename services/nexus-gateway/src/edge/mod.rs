//! What every call passes first: CORS, the client's address, who calls, how often, whether it was made before; and
//! what every answer gets last: the headers that tell browsers what not to do.

mod audit;
mod cors;
mod headers;
mod idempotency;
mod limit;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use kit::Problem;

pub(crate) use self::limit::Limiter;
use self::limit::Who;
use crate::{
    config::Edge,
    domain::{client::ClientAddr, limits::Verdict},
    error::Error,
    routes::{
        caller::{self, API_KEY, BadKey, Caller},
        sessions,
    },
    state::App,
};

/// How long the edge waits for what a store knows of a caller; a route that needs it asks again.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// The client came by TLS, as a trusted proxy says; a request's extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secure;

/// The edge; cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    settings: Edge,
    app: App,
}

impl Gate {
    pub(crate) fn new(settings: Edge, app: App) -> Self {
        Self(Arc::new(Inner { settings, app }))
    }
}

/// The layer around all routes.
pub(crate) async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let gate = gate.0;
    let origin = cors::allowed(&gate.settings.origins, request.headers());
    let mut response = if headers::bytes(request.headers()) > headers::MOST_BYTES {
        headers::too_large()
    } else if cors::is_preflight(&request) {
        cors::preflight(origin.is_some())
    } else {
        gate.find_client(&mut request);
        gate.guarded(request, next).await
    };
    cors::mark(response.headers_mut(), origin);
    headers::secure(response.headers_mut());
    response
}

impl Inner {
    /// Notes the client's address; what untrusted peers say of themselves is dropped here.
    fn find_client(&self, request: &mut Request) {
        let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else {
            return;
        };
        let peer = peer.ip().to_canonical();
        let trusted = &self.settings.trusted_proxies;
        let said = request.headers().get_all("x-forwarded-for").into_iter();
        let said = said.map(|value| value.to_str().unwrap_or_default());
        let client = trusted.client(peer, said);
        if trusted.trusts(peer) {
            trusted_words(request);
        }
        request.extensions_mut().insert(ClientAddr(client));
    }

    async fn guarded(&self, mut request: Request, next: Next) -> Response {
        if is_exempt(request.uri().path()) {
            return next.run(request).await;
        }
        let client = request.extensions().get::<ClientAddr>();
        let address = client.map(|client| Who::address(client.0));
        if let Some((limiter, wait)) = self.guesses(request.headers(), address.as_ref()) {
            return limiter.refused(wait, false);
        }
        let caller = self.caller(&mut request).await;
        let who = match &caller {
            Some(caller) => Some(Who::user(caller)),
            None => address,
        };
        // Without a setting nobody counts: the service is not ready anyway, and each route says what it misses.
        let mut counted = None;
        if let (Some(limiter), Some(who)) = (self.app.limiter(), who) {
            match limiter.check(&who).await {
                Err(problem) => return problem.into_response(),
                Ok(Some(Verdict::Refused(wait))) => return limiter.refused(wait, caller.is_some()),
                Ok(verdict) => counted = verdict.map(|verdict| (limiter, verdict)),
            }
        }
        let audited = audit::Call::begin(&self.app, &request, caller.as_ref());
        let mut response = match (caller, idempotency::key(&request)) {
            (Some(caller), Some(key)) => {
                let once = idempotency::Once {
                    app: &self.app,
                    settings: &self.settings,
                    caller,
                };
                once.run(key, request, next)
                    .await
                    .unwrap_or_else(Problem::into_response)
            }
            _ => sessions::follow(&self.app, request, next).await,
        };
        if let Some(call) = audited {
            call.ended(response.status());
        }
        if let Some((limiter, verdict)) = counted {
            limiter.tell(response.headers_mut(), verdict);
        }
        response
    }

    /// A key that is not known here costs a question to PostgreSQL, and one that is none is counted for the address:
    /// from an address that has no calls left, none is asked for. How long that lasts.
    fn guesses(&self, headers: &HeaderMap, address: Option<&Who>) -> Option<(&Limiter, Duration)> {
        let key = headers.get(&API_KEY)?;
        let keys = self.app.api_keys().ok()?;
        if key.to_str().is_ok_and(|key| keys.is_remembered(key)) {
            return None;
        }
        let limiter = self.app.limiter()?;
        Some((limiter, limiter.spent(address?)?))
    }

    /// Who calls, left with the request. What is wrong with the credentials is told by the route, if it asks for a
    /// caller at all.
    async fn caller(&self, request: &mut Request) -> Option<Caller> {
        if !has_credentials(request.headers()) {
            return None;
        }
        let asked = caller::authenticate(&self.app, request.headers(), None);
        match tokio::time::timeout(STORE_PATIENCE, asked).await.ok()? {
            Ok(caller) => {
                request.extensions_mut().insert(caller.clone());
                Some(caller)
            }
            Err(error) => {
                if matches!(error, Error::InvalidApiKey) {
                    request.extensions_mut().insert(BadKey);
                }
                None
            }
        }
    }
}

/// Takes one of a caller's permits, for a call that is no request of its own.
///
/// # Errors
/// 429 `RATE_LIMITED`; 503 `SESSION_STORE_UNAVAILABLE`.
pub(crate) async fn permit(app: &App, caller: &Caller) -> Result<(), Problem> {
    let Some(limiter) = app.limiter() else {
        return Ok(());
    };
    match limiter.check(&Who::user(caller)).await? {
        Some(Verdict::Refused(wait)) => Err(limit::problem(wait, true)),
        _ => Ok(()),
    }
}

/// Takes over what a trusted proxy says of the client's own connection.
fn trusted_words(request: &mut Request) {
    let said = |name: &str| request.headers().get(name).cloned();
    let https =
        said("x-forwarded-proto").is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    let host = said("x-forwarded-host");
    if https {
        request.extensions_mut().insert(Secure);
    }
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// Probes, what tells about health, and the documentation are never limited.
fn is_exempt(path: &str) -> bool {
    kit::is_probe(path) || matches!(path, "/version" | "/docs" | "/openapi.json" | "/health/services")
}

fn has_credentials(headers: &HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION) || headers.contains_key(API_KEY)
}
