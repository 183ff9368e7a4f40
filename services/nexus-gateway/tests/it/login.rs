//! Logging in and out, and tokens that are refused.

use serde_json::json;
use testkit::{Postgres, Redis};

use super::{NOWHERE, PASSWORD, Stack, behind, gateway};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_logs_in_is_known_and_logs_out() {
    let stack = Stack::start(&format!("http://{NOWHERE}")).await;
    let login = stack.service.request("POST", "/auth/login");
    let answer = login
        .json(&json!({ "username": "ada", "password": PASSWORD }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(
        (&body["token_type"], &body["expires_in"]),
        (&json!("Bearer"), &json!(3600))
    );
    let token = body["access_token"].as_str().unwrap();

    let (status, me) = stack.get("/auth/me", token).await;
    assert_eq!(
        (status, &me["username"], &me["role"]),
        (200, &json!("ada"), &json!("admin"))
    );

    let out = stack
        .service
        .request("POST", "/auth/logout")
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    assert_eq!(out.status(), 204);
    let (status, refused) = stack.get("/auth/me", token).await;
    assert_eq!((status, &refused["code"]), (401, &json!("invalid_token")));
    // Another token of the same user is still good.
    assert_eq!(stack.get("/auth/me", &stack.token().await).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_refused_alike_and_then_throttled() {
    let stack = Stack::start(&format!("http://{NOWHERE}")).await;
    let login = async |username: &str, password: &str| {
        stack
            .service
            .post(
                "/auth/login",
                &json!({ "username": username, "password": password }),
            )
            .await
    };
    let unknown = login("nobody", PASSWORD).await;
    let wrong = login("ada", "wrong password").await;
    for answer in [&unknown, &wrong] {
        assert_eq!(
            (answer.status, answer.body["code"].as_str()),
            (401, Some("invalid_credentials"))
        );
    }
    assert_eq!(unknown.body["error"], wrong.body["error"]);
    for _ in 0..9 {
        login("ada", "wrong password").await;
    }
    let throttled = login("ada", PASSWORD).await;
    assert_eq!(
        (throttled.status, throttled.body["code"].as_str()),
        (429, Some("TOO_MANY_ATTEMPTS"))
    );
    assert_eq!(login("nobody", "x").await.status, 401, "others are not throttled");
    // A client that tries many names has a hundred attempts.
    let client = redis::Client::open(stack.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut set = redis::cmd("SET");
    set.arg("gateway:attempts-from:127.0.0.1").arg(99).arg("KEEPTTL");
    let () = set.query_async(&mut connection).await.unwrap();
    assert_eq!(login("somebody", "x").await.status, 401);
    let throttled = login("another", "x").await;
    assert_eq!(
        (throttled.status, throttled.body["code"].as_str()),
        (429, Some("TOO_MANY_ATTEMPTS"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_absent_expired_or_forged_are_told_apart() {
    let (postgres, redis) = (Postgres::start().await, Redis::start().await);
    let service = behind(gateway(), &format!("http://{NOWHERE}"))
        .set("DATABASE_URL", postgres.url())
        .set("REDIS_URL", redis.url())
        .set("TOKEN_TTL", "1")
        .start()
        .await;
    let stack = Stack {
        postgres,
        redis,
        service,
    };
    stack.says("ready").await;
    let bare = stack.service.request("GET", "/workflows").send().await.unwrap();
    assert_eq!(bare.headers()["www-authenticate"], "Bearer");
    let body: serde_json::Value = bare.json().await.unwrap();
    assert_eq!(body["code"], "missing_token");

    let token = stack.token().await;
    testkit::wait_for("the token to expire", testkit::PATIENCE, async || {
        (stack.get("/auth/me", &token).await.1["code"] == "token_expired").then_some(())
    })
    .await;
}
