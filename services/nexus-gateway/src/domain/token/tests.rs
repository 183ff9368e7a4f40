//! Tokens that pass, and all those that must not.

use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::*;
use crate::domain::{keys::Key, pem};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const RSA_PEM: &str = include_str!("../../../tests/keys/for-tests-only.rsa.pub.pem");

fn rules() -> Rules {
    Rules::new("horme", "horme-api", 60)
}

fn ring() -> Keyring {
    Keyring::new(Some(SECRET), Vec::new(), Vec::new())
}

fn check(token: &str) -> Result<Claims, TokenFault> {
    rules().check(&ring(), token).map(|(claims, _)| claims)
}

fn issue(ring: &Keyring) -> String {
    let subject = Subject {
        user: "ada",
        role: Role::Admin,
        tenant: "default",
        family: "f-1",
    };
    rules().issue(ring, subject, "id-1").unwrap().unwrap()
}

fn claims() -> Value {
    let now = now_s();
    json!({ "sub": "ada", "role": "admin", "tenant": "default", "iss": "horme", "aud": "horme-api",
        "iat": now, "nbf": now, "exp": now + 60, "jti": "id-1" })
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

/// Signs any claims with a secret.
fn signed_by(secret: &[u8], claims: &Value) -> String {
    crypto::install();
    let key = EncodingKey::from_secret(secret);
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

fn signed(claims: &Value) -> String {
    signed_by(SECRET, claims)
}

#[test]
fn what_is_issued_is_accepted_and_names_its_key() {
    let token = issue(&ring());
    let claims = check(&token).unwrap();
    assert_eq!((claims.sub.as_str(), claims.role), ("ada", Role::Admin));
    assert_eq!(
        (claims.jti.as_str(), claims.fam.as_deref()),
        ("id-1", Some("f-1"))
    );
    assert!(claims.exp <= now_s() + 60 && claims.exp > now_s() + 50);
    let header = jsonwebtoken::decode_header(&token).unwrap();
    assert_eq!(header.kid.as_deref().map(str::len), Some(8));
}

#[test]
fn times_have_no_leeway() {
    let now = now_s();
    assert_eq!(check(&signed(&with("exp", now - 1))), Err(TokenFault::Expired));
    assert_eq!(check(&signed(&with("exp", now))), Err(TokenFault::Expired));
    assert_eq!(check(&signed(&with("nbf", now + 30))), Err(TokenFault::Invalid));
}

#[test]
fn foreign_issuers_audiences_and_rubbish_are_refused() {
    let long = "a".repeat(MAX_NAME_BYTES + 1);
    for (name, value) in [
        ("iss", "else"),
        ("aud", "else"),
        ("role", "root"),
        ("tenant", "a b"),
        ("tenant", ""),
        ("sub", ""),
        ("sub", "a\nb"),
        ("sub", &long),
        ("jti", ""),
        ("nbf", "soon"),
        ("exp", "never"),
    ] {
        assert_eq!(
            check(&signed(&with(name, value))),
            Err(TokenFault::Invalid),
            "{name} {value}"
        );
    }
    assert!(
        check(&signed(&with("aud", json!(["else", "horme-api"])))).is_ok(),
        "an audience of several"
    );
}

#[test]
fn every_checked_claim_is_required() {
    for name in ["exp", "nbf", "iss", "aud", "sub", "jti", "tenant", "role"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(check(&signed(&claims)), Err(TokenFault::Invalid), "{name}");
    }
}

#[test]
fn other_algorithms_are_refused() {
    let good = issue(&ring());
    let payload = good.split('.').nth(1).unwrap();
    // {"alg":"none","typ":"JWT"} and {"alg":"HS512","typ":"JWT"}, base64url.
    for header in [
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0",
        "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9",
    ] {
        for signature in ["", good.rsplit('.').next().unwrap()] {
            let forged = format!("{header}.{payload}.{signature}");
            assert_eq!(check(&forged), Err(TokenFault::Invalid), "{forged}");
        }
    }
}

#[test]
fn a_public_key_is_never_a_secret() {
    let ring = Keyring::new(Some(SECRET), Vec::new(), pem::public_keys(RSA_PEM).unwrap());
    for secret in [RSA_PEM.as_bytes(), RSA_PEM.trim_end().as_bytes()] {
        let forged = signed_by(secret, &claims());
        assert_eq!(rules().check(&ring, &forged), Err(TokenFault::Invalid));
    }
}

#[test]
fn another_key_or_a_changed_payload_is_refused() {
    let foreign = signed_by(b"ffffffffffffffffffffffffffffffff", &claims());
    assert_eq!(check(&foreign), Err(TokenFault::Invalid));
    let good = signed(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let other = signed(&with("sub", "eve"));
    let changed = other.split('.').nth(1).unwrap();
    let forged = format!("{}.{changed}.{}", parts[0], parts[2]);
    assert_eq!(check(&forged), Err(TokenFault::Invalid));
    for rubbish in [
        "",
        ".",
        "..",
        "a.b.c",
        "Bearer x",
        &"a".repeat(MAX_TOKEN_BYTES + 1),
    ] {
        assert_eq!(check(rubbish), Err(TokenFault::Invalid));
    }
}

#[test]
fn a_former_secret_counts_until_its_time_is_over() {
    let token = issue(&ring());
    let new = b"ffffffffffffffffffffffffffffffff";
    let former = |until_s| Keyring::new(Some(new), vec![Key::secret(SECRET, until_s)], Vec::new());
    let (_, until_s) = rules().check(&former(now_s() + 9), &token).unwrap();
    assert!(until_s <= now_s() + 9);
    assert_eq!(
        rules().check(&former(now_s()), &token),
        Err(TokenFault::UnknownKey)
    );
    let changed = issue(&former(now_s() + 9));
    assert_eq!(
        check(&changed),
        Err(TokenFault::UnknownKey),
        "it is signed with the new one"
    );
}

#[test]
fn what_must_be_understood_and_is_not_is_refused() {
    crypto::install();
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["exp".to_owned()]);
    let token = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(SECRET)).unwrap();
    assert_eq!(check(&token), Err(TokenFault::Invalid));
}

#[test]
fn keys_are_not_printed() {
    assert!(!format!("{:?}", ring()).contains("0123"));
}

proptest::proptest! {
    #[test]
    fn no_text_panics_or_passes(text in "\\PC{0,200}", header in "[A-Za-z0-9_-]{0,60}") {
        let payload = signed(&claims());
        let payload = payload.split('.').nth(1).unwrap_or_default();
        let three = format!("{header}.{text}.{header}");
        let unsigned = format!("eyJhbGciOiJIUzI1NiJ9.{payload}.{header}");
        for token in [text, three, unsigned] {
            proptest::prop_assert!(check(&token).is_err());
        }
    }
}
