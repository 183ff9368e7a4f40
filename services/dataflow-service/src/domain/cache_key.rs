//! The names of kept answers: `dataflow:v2:{tenant}:{model}:{operation}:{hash}`. The hash covers the question,
//! the caller's own key and the model's version (of its definition, and of its rows), so that a kept answer is of
//! this very state of the data.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// What a caller wishes of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheWish {
    pub(crate) enabled: bool,
    /// How long the answer may be kept, where not as `CACHE_TTL` says.
    pub(crate) ttl_s: Option<u64>,
    /// Makes an answer the caller's own. It never lets one question have another one's answer.
    pub(crate) key: Option<String>,
}

impl Default for CacheWish {
    fn default() -> Self {
        CacheWish {
            enabled: true,
            ttl_s: None,
            key: None,
        }
    }
}

/// Whose answer to what: all that an answer depends on, besides the data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// `None` where the model's rows belong to no tenant.
    pub(crate) tenant: Option<&'a str>,
    pub(crate) model: &'a str,
    /// `list` or `count`.
    pub(crate) operation: &'static str,
    /// The checked parameters in one canonical form.
    pub(crate) asked: &'a str,
}

/// The key of an answer at one version of the model. `asked` names the columns, too: a replica that does not know a
/// new definition yet must not answer for those that do.
pub(crate) fn key(question: Question<'_>, wish: &CacheWish, version: &str) -> String {
    let own = wish.key.as_deref().unwrap_or_default();
    let mut digest = Sha256::new();
    // Lengths go first, so that no two questions run together.
    for part in [question.asked, own, version] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let tenant = question.tenant.unwrap_or("-");
    let begin = format!("dataflow:v2:{tenant}:{}:{}:", question.model, question.operation);
    digest.finalize().iter().take(16).fold(begin, |mut key, byte| {
        // Writing to a string cannot fail.
        let _ = write!(key, "{byte:02x}");
        key
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(tenant: Option<&'static str>, asked: &'static str) -> Question<'static> {
        Question {
            tenant,
            model: "Product",
            operation: "list",
            asked,
        }
    }

    #[test]
    fn every_part_of_a_question_makes_another_key() {
        let wish = CacheWish::default();
        let own = CacheWish {
            key: Some("mine".to_owned()),
            ..CacheWish::default()
        };
        let keys = [
            key(question(None, "a"), &wish, "1.0"),
            key(question(None, "a"), &wish, "1.1"),
            key(question(None, "b"), &wish, "1.0"),
            key(question(Some("acme"), "a"), &wish, "1.0"),
            key(question(None, "a"), &own, "1.0"),
            key(question(None, "ab"), &wish, "1.0"),
        ];
        for (place, one) in keys.iter().enumerate() {
            assert!(keys[place + 1..].iter().all(|other| one != other), "{one}");
        }
        assert!(
            keys[3].starts_with("dataflow:v2:acme:Product:list:"),
            "{}",
            keys[3]
        );
    }
}
