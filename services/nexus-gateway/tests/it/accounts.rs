//! Users, API keys, the audit log, and the first start.

use serde_json::{Value, json};
use testkit::{Postgres, Redis, Service};

use super::{NOWHERE, PASSWORD, Stack, behind, call, gateway, login, me, says};

async fn token(service: &Service, username: &str) -> String {
    let tokens = login(service, username, PASSWORD).await;
    tokens["access_token"].as_str().expect("a token").to_owned()
}

async fn with_key(service: &Service, method: &str, path: &str, key: &str) -> (u16, Value) {
    let request = service.request(method, path).header("x-api-key", key);
    let answer = request
        .json(&json!({ "name": "x" }))
        .send()
        .await
        .expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_manage_users_of_their_tenant() {
    let stack = Stack::start(&format!("http://{NOWHERE}")).await;
    let service = &stack.service;
    let ada = token(service, "ada").await;
    let (status, bob) = create(service, &ada, "bob", "user", "acme").await;
    assert_eq!(
        (status, &bob["tenant"], &bob["disabled"]),
        (201, &json!("acme"), &json!(false))
    );
    assert!(bob["password_hash"].is_null() && bob["password"].is_null());
    assert_eq!(
        create(service, &ada, "bob", "user", "acme").await.1["code"],
        "USER_EXISTS"
    );
    assert_eq!(create(service, &ada, "eve", "admin", "acme").await.0, 201);
    for (name, role, tenant) in [
        ("a b", "user", "acme"),
        ("x", "root", "acme"),
        ("x", "user", "a/b"),
    ] {
        assert_eq!(
            create(service, &ada, name, role, tenant).await.0,
            422,
            "{name} {role} {tenant}"
        );
    }
    let short = json!({ "username": "x", "password": "elevenchars" });
    assert_eq!(
        call(service, "POST", "/users", &ada, Some(short)).await.1["field"],
        "password"
    );
    let eve = token(service, "eve").await;
    tenants_are_kept_apart(service, &ada, &eve).await;
    users_may_not(service).await;
    let key_id = changes_end_logins(service, &ada, &eve).await;
    the_audit_log_tells(service, &ada, &eve, &key_id).await;
}

async fn create(service: &Service, token: &str, name: &str, role: &str, tenant: &str) -> (u16, Value) {
    let sent = json!({ "username": name, "password": PASSWORD, "role": role, "tenant": tenant });
    call(service, "POST", "/users", token, Some(sent)).await
}

/// An administrator of another tenant sees and changes that one alone.
async fn tenants_are_kept_apart(service: &Service, ada: &str, eve: &str) {
    assert_eq!(
        create(service, eve, "mallory", "admin", "default").await.1["code"],
        "FORBIDDEN"
    );
    let names = |body: &Value| -> Vec<String> {
        let users = body["users"].as_array().expect("a list");
        users
            .iter()
            .map(|user| user["username"].as_str().expect("a text").to_owned())
            .collect()
    };
    assert_eq!(
        names(&call(service, "GET", "/users", eve, None).await.1),
        ["bob", "eve"]
    );
    assert_eq!(
        names(
            &call(service, "GET", "/users?limit=2&after=ada", ada, None)
                .await
                .1
        ),
        ["bob", "eve"]
    );
    let disable = Some(json!({ "disabled": true }));
    assert_eq!(
        call(service, "PATCH", "/users/ada", eve, disable.clone()).await.0,
        404
    );
    assert_eq!(
        call(service, "PATCH", "/users/eve", eve, disable.clone()).await.0,
        422,
        "not oneself"
    );
    let (status, body) = call(service, "GET", "/users?limit=x", ada, None).await;
    assert_eq!((status, &body["code"]), (422, &json!("INVALID_QUERY")));
    // PostgreSQL knows no zero byte.
    for (path, expected) in [("/users?after=%00", 422), ("/audit?user=%00", 422)] {
        assert_eq!(call(service, "GET", path, ada, None).await.0, expected, "{path}");
    }
    for (method, path) in [("PATCH", "/users/%00"), ("DELETE", "/auth/keys/%00")] {
        assert_eq!(
            call(service, method, path, ada, disable.clone()).await.0,
            404,
            "{path}"
        );
    }
}

/// Users may not, and are not told what would do.
async fn users_may_not(service: &Service) {
    let user = token(service, "bob").await;
    for (method, path) in [("GET", "/users"), ("GET", "/audit"), ("PATCH", "/users/eve")] {
        let (status, body) = call(service, method, path, &user, Some(json!({}))).await;
        assert_eq!(
            (status, &body["error"]),
            (403, &json!("not allowed")),
            "{method} {path}"
        );
    }
    // What all models look like is a deployer's; rows are anybody's (here nobody answers for them).
    let model = json!({ "name": "M", "fields": { "a": "str" } });
    for path in [
        "/api/dataflow/models",
        "/api/dataflow/migrations/apply",
        "/api/dataflow/jobs",
    ] {
        let refused = call(service, "POST", path, &user, Some(model.clone())).await;
        assert_eq!(
            (refused.0, &refused.1["code"]),
            (403, &json!("FORBIDDEN")),
            "{path}"
        );
        assert_eq!(call(service, "GET", path, &user, None).await.0, 503, "{path}");
    }
    let row = call(
        service,
        "POST",
        "/api/dataflow/data/M",
        &user,
        Some(json!({ "a": "b" })),
    )
    .await;
    assert_eq!(row.0, 503);
}

/// A role that changes ends the logins with the former one; of a disabled user nothing passes. Answers a key's id.
async fn changes_end_logins(service: &Service, ada: &str, eve: &str) -> String {
    let disable = Some(json!({ "disabled": true }));
    let user = token(service, "bob").await;
    assert_eq!(
        call(
            service,
            "PATCH",
            "/users/bob",
            eve,
            Some(json!({ "role": "deployer" }))
        )
        .await
        .1["role"],
        "deployer"
    );
    assert_eq!(me(service, &user).await.0, 401);
    let user = login(service, "bob", PASSWORD).await;
    let access = user["access_token"].as_str().expect("a text");
    let key = call(
        service,
        "POST",
        "/auth/keys",
        access,
        Some(json!({ "name": "ci" })),
    )
    .await
    .1;
    let key = key["key"].as_str().expect("a text").to_owned();
    assert_eq!(
        with_key(service, "GET", "/auth/me", &key).await.1["role"],
        "deployer"
    );
    assert_eq!(call(service, "PATCH", "/users/bob", ada, disable).await.0, 200);
    assert_eq!(me(service, access).await.0, 401);
    assert_eq!(
        with_key(service, "GET", "/auth/me", &key).await.1["code"],
        "invalid_api_key"
    );
    let refresh = json!({ "refresh_token": user["refresh_token"] });
    assert_eq!(
        call(service, "POST", "/auth/refresh", "", Some(refresh)).await.0,
        401
    );
    let sent = json!({ "username": "bob", "password": PASSWORD });
    assert_eq!(
        service.post("/auth/login", &sent).await.body["code"],
        "invalid_credentials"
    );
    let again = Some(json!({ "disabled": false, "password": "a password of an admin" }));
    assert_eq!(call(service, "PATCH", "/users/bob", ada, again).await.0, 200);
    login(service, "bob", "a password of an admin").await;
    key.split('_').nth(1).unwrap_or_default().to_owned()
}

/// All of it is in the audit log, and nothing of it tells a password.
async fn the_audit_log_tells(service: &Service, ada: &str, eve: &str, key_id: &str) {
    let log = testkit::wait_for("the audit log", testkit::PATIENCE, async || {
        let log = call(service, "GET", "/audit?limit=1000", ada, None).await.1;
        let entries = log["entries"].as_array().expect("a list").clone();
        entries
            .iter()
            .any(|entry| entry["action"] == "auth.login" && entry["outcome"] == "refused")
            .then_some(entries)
    })
    .await;
    // What routes refuse is told by the edge.
    let refused = |action: &str, outcome: &str| {
        let mut log = log.iter();
        log.any(|entry| entry["action"] == action && entry["outcome"] == outcome)
    };
    assert!(
        refused("POST /users", "403") && refused("PATCH /users/{name}", "403"),
        "{log:?}"
    );
    assert!(refused("POST /auth/refresh", "401"), "{log:?}");
    assert!(!refused("POST /auth/login", "401"), "it tells of itself: {log:?}");
    let has = |user: &str, action: &str, target: Value| {
        log.iter()
            .any(|entry| entry["user"] == user && entry["action"] == action && entry["target"] == target)
    };
    assert!(
        has("ada", "user.create", json!("bob")) && has("eve", "user.change", json!("bob")),
        "{log:?}"
    );
    assert!(has("bob", "key.create", json!(key_id)), "{log:?}");
    assert!(log.iter().all(|entry| entry["request_id"].is_string()));
    assert!(!json!(log).to_string().contains(PASSWORD));
    let of_acme = call(service, "GET", "/audit", eve, None).await;
    assert!(
        of_acme.1["entries"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|entry| entry["tenant"] == "acme")
    );
    let logins = call(
        service,
        "GET",
        "/audit?user=bob&action=auth.login&limit=1",
        ada,
        None,
    )
    .await
    .1;
    assert_eq!(logins["entries"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_is_told_once_and_gone_when_removed() {
    let stack = Stack::start(&format!("http://{NOWHERE}")).await;
    let (service, two) = (&stack.service, stack.replica().await);
    let ada = token(service, "ada").await;
    let (status, made) = call(
        service,
        "POST",
        "/auth/keys",
        &ada,
        Some(json!({ "name": "ci", "expires_in": 3600 })),
    )
    .await;
    assert_eq!(status, 201, "{made:?}");
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert!(key.starts_with(&format!("hk_{id}_")), "{id}");
    for replica in [service, &two] {
        let (status, me) = with_key(replica, "GET", "/auth/me", key).await;
        assert_eq!((status, &me["username"]), (200, &json!("ada")));
        assert!(me["expires_in"].as_u64().unwrap() <= 3600);
    }
    let listed = call(service, "GET", "/auth/keys", &ada, None).await.1;
    assert!(!listed.to_string().contains(key), "{listed}");
    assert!(listed["keys"][0]["last_used_at"].is_string(), "{listed}");

    // A key wins over a token, and a bad one is not passed over for it.
    let both = service
        .request("GET", "/auth/me")
        .bearer_auth(&ada)
        .header("x-api-key", format!("{key}0"));
    let refused: Value = both.send().await.unwrap().json().await.unwrap();
    assert_eq!(refused["code"], "invalid_api_key");
    let changed = if key.ends_with('0') { "1" } else { "0" };
    for wrong in ["", "hk_x", &format!("{}{changed}", &key[..key.len() - 1])] {
        assert_eq!(
            with_key(service, "GET", "/auth/me", wrong).await.1["code"],
            "invalid_api_key",
            "{wrong}"
        );
    }
    // What is about logins and keys needs a login.
    for (method, path) in [("POST", "/auth/keys"), ("DELETE", "/auth/keys/x")] {
        assert_eq!(
            with_key(service, method, path, key).await.1["code"],
            "FORBIDDEN",
            "{method} {path}"
        );
    }
    let logout = service.request("POST", "/auth/logout").header("x-api-key", key);
    assert_eq!(logout.send().await.unwrap().status(), 403);
    for wrong in [
        json!({ "name": "" }),
        json!({ "name": "a\nb" }),
        json!({ "name": "x", "expires_in": 0 }),
    ] {
        assert_eq!(
            call(service, "POST", "/auth/keys", &ada, Some(wrong)).await.0,
            422
        );
    }
    let short = call(
        service,
        "POST",
        "/auth/keys",
        &ada,
        Some(json!({ "name": "short", "expires_in": 1 })),
    )
    .await
    .1;
    let short = short["key"].as_str().unwrap();
    testkit::wait_for("the key to expire", testkit::PATIENCE, async || {
        (with_key(service, "GET", "/auth/me", short).await.0 == 401).then_some(())
    })
    .await;

    let path = format!("/auth/keys/{id}");
    assert_eq!(call(service, "DELETE", &path, &ada, None).await.0, 204);
    assert_eq!(
        with_key(service, "GET", "/auth/me", key).await.0,
        401,
        "here at once"
    );
    testkit::wait_for("the other replica to ask again", testkit::PATIENCE, async || {
        (with_key(&two, "GET", "/auth/me", key).await.0 == 401).then_some(())
    })
    .await;
    assert_eq!(call(service, "DELETE", &path, &ada, None).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_together_prepare_the_database_once() {
    let (postgres, redis) = (Postgres::start().await, Redis::start().await);
    let replica = || {
        behind(gateway(), &format!("http://{NOWHERE}"))
            .set("DATABASE_URL", postgres.url())
            .set("REDIS_URL", redis.url())
            .start()
    };
    let replicas = futures_util::future::join_all((0..4).map(|_| replica())).await;
    for replica in &replicas {
        says(replica, "ready").await;
        token(replica, "ada").await;
    }
    let ada = token(&replicas[0], "ada").await;
    let users = call(&replicas[1], "GET", "/users", &ada, None).await.1;
    assert_eq!(users["users"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_loses_nothing_in_an_orderly_end_and_forgets_what_is_old() {
    let stack = Stack::start(&format!("http://{NOWHERE}")).await;
    let ada = token(&stack.service, "ada").await;
    let connecting = <sqlx::PgConnection as sqlx::Connection>::connect(&stack.postgres.url());
    let mut database = connecting.await.unwrap();
    let old = "INSERT INTO gateway.audit_log (at, action, outcome) VALUES
         (now() - interval '91 days', 'old', 'ok'), (now() - interval '89 days', 'young', 'ok')";
    sqlx::query(old).execute(&mut database).await.unwrap();
    let two = stack.replica().await;
    testkit::wait_for("what is old to be forgotten", testkit::PATIENCE, async || {
        let log = call(&two, "GET", "/audit", &ada, None).await.1.to_string();
        assert!(log.contains("young"), "{log}");
        (!log.contains("\"old\"")).then_some(())
    })
    .await;
    let refused = call(&two, "POST", "/auth/password", &ada, Some(json!({}))).await;
    assert_eq!(refused.0, 422);
    let removed = call(&two, "DELETE", "/auth/keys/0123456789ab", &ada, None).await;
    assert_eq!(removed.0, 404);
    assert_eq!(two.end().await, Some(0));
    let log = call(&stack.service, "GET", "/audit", &ada, None)
        .await
        .1
        .to_string();
    assert!(
        log.contains("POST /auth/password") && log.contains("DELETE /auth/keys/{id}"),
        "{log}"
    );

    // Who hangs up is told of, too.
    let silent = super::upstream::silent().await;
    let held = behind(gateway(), &silent)
        .set("DATABASE_URL", stack.postgres.url())
        .set("REDIS_URL", stack.redis.url())
        .start()
        .await;
    says(&held, "ready").await;
    let asked = held
        .request("POST", "/api/classify")
        .bearer_auth(&ada)
        .timeout(std::time::Duration::from_millis(300))
        .send();
    assert!(asked.await.is_err(), "nobody answers");
    testkit::wait_for("the call to be told of", testkit::PATIENCE, async || {
        let log = call(&held, "GET", "/audit?action=POST%20/api/classify", &ada, None)
            .await
            .1;
        (log["entries"][0]["outcome"] == "aborted").then_some(())
    })
    .await;
}
