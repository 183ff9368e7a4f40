//! The gateway as a process: with its stores, without them, and with stand-ins for the services behind it.

mod login;
mod proxy;
mod services;
mod settings;
mod stores;
mod upstream;

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
        testkit::wait_for(word, std::time::Duration::from_secs(20), async || {
            (self.service.get("/ready").await.body["status"] == word).then_some(())
        })
        .await;
    }

    async fn token(&self) -> String {
        let answer = self
            .service
            .post("/auth/login", &json!({ "username": "ada", "password": PASSWORD }))
            .await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.body["access_token"].as_str().expect("a token").to_owned()
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

fn behind(starting: Starting, upstream: &str) -> Starting {
    ["DATAFLOW_URL", "WORKFLOW_URL", "CLASSIFICATION_URL", "MCP_URL"]
        .into_iter()
        .fold(starting, |starting, name| starting.set(name, upstream))
}
