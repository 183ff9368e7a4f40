//! Stores that go and come back, without a restart of the gateway.

use serde_json::json;

use super::{PASSWORD, Stack, upstream};

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_tokens_are_good_and_logins_are_not() {
    let stack = Stack::start(&upstream::echo().await).await;
    let token = stack.token().await;
    stack.postgres.stop().await;
    stack.says("degraded").await;
    assert_eq!(stack.service.get("/ready").await.status, 200);
    assert_eq!(stack.get("/workflows", &token).await.0, 200);
    let login = stack
        .service
        .post("/auth/login", &json!({ "username": "ada", "password": PASSWORD }))
        .await;
    assert_eq!(
        (login.status, login.body["code"].as_str()),
        (503, Some("USER_STORE_UNAVAILABLE"))
    );
    stack.postgres.resume().await;
    stack.says("ready").await;
    stack.token().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_nothing_protected_passes() {
    let stack = Stack::start(&upstream::echo().await).await;
    let token = stack.token().await;
    stack.redis.stop().await;
    stack.says("not-ready").await;
    assert_eq!(stack.service.get("/ready").await.status, 503);
    assert_eq!(stack.service.get("/health").await.status, 200);
    let (status, body) = stack.get("/workflows", &token).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (503, Some("SESSION_STORE_UNAVAILABLE"))
    );
    stack.redis.resume().await;
    stack.says("ready").await;
    assert_eq!(stack.get("/workflows", &token).await.0, 200);
}
