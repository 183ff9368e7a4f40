//! The gateway as a process: with its stores, without them, and with stand-ins for the services behind it.

mod accounts;
mod cli;
mod edge;
mod events;
mod idempotency;
mod issuer;
mod keys;
mod limits;
mod login;
mod openapi;
mod passing;
mod proxy;
mod raw;
mod refresh;
mod replicas;
mod revocation;
mod rig;
mod services;
mod sessions;
mod settings;
mod socket;
mod upstream;
mod workflows;
mod ws;

use nexus_gateway::domain;
use serde_json::json;
use testkit::{Postgres, Redis, Service, Starting};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const PASSWORD: &str = "correct horse battery";
/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:9";

/// All settings, with stores and services that do not answer.
fn gateway() -> Starting {
    Service::new(env!("CARGO_BIN_EXE_nexus-gateway"))
        .set("JWT_SECRET", SECRET)
        .set("ADMIN_USERNAME", "ada")
        .set("ADMIN_PASSWORD", PASSWORD)
        // Tests poll.
        .set("RATE_LIMIT_RPM", "1000000")
}

/// A gateway with its stores, in front of one service that stands for all four.
struct Stack {
    postgres: Postgres,
    redis: Redis,
    service: Service,
}

impl Stack {
    async fn start(upstream: &str) -> Self {
        let (postgres, redis) = (Postgres::start().await, Redis::start().await);
        let service = behind(gateway(), upstream)
            .set("DATABASE_URL", postgres.url())
            .set("REDIS_URL", redis.url())
            .start()
            .await;
        let stack = Self {
            postgres,
            redis,
            service,
        };
        stack.says("ready").await;
        stack
    }

    /// Waits until `/ready` says this word.
    async fn says(&self, word: &str) {
        says(&self.service, word).await;
    }

    async fn token(&self) -> String {
        log_in(&self.service).await
    }

    /// Another replica over the same stores, ready.
    async fn replica(&self) -> Service {
        let service = behind(gateway(), &format!("http://{NOWHERE}"))
            .set("DATABASE_URL", self.postgres.url())
            .set("REDIS_URL", self.redis.url())
            .start()
            .await;
        says(&service, "ready").await;
        service
    }

    /// Status and code of a `GET` with a token.
    async fn get(&self, path: &str, token: &str) -> (u16, serde_json::Value) {
        let answer = self
            .service
            .request("GET", path)
            .bearer_auth(token)
            .send()
            .await
            .expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }
}

/// Waits until `/ready` says this word: `degraded` is 200, too.
async fn says(service: &Service, word: &str) {
    testkit::wait_for(word, testkit::PATIENCE, async || {
        (service.get("/ready").await.body["status"] == word).then_some(())
    })
    .await;
}

/// A token of the administrator.
async fn log_in(service: &Service) -> String {
    let body = login(service, "ada", PASSWORD).await;
    body["access_token"].as_str().expect("a token").to_owned()
}

/// Logs in; the answer's body.
async fn login(service: &Service, username: &str, password: &str) -> serde_json::Value {
    let sent = json!({ "username": username, "password": password });
    let answer = service.post("/auth/login", &sent).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.body
}

/// Status and body of a call with a token, or without one where it is empty.
async fn call(
    service: &Service,
    method: &str,
    path: &str,
    token: &str,
    body: Option<serde_json::Value>,
) -> (u16, serde_json::Value) {
    let mut request = service.request(method, path);
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

/// Status and code of `GET /auth/me` with a token.
async fn me(service: &Service, token: &str) -> (u16, String) {
    let (status, body) = call(service, "GET", "/auth/me", token, None).await;
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

fn behind(starting: Starting, upstream: &str) -> Starting {
    ["DATAFLOW_URL", "WORKFLOW_URL", "CLASSIFICATION_URL", "MCP_URL"]
        .into_iter()
        .fold(starting, |starting, name| starting.set(name, upstream))
}
