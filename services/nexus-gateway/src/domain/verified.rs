//! Tokens that were checked a moment ago, so that the same one is not checked again for each request. They are
//! known by their hash; whether one is revoked is not remembered here.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use sha2::{Digest, Sha256};

use super::token::Claims;

/// Tokens of one generation; two are kept.
const MOST: usize = 2048;

/// A bounded memory of good tokens. The oldest are forgotten, and so are all when the keys change.
#[derive(Debug, Default)]
pub struct Verified(RwLock<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Name, Remembered>,
    old: HashMap<Name, Remembered>,
}

/// SHA-256 of the token.
type Name = [u8; 32];

#[derive(Debug, Clone)]
struct Remembered {
    claims: Arc<Claims>,
    until_s: u64,
}

impl Verified {
    /// What a token is called here.
    #[must_use]
    pub fn name(token: &str) -> Name {
        Sha256::digest(token.as_bytes()).into()
    }

    /// The claims of a token that was good, and still is in its time.
    #[must_use]
    pub fn get(&self, name: &Name, now_s: u64) -> Option<Arc<Claims>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.young.get(name).or_else(|| known.old.get(name))?;
        (now_s < found.until_s).then(|| found.claims.clone())
    }

    /// Remembers a token until `until_s` (seconds since 1970).
    pub fn put(&self, name: Name, claims: Arc<Claims>, until_s: u64) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.young.len() >= MOST {
            known.old = std::mem::take(&mut known.young);
        }
        known.young.insert(name, Remembered { claims, until_s });
    }

    /// Forgets all.
    pub fn clear(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Generations::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::roles::Role;

    fn claims() -> Arc<Claims> {
        Arc::new(Claims {
            sub: "ada".into(),
            role: Role::User,
            tenant: "default".into(),
            exp: 100,
            jti: "x".into(),
            fam: None,
        })
    }

    #[test]
    fn a_token_is_known_until_its_time_is_over() {
        let verified = Verified::default();
        verified.put(Verified::name("a"), claims(), 100);
        assert!(verified.get(&Verified::name("a"), 99).is_some());
        assert!(verified.get(&Verified::name("a"), 100).is_none());
        assert!(verified.get(&Verified::name("b"), 99).is_none());
        verified.clear();
        assert!(verified.get(&Verified::name("a"), 99).is_none());
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go() {
        let verified = Verified::default();
        for number in 0..=2 * MOST {
            verified.put(Verified::name(&number.to_string()), claims(), 100);
        }
        assert!(verified.get(&Verified::name("0"), 1).is_none());
        assert!(
            verified
                .get(&Verified::name(&(2 * MOST).to_string()), 1)
                .is_some()
        );
        let known = verified.0.read().unwrap();
        assert!(known.young.len() + known.old.len() <= 2 * MOST);
    }
}
