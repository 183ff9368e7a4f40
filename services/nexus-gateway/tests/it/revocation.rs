//! Revoked tokens on two replicas, and stores that are lost.

use serde_json::json;

use super::{NOWHERE, PASSWORD, Stack, call, login, me};

fn text(value: &serde_json::Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_revokes_the_other_refuses() {
    let stack = Stack::start(&format!("http://{NOWHERE}")).await;
    let two = stack.replica().await;
    for _ in 0..2 {
        let token = text(&login(&stack.service, "ada", PASSWORD).await["access_token"]);
        assert_eq!(me(&two, &token).await.0, 200);
        assert_eq!(
            call(&stack.service, "POST", "/auth/logout", &token, None).await.0,
            204
        );
        assert_eq!(me(&stack.service, &token).await.0, 401, "here at once");
        testkit::wait_for("the other replica to hear of it", testkit::PATIENCE, async || {
            (me(&two, &token).await.0 == 401).then_some(())
        })
        .await;
    }

    // A replica that starts later reads what was told before.
    let token = text(&login(&stack.service, "ada", PASSWORD).await["access_token"]);
    assert_eq!(
        call(&stack.service, "POST", "/auth/logout", &token, None).await.0,
        204
    );
    let three = stack.replica().await;
    testkit::wait_for("the third to be ready", testkit::PATIENCE, async || {
        (me(&three, &token).await.0 == 401).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_nobody_is_believed_and_what_was_revoked_stays_revoked() {
    let stack = Stack::start(&format!("http://{NOWHERE}")).await;
    let service = &stack.service;
    let tokens = login(service, "ada", PASSWORD).await;
    let (token, revoked) = (
        text(&tokens["access_token"]),
        text(&login(service, "ada", PASSWORD).await["access_token"]),
    );
    let made = call(
        service,
        "POST",
        "/auth/keys",
        &token,
        Some(json!({ "name": "ci" })),
    )
    .await;
    assert_eq!(made.0, 201, "{:?}", made.1);
    assert_eq!(call(service, "POST", "/auth/logout", &revoked, None).await.0, 204);
    stack.redis.stop().await;
    testkit::wait_for("tokens to be refused", testkit::PATIENCE, async || {
        (me(service, &token).await == (503, "SESSION_STORE_UNAVAILABLE".to_owned())).then_some(())
    })
    .await;
    assert_eq!(me(service, &revoked).await.0, 503);
    stack.says("not-ready").await;
    assert_eq!(service.get("/ready").await.status, 503);
    assert_eq!(service.get("/health").await.status, 200);
    let sent = json!({ "username": "ada", "password": PASSWORD });
    assert_eq!(service.post("/auth/login", &sent).await.status, 503);
    // The store comes back, with or without its data: what was revoked is told again by who knows it.
    stack.redis.resume().await;
    testkit::wait_for("tokens to be believed", testkit::PATIENCE, async || {
        assert_ne!(me(service, &revoked).await.0, 200);
        (me(service, &token).await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(me(service, &revoked).await, (401, "invalid_token".to_owned()));
    let two = stack.replica().await;
    testkit::wait_for("a new replica to know it, too", testkit::PATIENCE, async || {
        (me(&two, &revoked).await.0 == 401).then_some(())
    })
    .await;
    assert_eq!(me(&two, &token).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_tokens_pass_and_what_needs_accounts_does_not() {
    let stack = Stack::start(&format!("http://{NOWHERE}")).await;
    let service = &stack.service;
    let tokens = login(service, "ada", PASSWORD).await;
    let token = text(&tokens["access_token"]);
    let made = call(
        service,
        "POST",
        "/auth/keys",
        &token,
        Some(json!({ "name": "ci" })),
    )
    .await
    .1;
    let with_key = async || {
        let asked = service
            .request("GET", "/auth/me")
            .header("x-api-key", text(&made["key"]));
        asked.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(with_key().await, 200);
    stack.postgres.stop().await;
    stack.says("degraded").await;
    assert_eq!(service.get("/ready").await.status, 200);
    assert_eq!(me(service, &token).await.0, 200);
    let refresh = json!({ "refresh_token": tokens["refresh_token"] });
    for (path, sent) in [
        ("/auth/login", json!({ "username": "ada", "password": PASSWORD })),
        ("/auth/refresh", refresh.clone()),
    ] {
        let (status, answer) = call(service, "POST", path, "", Some(sent)).await;
        assert_eq!(
            (status, &answer["code"]),
            (503, &json!("USER_STORE_UNAVAILABLE")),
            "{path}"
        );
    }
    let (status, answer) = call(service, "POST", "/auth/logout", &token, None).await;
    assert_eq!((status, &answer["code"]), (503, &json!("USER_STORE_UNAVAILABLE")));
    assert_eq!(me(service, &token).await.0, 200, "nothing was half done");
    testkit::wait_for("the key's memory to end", testkit::PATIENCE, async || {
        (with_key().await == 503).then_some(())
    })
    .await;
    stack.postgres.resume().await;
    stack.says("ready").await;
    assert_eq!(with_key().await, 200);
    assert_eq!(
        call(service, "POST", "/auth/refresh", "", Some(refresh)).await.0,
        200,
        "it was not used up"
    );
}

/// One command of Redis.
async fn told<T: redis::FromRedisValue>(stack: &Stack, command: &[&str]) -> T {
    let client = redis::Client::open(stack.redis.url()).expect("a client");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("it answers");
    let (name, arguments) = command.split_first().expect("a command");
    let asked = redis::cmd(name).arg(arguments).query_async(&mut connection).await;
    asked.expect("it answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_revocations_redis_refuses_is_not_made_and_they_are_told_later() {
    let stack = Stack::start(&format!("http://{NOWHERE}")).await;
    let (service, two) = (&stack.service, stack.replica().await);
    let ada = text(&login(service, "ada", PASSWORD).await["access_token"]);
    let bob = json!({ "username": "bob", "password": PASSWORD });
    assert_eq!(call(service, "POST", "/users", &ada, Some(bob)).await.0, 201);
    let bob = text(&login(service, "bob", PASSWORD).await["access_token"]);
    // Both replicas have leased their calls: no limit is asked for below.
    assert_eq!(me(&two, &ada).await.0, 200);
    assert_eq!(me(&two, &bob).await.0, 200);

    // Redis is there, and takes nothing more.
    let () = told(&stack, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let promote = Some(json!({ "role": "deployer" }));
    let (status, refused) = call(service, "PATCH", "/users/bob", &ada, promote.clone()).await;
    assert_eq!(
        (status, &refused["code"]),
        (503, &json!("SESSION_STORE_UNAVAILABLE"))
    );
    let users = call(service, "GET", "/users?after=ada", &ada, None).await.1;
    assert_eq!(users["users"][0]["role"], "user", "{users}");
    assert_eq!(me(service, &bob).await.0, 401, "here at once");
    assert_eq!(me(&two, &bob).await.0, 200);
    let () = told(&stack, &["CONFIG", "SET", "maxmemory", "0"]).await;
    testkit::wait_for("the other replica to be told", testkit::PATIENCE, async || {
        (me(&two, &bob).await.0 == 401).then_some(())
    })
    .await;
    assert_eq!(call(service, "PATCH", "/users/bob", &ada, promote).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_issuer_dated_for_ever_stops_nobody() {
    let stack = Stack::start(&format!("http://{NOWHERE}")).await;
    let token = text(&login(&stack.service, "ada", PASSWORD).await["access_token"]);
    let far = super::replicas::signed("eve", "acme", i64::MAX / 2);
    assert_eq!(
        call(&stack.service, "POST", "/auth/logout", &far, None).await.0,
        204
    );
    let score: f64 = told(
        &stack,
        &["ZSCORE", "gateway:revoked", "t:eve-acme-4611686018427387903"],
    )
    .await;
    assert!(score < 1e10, "{score}");
    // As a release before this one would have written it.
    let () = told(
        &stack,
        &["ZADD", "gateway:revoked", "9223372036854775807", "t:old"],
    )
    .await;
    let two = stack.replica().await;
    assert_eq!(me(&two, &token).await.0, 200);
    assert_eq!(me(&two, &far).await.0, 401);
}
