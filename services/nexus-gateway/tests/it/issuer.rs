//! Another issuer of tokens: keys for tests only, tokens signed with them, and its key set over HTTP.

use std::sync::{Arc, Mutex};

use axum::{Router, routing::get};
use ring::{
    rand::SystemRandom,
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::{Value, json};

/// Made for these tests, and used nowhere else.
const RSA: &[u8] = include_bytes!("../keys/for-tests-only.rsa.pk8");
pub(crate) const RSA_PEM: &str = include_str!("../keys/for-tests-only.rsa.pub.pem");

/// A key that signs.
pub(crate) enum Signer<'a> {
    Hs256(&'a [u8]),
    Rs256,
    Es256(&'a EcdsaKeyPair),
}

/// A fresh key on P-256.
pub(crate) fn ec_key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("randomness");
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("a good key")
}

/// Its `SubjectPublicKeyInfo`, in PEM.
pub(crate) fn ec_pem(key: &EcdsaKeyPair) -> String {
    let prefix = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let der = [&prefix, key.public_key().as_ref()].concat();
    let text = base64(&der, b"+/", true);
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

pub(crate) fn ec_jwk(kid: &str, key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": url64(&point[1..33]), "y": url64(&point[33..]) })
}

pub(crate) fn rsa_jwk(kid: &str) -> Value {
    let public = rsa::PublicKeyComponents::<Vec<u8>>::from(rsa_key().public());
    json!({ "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": url64(&public.n), "e": url64(&public.e) })
}

fn rsa_key() -> RsaKeyPair {
    RsaKeyPair::from_pkcs8(RSA).expect("a good key")
}

/// Claims that are good; `change` makes others of them.
pub(crate) fn claims(change: impl FnOnce(&mut Value)) -> Value {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a clock")
        .as_secs();
    let mut claims = json!({
        "sub": "ada", "role": "user", "tenant": "acme", "iss": "horme", "aud": "horme-api",
        "iat": now, "nbf": now - 1, "exp": now + 600, "jti": format!("{:x}", rand()),
    });
    change(&mut claims);
    claims
}

fn rand() -> u64 {
    let mut bytes = [0; 8];
    ring::rand::SecureRandom::fill(&SystemRandom::new(), &mut bytes).expect("a good key");
    u64::from_le_bytes(bytes)
}

/// A token in compact form (RFC 7515 section 7.1), with a header that may say anything.
pub(crate) fn token(header: &Value, claims: &Value, signer: &Signer<'_>) -> String {
    let message = format!(
        "{}.{}",
        url64(header.to_string().as_bytes()),
        url64(claims.to_string().as_bytes())
    );
    let random = SystemRandom::new();
    let signature = match signer {
        Signer::Hs256(secret) => {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
            ring::hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
        }
        Signer::Rs256 => {
            let key = rsa_key();
            let mut signature = vec![0; key.public().modulus_len()];
            key.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature)
                .expect("a good key");
            signature
        }
        Signer::Es256(key) => key
            .sign(&random, message.as_bytes())
            .expect("a good key")
            .as_ref()
            .to_vec(),
    };
    format!("{message}.{}", url64(&signature))
}

/// The same without a header of its own: `alg` as the signer has it.
pub(crate) fn good(claims: &Value, signer: &Signer<'_>) -> String {
    let alg = match signer {
        Signer::Hs256(_) => "HS256",
        Signer::Rs256 => "RS256",
        Signer::Es256(_) => "ES256",
    };
    token(&json!({ "alg": alg, "typ": "JWT" }), claims, signer)
}

/// A key set over HTTP.
pub(crate) struct KeySet {
    pub(crate) url: String,
    kept: Arc<Mutex<(Value, u64)>>,
}

impl KeySet {
    pub(crate) async fn serve(set: Value) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let url = format!("http://{}/keys", listener.local_addr().expect("the port"));
        let kept = Arc::new(Mutex::new((set, 0)));
        let served = kept.clone();
        let answer = async move || {
            let mut served = served.lock().expect("the set");
            served.1 += 1;
            served.0.to_string()
        };
        let router = Router::new().route("/keys", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, kept }
    }

    pub(crate) fn replace(&self, set: Value) {
        self.kept.lock().expect("the set").0 = set;
    }

    /// How often it was asked for.
    pub(crate) fn asked(&self) -> u64 {
        self.kept.lock().expect("the set").1
    }
}

pub(crate) fn url64(bytes: &[u8]) -> String {
    base64(bytes, b"-_", false)
}

/// RFC 4648.
fn base64(bytes: &[u8], last: &[u8; 2], padded: bool) -> String {
    let mut alphabet: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').collect();
    alphabet.extend(last);
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group
            .iter()
            .chain([&0, &0])
            .take(3)
            .fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        for index in 0..=group.len() {
            text.push(char::from(alphabet[(word >> (18 - 6 * index) & 63) as usize]));
        }
        if padded {
            text.push_str(&"=".repeat(3 - group.len()));
        }
    }
    text
}
