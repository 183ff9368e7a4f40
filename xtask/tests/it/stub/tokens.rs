//! Who may do what in the registry in memory: Basic, or tokens by scope as the distribution project documents them
//! (`spec/auth/token`).

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use serde_json::json;

use super::{Login, Shared};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Right {
    Nothing,
    Pull,
    Push,
}

#[derive(Clone, Debug)]
pub(crate) struct User {
    name: String,
    password: String,
    right: Right,
}

impl User {
    pub(crate) fn new(name: &str, password: &str, right: Right) -> Self {
        User {
            name: name.to_owned(),
            password: password.to_owned(),
            right,
        }
    }
}

/// What is asked for: a repository and an action (`pull`, `push`, `delete`).
type Grant = (String, String);

#[derive(Default)]
pub(super) struct Tokens {
    issued: BTreeMap<String, BTreeSet<Grant>>,
    count: usize,
}

impl Tokens {
    pub(super) fn expire(&mut self) {
        self.issued.clear();
    }

    fn issue(&mut self, grants: BTreeSet<Grant>) -> String {
        self.count += 1;
        let token = format!("token-of-the-stub-{}", self.count);
        self.issued.insert(token.clone(), grants);
        token
    }
}

/// The action that a method needs, as the distribution project has it.
fn action(method: &str) -> &'static str {
    match method {
        "GET" | "HEAD" => "pull",
        "DELETE" => "delete",
        _ => "push",
    }
}

fn grants(right: Right, action: &str) -> bool {
    match action {
        "pull" => right >= Right::Pull,
        _ => right >= Right::Push,
    }
}

/// The user that a request names; an error where there is one and the password is wrong.
fn user<'u>(users: &'u [User], headers: &HeaderMap) -> Result<Option<&'u User>, ()> {
    let Some(basic) = word(headers, "Basic ") else {
        return Ok(None);
    };
    let decoded = base64::engine::general_purpose::STANDARD.decode(basic);
    let said = String::from_utf8(decoded.unwrap_or_default()).unwrap_or_default();
    let fits = |user: &&User| said == format!("{}:{}", user.name, user.password);
    users.iter().find(fits).map(Some).ok_or(())
}

fn word<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix(scheme)
}

impl Shared {
    /// `None`: it may. Otherwise the answer that says what is missing.
    pub(super) fn refusal(&self, method: &str, repository: &str, headers: &HeaderMap) -> Option<Response> {
        let action = action(method);
        match &self.look.login {
            Login::Open => None,
            Login::Basic(users) => match user(users, headers) {
                Ok(Some(user)) if grants(user.right, action) => None,
                Ok(Some(_)) => Some(super::routes::error(403, "DENIED")),
                _ => Some(unauthorized("Basic realm=\"stub\"".to_owned())),
            },
            Login::Token { .. } => {
                let token = word(headers, "Bearer ").unwrap_or_default();
                let wanted: Grant = (repository.to_owned(), action.to_owned());
                let tokens = self.tokens();
                let has = tokens.issued.get(token);
                let may = has.is_some_and(|grants| repository.is_empty() || grants.contains(&wanted));
                (!may).then(|| unauthorized(self.challenge(repository, action)))
            }
        }
    }

    fn challenge(&self, repository: &str, action: &str) -> String {
        let actions = if action == "push" { "pull,push" } else { action };
        let realm = format!("Bearer realm=\"http://{}/token\",service=\"stub\"", self.address);
        match repository {
            "" => realm,
            _ => format!("{realm},scope=\"repository:{repository}:{actions}\""),
        }
    }

    /// 401 whatever token came: those that were issued are worth nothing any more.
    pub(super) fn expired(&self, method: &str, repository: &str) -> Response {
        self.tokens().expire();
        unauthorized(self.challenge(repository, action(method)))
    }

    /// `GET /token?service=...&scope=repository:NAME:pull,push`: grants what the user may, which can be nothing.
    pub(super) fn token(&self, query: &[(String, String)], headers: &HeaderMap) -> Response {
        let Login::Token { users, anonymous } = &self.look.login else {
            return super::routes::error(404, "UNSUPPORTED");
        };
        let right = match user(users, headers) {
            Ok(Some(user)) => user.right,
            Ok(None) if *anonymous => Right::Pull,
            Ok(None) => Right::Nothing,
            Err(()) => return unauthorized("Basic realm=\"stub\"".to_owned()),
        };
        let scopes = query.iter().filter(|(name, _)| name == "scope");
        let mut granted = BTreeSet::new();
        for scope in scopes.flat_map(|(_, value)| value.split(' ')) {
            let parts: Vec<&str> = scope.split(':').collect();
            let [_, repository, actions] = parts[..] else {
                continue;
            };
            let is_known = self.content.lock().contains_key(repository);
            if self.look.hides_unknown && !is_known && !actions.contains("push") {
                continue;
            }
            let may = actions.split(',').filter(|action| grants(right, action));
            granted.extend(may.map(|action| (repository.to_owned(), action.to_owned())));
        }
        let token = self.tokens().issue(granted);
        axum::Json(json!({ "token": token, "expires_in": 300 })).into_response()
    }
}

fn unauthorized(challenge: String) -> Response {
    let mut answer = super::routes::error(401, "UNAUTHORIZED");
    let value = challenge.parse().unwrap();
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    debug_assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    answer
}
