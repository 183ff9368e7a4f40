//! Access tokens: JSON Web Tokens (RFC 7519). Every claim that is checked is required. Issued with HS256;
//! accepted with the algorithm of whichever key of the ring fits.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};

use super::{crypto, keys::Keyring, roles::Role};

/// Longer tokens are refused before they are looked at.
pub const MAX_TOKEN_BYTES: usize = 8192;
/// Longer names of users and tokens are refused.
const MAX_NAME_BYTES: usize = 128;

/// Whom a token speaks for, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Claims {
    /// Name of the user.
    pub sub: String,
    /// What the user may do.
    pub role: Role,
    /// The tenant whose data the user sees.
    pub tenant: String,
    /// Expires at, in seconds since 1970.
    pub exp: u64,
    /// Its own name, by which it can be revoked.
    pub jti: String,
    /// The login that it came from, with all tokens of which it can be revoked; only in tokens of ours.
    pub fam: Option<String>,
}

/// Claims as they are signed. Times in seconds since 1970.
#[derive(Serialize)]
struct Issued<'a> {
    sub: &'a str,
    role: Role,
    tenant: &'a str,
    iss: &'a str,
    aud: &'a str,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: &'a str,
    fam: &'a str,
}

/// Whom a token is issued for.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Name of the user.
    pub user: &'a str,
    /// What the user may do.
    pub role: Role,
    /// The tenant whose data the user sees.
    pub tenant: &'a str,
    /// The login that it comes from.
    pub family: &'a str,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// It was good, and its time is over.
    Expired,
    /// It names a key that is not known (yet).
    UnknownKey,
    /// Anything else. The caller learns no more.
    Invalid,
}

/// What a token must say, whatever key it is signed with.
#[derive(Clone)]
pub struct Rules {
    issuer: String,
    audience: String,
    ttl_s: u64,
}

impl fmt::Debug for Rules {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Rules({}, {}, {} s)", self.issuer, self.audience, self.ttl_s)
    }
}

impl Rules {
    /// Tokens from `issuer` for `audience`; those that are issued are valid for `ttl_s` seconds.
    #[must_use]
    pub fn new(issuer: &str, audience: &str, ttl_s: u64) -> Self {
        crypto::install();
        Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            ttl_s,
        }
    }

    /// How long an issued token is valid, in seconds.
    #[must_use]
    pub fn ttl_s(&self) -> u64 {
        self.ttl_s
    }

    /// A new token, with `jti` as its own unguessable name. `None` where the ring has no key to sign with.
    ///
    /// # Errors
    /// When the claims cannot be signed; no input makes that happen.
    pub fn issue(
        &self,
        ring: &Keyring,
        subject: Subject<'_>,
        jti: &str,
    ) -> Result<Option<String>, jsonwebtoken::errors::Error> {
        let Some((kid, key)) = ring.signing() else {
            return Ok(None);
        };
        let now = now_s();
        let claims = Issued {
            sub: subject.user,
            role: subject.role,
            tenant: subject.tenant,
            iss: &self.issuer,
            aud: &self.audience,
            iat: now,
            nbf: now,
            exp: now + self.ttl_s,
            jti,
            fam: subject.family,
        };
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(kid.clone());
        jsonwebtoken::encode(&header, &claims, key).map(Some)
    }

    /// The claims of a token that is signed by a key of the ring, meant for us and in its time; and the second
    /// (since 1970) from which on the key itself counts no more.
    ///
    /// # Errors
    /// [`TokenFault::Expired`] where only its time is over, [`TokenFault::UnknownKey`] where no key of the ring is
    /// the one that it names, otherwise [`TokenFault::Invalid`].
    pub fn check(&self, ring: &Keyring, token: &str) -> Result<(Claims, u64), TokenFault> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenFault::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenFault::Invalid)?;
        // RFC 7515 section 4.1.11: what must be understood, and is not.
        if header.crit.is_some() {
            return Err(TokenFault::Invalid);
        }
        let mut fault = match header.kid {
            Some(_) => TokenFault::UnknownKey,
            None => TokenFault::Invalid,
        };
        let now = now_s();
        for key in ring.candidates(header.alg, header.kid.as_deref(), now) {
            let validation = self.validation(key.algorithm());
            match jsonwebtoken::decode::<Claims>(token, key.decoding(), &validation) {
                Ok(data) => return plausible(data.claims, now).map(|claims| (claims, key.until_s())),
                Err(error) => match error.kind() {
                    ErrorKind::ExpiredSignature => return Err(TokenFault::Expired),
                    // Where several keys may have signed it, the next is tried. A public key without a name of
                    // its own leaves it open whether a key of that name exists elsewhere.
                    ErrorKind::InvalidSignature if key.kid().is_none() => {}
                    ErrorKind::InvalidSignature => fault = TokenFault::Invalid,
                    _ => return Err(TokenFault::Invalid),
                },
            }
        }
        Err(fault)
    }

    /// One algorithm; issuer, audience, expiry and start required and checked; no leeway. The library's
    /// defaults are laxer: 60 s leeway, `nbf` not looked at, `iss` and `aud` optional.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation
    }
}

/// What other issuers may write, too: names that fit into a header, and the second of expiry, which the library
/// still accepts (RFC 7519 section 4.1.4: not on it).
fn plausible(claims: Claims, now_s: u64) -> Result<Claims, TokenFault> {
    let name = |text: &str| {
        (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if !name(&claims.sub) || !name(&claims.jti) || !kit::is_tenant(&claims.tenant) {
        return Err(TokenFault::Invalid);
    }
    if claims.exp <= now_s {
        return Err(TokenFault::Expired);
    }
    Ok(claims)
}

/// Seconds since 1970.
#[must_use]
pub fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests;
