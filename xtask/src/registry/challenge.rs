//! What a registry asks for with 401: `WWW-Authenticate` (RFC 9110, 11.6.1; the distribution project's
//! `spec/auth/token`), and the scopes that tokens are asked for. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// How a registry wants to know who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    /// A token of `realm`, an address.
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

/// What may be done in a repository. A token is asked for as much as a request needs, and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Pull,
    Push,
    Delete,
}

impl Action {
    fn words(self) -> &'static str {
        match self {
            Action::Pull => "pull",
            Action::Push => "pull,push",
            Action::Delete => "pull,push,delete",
        }
    }
}

/// Everything that one request touches: `repository:NAME:pull,push`, sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scopes(BTreeSet<String>);

impl Scopes {
    pub fn new(repository: &str, action: Action) -> Self {
        Scopes([scope(repository, action)].into())
    }

    /// One more repository.
    pub fn and(mut self, repository: &str, action: Action) -> Self {
        self.0.insert(scope(repository, action));
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

fn scope(repository: &str, action: Action) -> String {
    format!("repository:{repository}:{}", action.words())
}

/// The challenge to answer, of all that were sent: a token before a password.
pub fn parse<'v>(values: impl IntoIterator<Item = &'v str>) -> Option<Challenge> {
    let all: Vec<(String, BTreeMap<String, String>)> = values.into_iter().flat_map(schemes).collect();
    let bearer = all.iter().find_map(|(scheme, words)| {
        (scheme == "bearer").then_some(Challenge::Bearer {
            realm: words.get("realm")?.clone(),
            service: words.get("service").cloned(),
        })
    });
    let basic = || {
        all.iter()
            .any(|(scheme, _)| scheme == "basic")
            .then_some(Challenge::Basic)
    };
    bearer.or_else(basic)
}

/// Each scheme of a value with its parameters. A comma parts parameters as well as schemes; within quotes, neither.
fn schemes(value: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    for piece in pieces(value) {
        let piece = piece.trim();
        let (before, after) = piece.split_once('=').unwrap_or((piece, ""));
        let mut words = before.split_whitespace();
        let (first, second) = (words.next(), words.next());
        let name = match (first, second) {
            (Some(scheme), Some(name)) => {
                found.push((scheme.to_lowercase(), BTreeMap::new()));
                name
            }
            (Some(scheme), None) if after.is_empty() => {
                found.push((scheme.to_lowercase(), BTreeMap::new()));
                continue;
            }
            (Some(name), None) => name,
            (None, _) => continue,
        };
        if let Some((_, words)) = found.last_mut() {
            words.insert(name.to_lowercase(), unquoted(after));
        }
    }
    found
}

fn pieces(value: &str) -> Vec<&str> {
    let (mut pieces, mut from, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (at, character) in value.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => {
                pieces.push(&value[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&value[from..]);
    pieces
}

fn unquoted(value: &str) -> String {
    let value = value.trim();
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    inner.map_or(value.to_owned(), |inner| inner.replace('\\', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_asked_for_where_the_registry_says() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
            })
        };
        let ghcr =
            r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:o/a:pull,push""#;
        assert_eq!(parse([ghcr]), bearer("https://ghcr.io/token", Some("ghcr.io")));
        let both = r#"Basic realm="a, b", Bearer realm="https://t/x?a=b", error="invalid_token""#;
        assert_eq!(parse([both]), bearer("https://t/x?a=b", None));
        assert_eq!(parse(["Negotiate", "basic realm=\"x\""]), Some(Challenge::Basic));
        assert_eq!(parse(["BEARER Realm=https://t"]), bearer("https://t", None));
        for none in [
            "",
            "Bearer",
            "Bearer service=\"x\"",
            "Digest realm=\"x\"",
            "=,=\"",
            "Negotiate abc==",
        ] {
            assert_eq!(parse([none]), None, "{none}");
        }
    }

    #[test]
    fn a_scope_asks_for_what_is_needed() {
        let scopes = Scopes::new("o/b", Action::Push).and("o/a", Action::Pull);
        let words: Vec<&str> = scopes.iter().collect();
        assert_eq!(words, ["repository:o/a:pull", "repository:o/b:pull,push"]);
        let delete = Scopes::new("o/b", Action::Delete);
        assert_eq!(delete.iter().next(), Some("repository:o/b:pull,push,delete"));
    }
}
