//! What fuzz targets are fed to (`fuzz/fuzz_targets`). Part of the crate only when it is compiled for that, or for tests.

use std::sync::LazyLock;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::Value;

use crate::domain::jwks;
use crate::domain::keys::Keyring;
use crate::domain::pem;
use crate::domain::token::{Rules, now_s};
use crate::ws::{message, origin::Origins};

const SECRET: &[u8] = b"a secret for fuzzing alone, thirty-two";

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules::new("horme", "horme-api", 60));
static RING: LazyLock<Keyring> = LazyLock::new(|| Keyring::new(Some(SECRET), Vec::new(), Vec::new()));

/// Any bytes as a token, as the claims of one that is signed with the right key, as PEM keys and as a key set.
///
/// # Panics
/// A token that nobody signed is accepted, or one whose claims are not what they must be.
pub fn token(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(RULES.check(&RING, text).is_err(), "nobody signed it");
        let _ = pem::public_keys(text);
    }
    let _ = jwks::keys(bytes);
    if let Ok(claims) = serde_json::from_slice::<Value>(bytes) {
        signed(&claims);
    }
}

/// Signed with the right key, it is accepted only where it says all that it must.
fn signed(claims: &Value) {
    let token = jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        claims,
        &EncodingKey::from_secret(SECRET),
    );
    let Ok(token) = token else { return };
    if RULES.check(&RING, &token).is_ok() {
        assert_eq!(claims["iss"], "horme", "the issuer is another");
        assert!(
            claims["nbf"].as_f64().is_some_and(|nbf| nbf <= now_s() as f64),
            "not yet"
        );
        assert!(
            claims["exp"].as_f64().is_some_and(|exp| exp > now_s() as f64),
            "expired"
        );
        assert!(claims["sub"].is_string() && claims["jti"].is_string(), "nameless");
    }
}

/// Any text as a message to the WebSocket, and as an origin.
///
/// # Panics
/// A refusal cannot be written, or a foreign origin is allowed.
pub fn message(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Err(refused) = message::parse(text) {
        let written = message::error(&refused);
        let read: Result<Value, _> = serde_json::from_str(&written);
        assert!(read.is_ok_and(|read| read["error"]["code"].is_i64()), "{written}");
    }
    let allowed = Origins::parse("https://app.example.org,https://*.example.net", false);
    if allowed.is_ok_and(|allowed| allowed.allow(text)) {
        // Neither scheme nor host know case (RFC 3986 section 3.1, 3.2.2).
        let lower = text.to_ascii_lowercase();
        let ours = lower == "https://app.example.org"
            || (lower.starts_with("https://") && lower.ends_with(".example.net"));
        assert!(ours, "{text} is allowed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_breaks_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            token(&bytes);
            message(&bytes);
        }

        #[test]
        fn nor_on_claims(exp in any::<i64>(), nbf in any::<f64>(), name in ".{0,40}") {
            let claims = serde_json::json!({ "iss": "horme", "aud": "horme-api", "exp": exp, "nbf": nbf, "sub": name,
                "jti": "j", "role": "user", "tenant": "default" });
            token(claims.to_string().as_bytes());
        }
    }

    #[test]
    fn good_claims_are_accepted_so_that_the_rest_means_something() {
        let now = now_s();
        let claims = serde_json::json!({ "iss": "horme", "aud": "horme-api", "exp": now + 60, "nbf": now, "sub": "ada",
            "jti": "j", "role": "user", "tenant": "default" });
        let key = EncodingKey::from_secret(SECRET);
        let good = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
        assert!(RULES.check(&RING, &good).is_ok());
        signed(&claims);
    }
}
