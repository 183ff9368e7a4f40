//! Two gateways over one Redis and no PostgreSQL: for what needs good tokens and no logins. The tokens are signed
//! here, with the secret that the gateways are given.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::{Answer, Redis, Service};

use super::{NOWHERE, SECRET, behind, gateway};

pub(crate) struct Replicas {
    pub(crate) redis: Redis,
    pub(crate) one: Service,
    pub(crate) other: Service,
}

impl Replicas {
    pub(crate) async fn start() -> Self {
        Self::with(&format!("http://{NOWHERE}"), &[]).await
    }

    /// In front of a service that stands for all four, with more settings.
    pub(crate) async fn with(upstream: &str, settings: &[(&str, &str)]) -> Self {
        let redis = Redis::start().await;
        let start = async || {
            let starting = behind(gateway(), upstream).set("REDIS_URL", redis.url());
            let starting = settings
                .iter()
                .fold(starting, |starting, (name, value)| starting.set(name, *value));
            let service = starting.start().await;
            testkit::wait_for("redis to be known", testkit::PATIENCE, async || {
                let seen = send(&service, "GET", "/sessions", &token("nobody"), None).await;
                (seen.status == 200).then_some(())
            })
            .await;
            service
        };
        let (one, other) = (start().await, start().await);
        Self { redis, one, other }
    }
}

/// A good token of a user of the tenant `acme`.
pub(crate) fn token(user: &str) -> String {
    signed(user, "acme", 3600)
}

pub(crate) fn signed(user: &str, tenant: &str, ttl_s: i64) -> String {
    nexus_gateway::domain::crypto::install();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a token")
        .as_secs();
    let now = i64::try_from(now).expect("a clock");
    let claims = json!({
        "sub": user, "role": "user", "tenant": tenant, "iss": "horme", "aud": "horme-api",
        "iat": now - 10, "nbf": now - 10, "exp": now + ttl_s, "jti": format!("{user}-{tenant}-{ttl_s}"),
    });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("a token")
}

pub(crate) async fn send(
    service: &Service,
    method: &str,
    path: &str,
    token: &str,
    body: Option<Value>,
) -> Answer {
    let mut request = service.request(method, path).bearer_auth(token);
    if let Some(body) = body {
        request = request.json(&body);
    }
    read(request).await
}

pub(crate) async fn read(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.expect("an answer");
    Answer {
        status: answer.status().as_u16(),
        body: answer.json().await.unwrap_or_default(),
    }
}
