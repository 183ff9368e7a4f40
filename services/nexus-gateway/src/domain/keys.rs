//! The keys that tokens are checked with, and the one that they are signed with. Each key has its algorithm:
//! what a token says about its own is compared, never followed.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use sha2::{Digest, Sha256};

/// RFC 7518 section 3.2: a key at least as long as the hash.
pub const MIN_SECRET_BYTES: usize = 32;

/// A key that checks signatures.
#[derive(Clone)]
pub struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
    /// Seconds since 1970 from which on it counts no more.
    until_s: u64,
}

impl Key {
    /// A public key of an issuer, which is good until it is taken away. Without `kid` it is tried for any token
    /// of its algorithm.
    #[must_use]
    pub fn public(kid: Option<String>, algorithm: Algorithm, decoding: DecodingKey) -> Self {
        Self {
            kid,
            algorithm,
            decoding,
            until_s: u64::MAX,
        }
    }

    /// A secret of ours (at least [`MIN_SECRET_BYTES`], checked where settings are read).
    #[must_use]
    pub fn secret(secret: &[u8], until_s: u64) -> Self {
        Self {
            kid: Some(secret_kid(secret)),
            algorithm: Algorithm::HS256,
            decoding: DecodingKey::from_secret(secret),
            until_s,
        }
    }

    /// The key's name.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm that it is for.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }

    /// Seconds since 1970 from which on it counts no more.
    #[must_use]
    pub fn until_s(&self) -> u64 {
        self.until_s
    }
}

// Keys stay out of logs.
impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Key({:?}, {:?})", self.algorithm, self.kid)
    }
}

/// What a secret is called in a token's header: the first 8 hex digits of its SHA-256.
#[must_use]
pub fn secret_kid(secret: &[u8]) -> String {
    let digest = Sha256::digest(secret);
    digest[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All keys of one moment.
#[derive(Clone, Default)]
pub struct Keyring {
    signing: Option<(String, EncodingKey)>,
    keys: Vec<Key>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(&self.keys).finish()
    }
}

impl Keyring {
    /// Signs with `secret`, where there is one, and checks with it, with the `former` ones and with `public` keys.
    #[must_use]
    pub fn new(secret: Option<&[u8]>, former: Vec<Key>, public: Vec<Key>) -> Self {
        let current = secret.map(|secret| Key::secret(secret, u64::MAX));
        Self {
            signing: secret.map(|secret| (secret_kid(secret), EncodingKey::from_secret(secret))),
            keys: current.into_iter().chain(former).chain(public).collect(),
        }
    }

    /// The name and the key that tokens are signed with.
    #[must_use]
    pub fn signing(&self) -> Option<&(String, EncodingKey)> {
        self.signing.as_ref()
    }

    /// The keys that may have signed a token with this algorithm and key name.
    pub(super) fn candidates<'a>(
        &'a self,
        algorithm: Algorithm,
        kid: Option<&'a str>,
        now_s: u64,
    ) -> impl Iterator<Item = &'a Key> {
        self.keys.iter().filter(move |key| {
            let named = match (key.kid(), kid) {
                (Some(own), Some(asked)) => own == asked,
                _ => true,
            };
            named && key.algorithm == algorithm && now_s < key.until_s
        })
    }
}
