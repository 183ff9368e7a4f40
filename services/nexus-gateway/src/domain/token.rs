//! Access tokens: JSON Web Tokens signed with HS256 (RFC 7519). Every claim that is checked is required.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};

use super::hs256;

/// RFC 7518 section 3.2: a key at least as long as the hash.
pub const MIN_SECRET_BYTES: usize = 32;

/// Whom a token speaks for, and until when. Times in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Name of the user.
    pub sub: String,
    /// What the user may do.
    pub role: String,
    /// The tenant whose data the user sees.
    pub tenant: String,
    /// Who issued the token.
    pub iss: String,
    /// For whom it is meant.
    pub aud: String,
    /// Issued at.
    pub iat: u64,
    /// Not before.
    pub nbf: u64,
    /// Expires at.
    pub exp: u64,
    /// Its own name, by which it can be revoked.
    pub jti: String,
}

impl Claims {
    /// Seconds until it expires; 0 when it has.
    #[must_use]
    pub fn remaining_s(&self) -> u64 {
        self.exp.saturating_sub(now_s())
    }
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// It was good, and its time is over.
    Expired,
    /// Anything else. The caller learns no more.
    Invalid,
}

/// Issues tokens and checks them.
#[derive(Clone)]
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    issuer: String,
    audience: String,
    ttl_s: u64,
}

// Keys stay out of logs.
impl fmt::Debug for Tokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "Tokens(issuer {}, audience {}, {} s)",
            self.issuer, self.audience, self.ttl_s
        )
    }
}

impl Tokens {
    /// Tokens signed with `secret` (at least [`MIN_SECRET_BYTES`], checked where settings are read), valid
    /// for `ttl_s` seconds.
    #[must_use]
    pub fn new(secret: &[u8], issuer: &str, audience: &str, ttl_s: u64) -> Self {
        hs256::install();
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation: validation(issuer, audience),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            ttl_s,
        }
    }

    /// How long a token is valid, in seconds.
    #[must_use]
    pub fn ttl_s(&self) -> u64 {
        self.ttl_s
    }

    /// A new token for a user, with `jti` as its own unguessable name.
    ///
    /// # Errors
    /// When the claims cannot be signed; no input makes that happen.
    pub fn issue(
        &self,
        user: &str,
        role: &str,
        tenant: &str,
        jti: &str,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let now = now_s();
        let claims = Claims {
            sub: user.to_owned(),
            role: role.to_owned(),
            tenant: tenant.to_owned(),
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            iat: now,
            nbf: now,
            exp: now + self.ttl_s,
            jti: jti.to_owned(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
    }

    /// The claims of a token that is signed by us, meant for us and in its time.
    ///
    /// # Errors
    /// [`TokenFault::Expired`] where only its time is over, otherwise [`TokenFault::Invalid`].
    pub fn check(&self, token: &str) -> Result<Claims, TokenFault> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation);
        decoded
            .map(|data| data.claims)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => TokenFault::Expired,
                _ => TokenFault::Invalid,
            })
    }
}

/// One algorithm; issuer, audience, expiry and start required and checked; no leeway. The library's
/// defaults are laxer: 60 s leeway, `nbf` not looked at, `iss` and `aud` optional.
fn validation(issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = 0;
    validation.validate_nbf = true;
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    validation
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn tokens() -> Tokens {
        Tokens::new(SECRET, "horme", "horme-api", 60)
    }

    fn claims() -> Claims {
        let token = tokens().issue("ada", "admin", "default", "id-1").unwrap();
        tokens().check(&token).unwrap()
    }

    /// Signs any claims with the right key.
    fn signed(claims: &impl Serialize) -> String {
        hs256::install();
        jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            claims,
            &EncodingKey::from_secret(SECRET),
        )
        .unwrap()
    }

    #[test]
    fn what_is_issued_is_accepted() {
        let claims = claims();
        assert_eq!(
            (claims.sub.as_str(), claims.role.as_str(), claims.jti.as_str()),
            ("ada", "admin", "id-1")
        );
        assert!(claims.remaining_s() <= 60 && claims.remaining_s() > 50);
    }

    #[test]
    fn expiry_has_no_leeway() {
        let past = Claims {
            exp: now_s() - 1,
            ..claims()
        };
        assert_eq!(tokens().check(&signed(&past)), Err(TokenFault::Expired));
        let early = Claims {
            nbf: now_s() + 30,
            exp: now_s() + 60,
            ..claims()
        };
        assert_eq!(tokens().check(&signed(&early)), Err(TokenFault::Invalid));
    }

    #[test]
    fn foreign_issuer_or_audience_is_refused() {
        let issuer = Claims {
            iss: "else".into(),
            ..claims()
        };
        let audience = Claims {
            aud: "else".into(),
            ..claims()
        };
        assert_eq!(tokens().check(&signed(&issuer)), Err(TokenFault::Invalid));
        assert_eq!(tokens().check(&signed(&audience)), Err(TokenFault::Invalid));
    }

    #[test]
    fn every_checked_claim_is_required() {
        for name in ["exp", "nbf", "iss", "aud", "sub", "jti", "tenant", "role"] {
            let mut value = serde_json::to_value(claims()).unwrap();
            value.as_object_mut().unwrap().remove(name);
            assert_eq!(
                tokens().check(&signed(&value)),
                Err(TokenFault::Invalid),
                "{name}"
            );
        }
    }

    #[test]
    fn other_algorithms_are_refused() {
        let good = tokens().issue("ada", "admin", "default", "id").unwrap();
        let payload = good.split('.').nth(1).unwrap();
        // {"alg":"none","typ":"JWT"} and {"alg":"HS512","typ":"JWT"}, base64url.
        for header in [
            "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0",
            "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9",
        ] {
            for signature in ["", good.rsplit('.').next().unwrap()] {
                let forged = format!("{header}.{payload}.{signature}");
                assert_eq!(tokens().check(&forged), Err(TokenFault::Invalid), "{forged}");
            }
        }
    }

    #[test]
    fn another_key_or_a_changed_payload_is_refused() {
        let other = Tokens::new(b"ffffffffffffffffffffffffffffffff", "horme", "horme-api", 60);
        let foreign = other.issue("ada", "admin", "default", "id").unwrap();
        assert_eq!(tokens().check(&foreign), Err(TokenFault::Invalid));
        let good = tokens().issue("ada", "user", "default", "id").unwrap();
        let parts: Vec<&str> = good.split('.').collect();
        let changed = foreign.split('.').nth(1).unwrap();
        assert_eq!(
            tokens().check(&format!("{}.{changed}.{}", parts[0], parts[2])),
            Err(TokenFault::Invalid)
        );
        for rubbish in ["", ".", "..", "a.b.c", "Bearer x"] {
            assert_eq!(tokens().check(rubbish), Err(TokenFault::Invalid));
        }
    }

    #[test]
    fn the_key_is_not_printed() {
        assert!(!format!("{:?}", tokens()).contains("0123"));
    }
}
