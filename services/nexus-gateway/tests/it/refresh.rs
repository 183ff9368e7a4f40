//! Going on without a password: each refresh token once, and the end of a login whose token is used twice.

use serde_json::{Value, json};
use testkit::Service;

use super::{NOWHERE, PASSWORD, Stack, call, login, me};

async fn refresh(service: &Service, tokens: &Value) -> (u16, Value) {
    let sent = json!({ "refresh_token": tokens["refresh_token"] });
    call(service, "POST", "/auth/refresh", "", Some(sent)).await
}

fn access(tokens: &Value) -> &str {
    tokens["access_token"].as_str().expect("a token")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_good_once_and_twice_ends_the_login() {
    let stack = Stack::start(&format!("http://{NOWHERE}")).await;
    let (one, two) = (&stack.service, stack.replica().await);
    let first = login(one, "ada", PASSWORD).await;
    let other = login(one, "ada", PASSWORD).await;
    let (status, second) = refresh(&two, &first).await;
    assert_eq!((status, &second["token_type"]), (200, &json!("Bearer")));
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    assert_eq!(me(one, access(&first)).await.0, 200);
    assert_eq!(me(one, access(&second)).await.0, 200);

    // Whoever has the first one now is a thief, or was robbed.
    let (status, refused) = refresh(one, &first).await;
    assert_eq!((status, &refused["code"]), (401, &json!("invalid_refresh_token")));
    assert_eq!(refresh(&two, &second).await.0, 401, "the next one is dead, too");
    for tokens in [&first, &second] {
        assert_eq!(me(one, access(tokens)).await, (401, "invalid_token".to_owned()));
        testkit::wait_for("the other replica to hear of it", testkit::PATIENCE, async || {
            (me(&two, access(tokens)).await.0 == 401).then_some(())
        })
        .await;
    }
    assert_eq!(
        me(&two, access(&other)).await.0,
        200,
        "another login of the same user lives on"
    );
    assert_eq!(refresh(&two, &other).await.0, 200);
    assert_eq!(refresh(&two, &json!({ "refresh_token": "hr_x" })).await.0, 401);
    let (status, body) = call(one, "POST", "/auth/refresh", "", Some(json!({}))).await;
    assert_eq!((status, &body["code"]), (422, &json!("INVALID_BODY")));

    // Of many at once, on two replicas, exactly one gets through; and then nobody goes on.
    let raced = login(one, "ada", PASSWORD).await;
    let tries = (0..10).map(|index| refresh(if index % 2 == 0 { one } else { &two }, &raced));
    let answers = futures_util::future::join_all(tries).await;
    let through: Vec<&Value> = answers
        .iter()
        .filter(|(status, _)| *status == 200)
        .map(|(_, body)| body)
        .collect();
    assert_eq!(through.len(), 1, "{answers:?}");
    assert_eq!(refresh(one, through[0]).await.0, 401);
    assert_eq!(me(one, access(through[0])).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_ends_the_login_and_a_new_password_all_of_them() {
    let stack = Stack::start(&format!("http://{NOWHERE}")).await;
    let service = &stack.service;
    let (first, second, third) = (
        login(service, "ada", PASSWORD).await,
        login(service, "ada", PASSWORD).await,
        login(service, "ada", PASSWORD).await,
    );
    let (status, next) = refresh(service, &first).await;
    assert_eq!(status, 200);
    assert_eq!(
        call(service, "POST", "/auth/logout", access(&next), None).await.0,
        204
    );
    assert_eq!(
        me(service, access(&first)).await.0,
        401,
        "the login's earlier token"
    );
    assert_eq!(refresh(service, &next).await.0, 401);
    // Another login, by its refresh token.
    let sent = json!({ "refresh_token": third["refresh_token"] });
    assert_eq!(
        call(service, "POST", "/auth/logout", access(&second), Some(sent))
            .await
            .0,
        204
    );
    assert_eq!(me(service, access(&third)).await.0, 401);
    assert_eq!(refresh(service, &third).await.0, 401);

    let (one, two) = (
        login(service, "ada", PASSWORD).await,
        login(service, "ada", PASSWORD).await,
    );
    let change = |old: &str, new: &str| Some(json!({ "password": old, "new_password": new }));
    let (status, body) = call(
        service,
        "POST",
        "/auth/password",
        access(&one),
        change("wrong", "another good one"),
    )
    .await;
    assert_eq!((status, &body["code"]), (401, &json!("invalid_credentials")));
    let (status, body) = call(
        service,
        "POST",
        "/auth/password",
        access(&one),
        change(PASSWORD, "short"),
    )
    .await;
    assert_eq!(
        (status, &body["code"], &body["field"]),
        (422, &json!("INVALID_FIELD"), &json!("new_password"))
    );
    assert_eq!(
        call(
            service,
            "POST",
            "/auth/password",
            access(&one),
            change(PASSWORD, "another good one")
        )
        .await
        .0,
        204
    );
    for tokens in [&one, &two] {
        assert_eq!(me(service, access(tokens)).await.0, 401);
        assert_eq!(refresh(service, tokens).await.0, 401);
    }
    let old = service
        .post("/auth/login", &json!({ "username": "ada", "password": PASSWORD }))
        .await;
    assert_eq!(old.status, 401);
    login(service, "ada", "another good one").await;
}
