//! Which tokens are believed: forgeries, other issuers' keys, and keys that change while the gateway runs.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use testkit::{Redis, Service, Starting};

use super::{
    NOWHERE, SECRET, Stack, behind,
    issuer::{self, RSA_PEM, Signer, claims, ec_jwk, ec_key, ec_pem, good, rsa_jwk, token},
    me,
};

const COOLDOWN_S: u64 = 3;

/// A file that is gone with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let unique = format!("horme-{name}-{}-{number}", std::process::id());
        let file = Self(std::env::temp_dir().join(unique));
        file.write(text);
        file
    }

    /// Replaced as secrets are: at once.
    fn write(&self, text: &str) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, text).expect("a file");
        std::fs::rename(new, &self.0).expect("a file");
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn told(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A gateway that checks tokens and has no accounts: what is about keys needs no PostgreSQL.
async fn checking(redis: &Redis, settings: impl FnOnce(Starting) -> Starting) -> Service {
    let starting = Service::new(env!("CARGO_BIN_EXE_nexus-gateway"))
        .set("REDIS_URL", redis.url())
        // Tests poll.
        .set("RATE_LIMIT_RPM", "1000000");
    let service = behind(settings(starting), &format!("http://{NOWHERE}"))
        .start()
        .await;
    // It is not ready without PostgreSQL; it is when it has heard Redis.
    says_up(&service, "redis").await;
    service
}

async fn says_up(service: &Service, check: &str) {
    testkit::wait_for(&format!("{check} to be up"), testkit::PATIENCE, async || {
        (service.get("/ready").await.body["checks"][check]["state"] == "up").then_some(())
    })
    .await;
}

async fn until(service: &Service, token: &str, status: u16) {
    testkit::wait_for(&format!("{status} for a token"), testkit::PATIENCE, async || {
        (me(service, token).await.0 == status).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_tokens_are_refused() {
    let redis = Redis::start().await;
    let public = File::new("public", RSA_PEM);
    let gateway = checking(&redis, |starting| {
        starting
            .set("JWT_SECRET", SECRET)
            .set("JWT_PUBLIC_KEY_FILE", public.path())
    })
    .await;
    let ours = Signer::Hs256(SECRET.as_bytes());
    let fine = good(&claims(|_| {}), &ours);
    until(&gateway, &fine, 200).await;

    let now = claims(|_| {})["iat"].as_u64().unwrap();
    let expired = good(&claims(|claims| claims["exp"] = json!(now - 1)), &ours);
    assert_eq!(me(&gateway, &expired).await, told(401, "token_expired"));

    for (what, token) in forgeries(&fine, now, &ours) {
        assert_eq!(me(&gateway, &token).await, told(401, "invalid_token"), "{what}");
    }
    assert_eq!(
        me(&gateway, &fine).await.0,
        200,
        "the forgeries differ from a good one"
    );
    assert_eq!(me(&gateway, &good(&claims(|_| {}), &Signer::Rs256)).await.0, 200);
}

/// What must not pass, by what is wrong with it; each differs from a good token in that alone.
fn forgeries(fine: &str, now: u64, ours: &Signer<'_>) -> Vec<(&'static str, String)> {
    let payload = fine.split('.').nth(1).expect("it is there");
    let signature = fine.rsplit('.').next().expect("it is there");
    let none = |alg: &str| issuer::url64(json!({ "alg": alg, "typ": "JWT" }).to_string().as_bytes());
    let header = |header: Value, signer: &Signer<'_>| token(&header, &claims(|_| {}), signer);
    let mut forged = vec![
        ("alg none", format!("{}.{payload}.", none("none"))),
        (
            "alg None, signed",
            format!("{}.{payload}.{signature}", none("None")),
        ),
        (
            "HS256 with the public key",
            good(&claims(|_| {}), &Signer::Hs256(RSA_PEM.as_bytes())),
        ),
        (
            "HS256 that says RS256",
            header(json!({ "alg": "RS256" }), &Signer::Hs256(RSA_PEM.as_bytes())),
        ),
        (
            "RS256 that says HS256",
            header(json!({ "alg": "HS256" }), &Signer::Rs256),
        ),
        (
            "another secret",
            good(
                &claims(|_| {}),
                &Signer::Hs256(b"ffffffffffffffffffffffffffffffff"),
            ),
        ),
        (
            "a key of its own",
            good(&claims(|_| {}), &Signer::Es256(&ec_key())),
        ),
        (
            "a key that is not known",
            header(json!({ "alg": "HS256", "kid": "else" }), ours),
        ),
        (
            "what must be understood",
            header(json!({ "alg": "HS256", "crit": ["b64"], "b64": false }), ours),
        ),
        (
            "wrong aud",
            good(&claims(|claims| claims["aud"] = json!("else")), ours),
        ),
        (
            "wrong iss",
            good(&claims(|claims| claims["iss"] = json!("else")), ours),
        ),
        (
            "future nbf",
            good(&claims(|claims| claims["nbf"] = json!(now + 60)), ours),
        ),
        (
            "no such role",
            good(&claims(|claims| claims["role"] = json!("root")), ours),
        ),
        (
            "no tenant's name",
            good(&claims(|claims| claims["tenant"] = json!("a, b")), ours),
        ),
        ("cut", fine[..fine.len() - 2].to_owned()),
        ("rubbish", "x".to_owned()),
    ];
    for name in ["exp", "nbf", "iss", "aud", "sub", "jti", "role", "tenant"] {
        let without = claims(|claims| drop(claims.as_object_mut().expect("it is there").remove(name)));
        forged.push((name, good(&without, ours)));
    }
    forged
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_other_issuers_pass_and_their_keys_rotate() {
    let redis = Redis::start().await;
    let (first, second) = (ec_key(), ec_key());
    let public = File::new("public", &format!("{RSA_PEM}{}", ec_pem(&first)));
    let set = issuer::KeySet::serve(json!({ "keys": [rsa_jwk("r1"), ec_jwk("e1", &first)] })).await;

    let by_file = checking(&redis, |starting| {
        starting.set("JWT_PUBLIC_KEY_FILE", public.path())
    })
    .await;
    let rs = good(&claims(|_| {}), &Signer::Rs256);
    let es = good(&claims(|_| {}), &Signer::Es256(&first));
    assert_eq!((me(&by_file, &rs).await.0, me(&by_file, &es).await.0), (200, 200));
    let missing = by_file.get("/ready").await.body["missing"].clone();
    assert!(!missing.to_string().contains("JWT_SECRET"), "{missing}");
    let sent = json!({ "username": "ada", "password": "x" });
    let login = by_file.post("/auth/login", &sent).await;
    assert_eq!(
        (login.status, login.body["code"].as_str()),
        (503, Some("NOT_CONFIGURED"))
    );
    let replaced = good(&claims(|_| {}), &Signer::Es256(&second));
    assert_eq!(me(&by_file, &replaced).await.0, 401);
    public.write("rubbish");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        me(&by_file, &es).await.0,
        200,
        "a file that cannot be used takes no key away"
    );
    public.write(&ec_pem(&second));
    until(&by_file, &replaced, 200).await;
    assert_eq!((me(&by_file, &es).await.0, me(&by_file, &rs).await.0), (401, 401));

    let by_set = checking(&redis, |starting| starting.set("JWKS_URL", &*set.url)).await;
    let named = |kid: &str, alg: &str, signer: &Signer<'_>| {
        token(&json!({ "alg": alg, "kid": kid }), &claims(|_| {}), signer)
    };
    until(&by_set, &named("r1", "RS256", &Signer::Rs256), 200).await;
    assert_eq!(
        me(&by_set, &named("e1", "ES256", &Signer::Es256(&first))).await.0,
        200
    );
    assert_eq!(
        me(&by_set, &named("r1", "ES256", &Signer::Es256(&first))).await.0,
        401,
        "another key's name"
    );
    says_up(&by_set, "jwks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_is_asked_again_for_a_key_that_is_not_known() {
    let redis = Redis::start().await;
    let (first, second) = (ec_key(), ec_key());
    let set = issuer::KeySet::serve(json!({ "keys": [] })).await;
    let settings = |starting: Starting| {
        starting
            .set("JWKS_URL", &*set.url)
            .set("JWKS_COOLDOWN", COOLDOWN_S.to_string())
    };
    let gateway = checking(&redis, settings).await;
    let named = |kid: &str, key| {
        token(
            &json!({ "alg": "ES256", "kid": kid }),
            &claims(|_| {}),
            &Signer::Es256(key),
        )
    };
    // An empty set is none: it is asked for again by itself, soon.
    set.replace(json!({ "keys": [ec_jwk("e1", &first)] }));
    says_up(&gateway, "jwks").await;
    assert_eq!(me(&gateway, &named("e1", &first)).await.0, 200);
    // Not for each name, so that nobody makes the gateway ask by inventing them.
    let (begun, before) = (Instant::now(), set.asked());
    for number in 0..20 {
        let invented = named(&format!("invented-{number}"), &second);
        assert_eq!(me(&gateway, &invented).await, told(401, "invalid_token"));
    }
    let (asked, most) = (set.asked() - before, 1 + begun.elapsed().as_secs() / COOLDOWN_S);
    assert!(asked <= most, "asked {asked} times in {:?}", begun.elapsed());
    set.replace(json!({ "keys": [ec_jwk("e2", &second)] }));
    until(&gateway, &named("e2", &second), 200).await;
    assert_eq!(
        me(&gateway, &named("e1", &first)).await.0,
        401,
        "what left the set is good no more"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_rotates_without_a_restart() {
    let stack = Stack::start(&format!("http://{NOWHERE}")).await;
    let secret = File::new("secret", SECRET);
    let starting = || {
        let starting = Service::new(env!("CARGO_BIN_EXE_nexus-gateway"))
            .set("JWT_SECRET_FILE", secret.path())
            .set("RATE_LIMIT_RPM", "1000000")
            .set("TOKEN_TTL", "60")
            .set("DATABASE_URL", stack.postgres.url())
            .set("REDIS_URL", stack.redis.url());
        behind(starting, &format!("http://{NOWHERE}")).start()
    };
    let (one, two) = (starting().await, starting().await);
    super::says(&one, "ready").await;
    super::says(&two, "ready").await;
    let token = async || {
        super::login(&one, "ada", super::PASSWORD).await["access_token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let kid = |token: &str| token.split('.').next().unwrap().to_owned();
    let former = token().await;
    secret.write("too short");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(
        kid(&token().await),
        kid(&former),
        "a secret that cannot be used is not"
    );
    let last = token().await;
    secret.write("ffffffffffffffffffffffffffffffff");
    let new = testkit::wait_for(
        "a token signed with the new secret",
        testkit::PATIENCE,
        async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Some(token().await).filter(|new| kid(new) != kid(&last))
        },
    )
    .await;
    // The other replica may not have looked yet: it does when it sees a name that it does not know.
    assert_eq!((me(&one, &new).await.0, me(&two, &new).await.0), (200, 200));
    assert_eq!(me(&one, &last).await.0, 200, "the former secret's tokens live on");
    assert_eq!(
        me(&stack.service, &new).await.0,
        401,
        "who has the former secret alone does not know the new one"
    );
}
